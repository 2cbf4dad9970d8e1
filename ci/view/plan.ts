import type { Decision } from "../../dagger/src/pipeline/decide.js";
import { noteText, sentence } from "../../dagger/src/pipeline/explain.js";
import type { Facts } from "../../dagger/src/pipeline/facts.js";
import type { Plan } from "../../dagger/src/pipeline/plan.js";
import { bytes, plural, table } from "./table.js";

type View = { plan: Plan; decisions: readonly Decision[] };

/** The plan as a person reads it before building. */
export const planTable = (views: readonly View[], facts: Facts, context: { files: number; bytes: number }): string => {
  const sent = facts.entries.reduce((sum, entry) => sum + (entry.kind === "file" ? entry.size : 0), 0);
  const files = facts.entries.filter(({ kind }) => kind === "file").length;
  return `${views.map((view) => one(view)).join("\n\n")}\n\ncontext ${bytes(sent)} in ${plural(files, "file")}, of ${bytes(context.bytes)} in ${plural(context.files, "file")} that are not ignored\n`;
};

const one = ({ plan, decisions }: View): string => {
  const rows = decisions.map(({ stage, action, reasons }) => [
    stage.stage,
    stage.key.slice(0, 12),
    action,
    stage.kind,
    reasons.map(sentence).join("; "),
  ]);
  const executes = decisions.filter(({ action }) => action === "execute").length;
  const base =
    plan.base.kind === "image"
      ? `${plan.base.reference}@${plan.base.digest.slice(0, 19)}`
      : `Debian ${plan.base.suite}, from packages`;
  return [
    `${plan.image} for ${plan.platform}, on ${base}`,
    table([["stage", "key", "action", "kind", "because"], ...rows]),
    executes === 0 ? "nothing to execute: no engine is needed" : `${executes} of ${plural(decisions.length, "stage")} to execute`,
    ...plan.notes.map((note) => `note: ${noteText(note)}`),
  ].join("\n");
};

/** The plan for programs: `format` counts its shape. */
export const planJson = (views: readonly View[]): string =>
  `${JSON.stringify(
    {
      format: 1,
      plans: views.map(({ plan, decisions }) => ({
        ...plan,
        stages: plan.stages.map((stage, at) => ({ ...stage, action: decisions[at]!.action, reasons: decisions[at]!.reasons })),
      })),
    },
    null,
    2,
  )}\n`;
