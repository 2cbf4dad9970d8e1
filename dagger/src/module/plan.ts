import type { Client, File } from "@dagger.io/dagger";
import type { PreparedRequest } from "./request.js";
import { decide, type Knowledge } from "../pipeline/decide/decide.js";
import { planJson, planTable, type PlanView } from "../pipeline/explain/plan-text.js";

/** A function keeps nothing between its calls, and what the engine remembers it does not tell. */
export const nothingKnown: Knowledge = { known: new Map(), previous: new Map(), damaged: new Map() };

const viewsOf = ({ plans }: PreparedRequest): PlanView[] =>
  plans.map((plan) => ({ plan, decisions: decide(plan, nothingKnown, false), engine: "Dagger", expected: null }));

export const planText = (call: PreparedRequest): string => planTable(viewsOf(call), call.open.snapshot, null);
export const planJsonText = (call: PreparedRequest): string => planJson(viewsOf(call));

/** A text as a file that a function can return. */
export const textFile = (client: Client, name: string, text: string): File =>
  client.directory().withNewFile(name, text).file(name);
