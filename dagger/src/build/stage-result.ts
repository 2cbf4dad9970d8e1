import type { Decision } from "../pipeline/decide/decide.js";
import type { Descriptor } from "../pipeline/oci/manifest.js";
import type { Plan } from "../pipeline/plan/types.js";
import type { StageRecord } from "./stage-record.js";

/** A stage that exists now. */
export type StageResult = {
  decision: Decision;
  /** Null for a stage that a stage above contains and that has no record of its own. */
  record: StageRecord | null;
  seconds: number;
  /** The layers that it adds to the stage below. */
  layers: readonly Descriptor[];
  /** Whether it was built again and came out as the recorded result. */
  compared: boolean;
};

/** What is done with a stage that exists already: `no` uses it, `compare` and `replace` build it again and compare or replace it. */
export type Rebuild = "no" | "compare" | "replace";

/** The results of a plan's stages, from base-tools upwards. */
export type BuiltPlan = { plan: Plan; done: readonly StageResult[] };

/** An image: one manifest, or an index where there are several platforms. */
export type BuiltPlans = { root: Descriptor; platforms: readonly BuiltPlan[] };
