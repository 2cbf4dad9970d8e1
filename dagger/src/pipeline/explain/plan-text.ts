import { causesOf, type Decision } from "../decide/decide.js";
import { causeOf, noteText, sentence } from "./reasons-text.js";
import type { ContextSnapshot } from "../context/snapshot.js";
import type { Plan } from "../plan/types.js";
import { bytes, plural, seconds, table } from "../common/format.js";

/** A plan with what was decided, and what else a person wants to know before building. `engine` is null where none is needed. */
export type PlanView = {
  plan: Plan;
  decisions: readonly Decision[];
  engine: string | null;
  expected: { seconds: number; builds: number } | null;
};
type Context = { files: number; bytes: number };

/**
 * The plan as a person reads it before building.
 * @param context the whole context, as far as it is not ignored; null where only what is sent is known
 */
export const planTable = (views: readonly PlanView[], snapshot: ContextSnapshot, context: Context | null): string => {
  const sent = snapshot.entries.reduce((sum, entry) => sum + (entry.kind === "file" ? entry.size : 0), 0);
  const files = snapshot.entries.filter(({ kind }) => kind === "file").length;
  const whole = context === null ? "" : `, of ${bytes(context.bytes)} in ${plural(context.files, "file")} that are not ignored`;
  return `${views.map((view) => one(view)).join("\n\n")}\n\ncontext ${bytes(sent)} in ${plural(files, "file")}${whole}\n`;
};

const one = ({ plan, decisions, engine, expected }: PlanView): string => {
  const rows = decisions.map(({ stage, action, reasons }) => [stage.stage, stage.key.slice(0, 12), action, because(reasons)]);
  const base =
    plan.base.kind === "image"
      ? `${plan.base.reference}@${plan.base.digest.slice(0, 19)}`
      : `Debian ${plan.base.suite}, from packages`;
  return [
    `${plan.image} for ${plan.platform}, on ${base}`,
    table([["stage", "key", "action", "because"], ...rows]),
    summary(decisions, engine, expected),
    ...plan.notes.map((note) => `note: ${noteText(note)}`),
  ].join("\n");
};

/** The most telling reason; `explain` shows all of them. */
const because = (reasons: Decision["reasons"]): string => {
  const [first, ...rest] = reasons.map(sentence);
  return rest.length === 0 ? (first ?? "") : `${first}, and ${plural(rest.length, "more reason")}`;
};

const summary = (decisions: readonly Decision[], engine: string | null, expected: PlanView["expected"]): string => {
  const executes = decisions.filter(({ action }) => action === "execute").length;
  const causes = [...new Set(causesOf(decisions).map(causeOf))].filter((cause) => cause !== null);
  const told = [
    executes === 0
      ? "nothing to execute: no engine is needed"
      : `${executes} of ${plural(decisions.length, "stage")} to execute${engine === null ? "" : `, by ${engine}`}`,
    ...(causes.length === 0 ? [] : [causes.length === 1 ? `one cause: ${causes[0]}` : `causes: ${causes.join(", ")}`]),
    ...(expected === null
      ? []
      : [
          `about ${seconds(expected.seconds * 1000)} (${expected.builds === 1 ? "the last such build" : `last ${expected.builds} such builds`})`,
        ]),
  ];
  return told.join("; ");
};

/** The plan for programs: `format` counts its shape. */
export const planJson = (views: readonly PlanView[]): string =>
  `${JSON.stringify(
    {
      format: 1,
      plans: views.map(({ plan, decisions, engine, expected }) => ({
        ...plan,
        stages: plan.stages.map((stage, at) => ({ ...stage, action: decisions[at]!.action, reasons: decisions[at]!.reasons })),
        causes: [...new Set(causesOf(decisions).map(causeOf))].filter((cause) => cause !== null),
        engine,
        expected,
      })),
    },
    null,
    2,
  )}\n`;
