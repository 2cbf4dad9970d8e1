/**
 * # dagger/src/pipeline/decide
 *
 * What happens to each stage: reuse, execute or assemble, with every reason. A stage counts as there only with the whole chain that it is
 * built on.
 */
import { differences, sameButParent } from "./ingredient-diff.js";
import { type Ingredients, keyOf, type StageKey } from "../plan/key.js";
import type { Plan, PlannedStage } from "../plan/types.js";
import type { Reason, StageLocation } from "./reason.js";
import type { StageName } from "../common/stage.js";

/**
 * reuse: the result is there, or (an assembled layer that reads nothing of what changed) all of it but its manifest.
 * execute: an engine must run steps. assemble: a layer is written, without an engine.
 */
export type Decision = { stage: PlannedStage; action: "reuse" | "execute" | "assemble"; reasons: readonly Reason[] };

/** What is known beside the plan, gathered by an edge. */
export type Knowledge = {
  /** Where the result of a key is. */
  known: ReadonlyMap<StageKey, StageLocation>;
  /** What the last result of a stage was made from, for the stages whose key is not known. */
  previous: ReadonlyMap<StageName, Ingredients>;
  /** Keys whose result was there and is damaged, with what is wrong. */
  damaged: ReadonlyMap<StageKey, string>;
};

/**
 * Per stage: reuse, execute or assemble, with every reason. Pure; what is known arrives as a value.
 * @param anew make every stage again although it is there (NO_CACHE)
 */
export const decide = (plan: Plan, { known, previous, damaged }: Knowledge, anew: boolean): Decision[] => {
  const decisions: Decision[] = [];
  // An executed stage holds all that is below it. An assembled one counts only on a stage that is there itself: it is made anew in no
  // time, and what is left out below it would be left out of the image.
  const top = plan.stages.findLastIndex(({ key, kind }) => known.has(key) && kind === "executed");
  for (const [at, stage] of plan.stages.entries()) {
    const make = stage.kind === "executed" ? "execute" : "assemble";
    const below = decisions.at(-1) ?? null;
    const where = known.get(stage.key);
    if (anew) decisions.push({ stage, action: make, reasons: [{ why: "asked" }] });
    else if (where !== undefined && (stage.kind === "executed" || isThere(below)))
      decisions.push({ stage, action: "reuse", reasons: [{ why: "kept", where }] });
    else if (at < top) decisions.push({ stage, action: "reuse", reasons: [{ why: "held", by: plan.stages[top]!.stage }] });
    else {
      const was = previous.get(stage.stage) ?? null;
      const what = damaged.get(stage.key);
      const reasons: Reason[] =
        where !== undefined && below !== null
          ? [{ why: "parent", parent: below.stage.stage, reads: null }]
          : what === undefined
            ? reasonsFor(plan, stage, was, below)
            : [{ why: "damaged", what }];
      const kept =
        make === "assemble" &&
        what === undefined &&
        was !== null &&
        sameButParent(was, stage.ingredients) &&
        !readsAccounts(stage);
      decisions.push(kept ? { stage, action: "reuse", reasons: [{ why: "layer-kept" }] } : { stage, action: make, reasons });
    }
  }
  return decisions;
};

/** Whether a stage is there: to be reused, or held by a stage above. */
const isThere = (decision: Decision | null): boolean =>
  decision !== null && decision.reasons.some(({ why }) => why === "kept" || why === "held");

const reasonsFor = (plan: Plan, stage: PlannedStage, was: Ingredients | null, below: Decision | null): Reason[] => {
  if (was === null) return [{ why: "never-built" }];
  const own = differences(was, stage.ingredients, plan.declared);
  const parentMoved = "key" in was.parent && "key" in stage.ingredients.parent && was.parent.key !== stage.ingredients.parent.key;
  if (keyOf(was) === stage.key)
    return [below === null || isThere(below) ? { why: "forgotten" } : { why: "parent", parent: below.stage.stage, reads: null }];
  if (own.length === 0 && !parentMoved) return [{ why: "nothing-obvious" }];
  if (!parentMoved || below === null) return own;
  return [...own, { why: "parent", parent: below.stage.stage, reads: readsAccounts(stage) ? "account files" : null }];
};

/** An account is added to the files of the stage below, so its layer depends on them. */
const readsAccounts = ({ kind, ingredients }: PlannedStage): boolean =>
  kind === "assembled" && ingredients.steps.some(({ step }) => step.do === "user");

const settled: ReadonlySet<Reason["why"]> = new Set(["parent", "layer-kept", "kept", "held"]);

/** What a person changed, each thing once: the differences of the stages' own ingredients, never that a parent changed. */
export const causesOf = (decisions: readonly Decision[]): Reason[] =>
  decisions
    .filter(({ action, reasons }) => action !== "reuse" || reasons.some(({ why }) => why === "layer-kept"))
    .flatMap(({ reasons }) => reasons.filter(({ why }) => !settled.has(why)));
