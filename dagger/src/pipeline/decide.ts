import type { StageKey } from "./key.js";
import type { Plan, PlannedStage } from "./plan.js";
import type { StageName } from "./stage.js";

/** Why a stage is reused or made again. Worded in explain.ts and nowhere else. */
export type Reason =
  | { why: "kept"; where: string }
  | { why: "never-built" }
  | { why: "asked" }
  | { why: "parent-changes"; parent: StageName };

export type Decision = { stage: PlannedStage; action: "reuse" | "execute" | "assemble"; reasons: readonly Reason[] };

/** What is known of a key: where its result is kept. */
export type Known = ReadonlyMap<StageKey, string>;

/**
 * Per stage: reuse, execute or assemble. Pure; what is known arrives as a value.
 * @param fresh execute everything although it is there (NO_CACHE)
 */
export const decide = (plan: Plan, known: Known, fresh: boolean): Decision[] => {
  const decisions: Decision[] = [];
  for (const stage of plan.stages) {
    const where = known.get(stage.key);
    const parent = decisions.at(-1);
    const action = stage.kind === "executed" ? "execute" : "assemble";
    if (fresh) decisions.push({ stage, action, reasons: [{ why: "asked" }] });
    else if (where !== undefined) decisions.push({ stage, action: "reuse", reasons: [{ why: "kept", where }] });
    else if (parent !== undefined && parent.action !== "reuse")
      decisions.push({ stage, action, reasons: [{ why: "parent-changes", parent: parent.stage.stage }] });
    else decisions.push({ stage, action, reasons: [{ why: "never-built" }] });
  }
  return decisions;
};
