import type { Knowledge } from "../dagger/src/pipeline/decide.js";
import type { Ingredients, StageKey } from "../dagger/src/pipeline/key.js";
import type { Plan } from "../dagger/src/pipeline/plan.js";
import type { Whereabouts } from "../dagger/src/pipeline/reason.js";
import type { StageName } from "../dagger/src/pipeline/stage.js";
import { findIngredients, findStage, hasRecord, lastKeys } from "./io/records.js";
import type { State } from "./io/state.js";

/** What this machine knows of a plan's stages: what is kept whole, and what the last build was made from where the key is new. */
export const knowledgeOf = (state: State, plan: Plan): Knowledge => {
  const known = new Map<StageKey, Whereabouts>();
  const previous = new Map<StageName, Ingredients>();
  const damaged = new Map<StageKey, string>();
  let last: ReturnType<typeof lastKeys> | null = null;
  for (const { key, stage } of plan.stages) {
    if (findStage(state, key) !== null) known.set(key, { at: "state" });
    else {
      last ??= lastKeys(state, plan.image, plan.platform);
      const was = last[stage];
      const ingredients = was === undefined ? null : findIngredients(state, was);
      if (ingredients !== null) previous.set(stage, ingredients);
      if (hasRecord(state, key)) damaged.set(key, `a blob of ${stage}-${key.slice(0, 12)} is missing or has another size`);
    }
  }
  return { known, previous, damaged };
};
