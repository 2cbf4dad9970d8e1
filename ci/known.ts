import type { Known } from "../dagger/src/pipeline/decide.js";
import type { Plan } from "../dagger/src/pipeline/plan.js";
import { findStage } from "./io/records.js";
import type { State } from "./io/state.js";

/** Which stages of a plan are kept on this machine, whole. */
export const knownStages = (state: State, plan: Plan): Known =>
  new Map(
    plan.stages.flatMap(({ key, stage }) =>
      findStage(state, key) === null ? [] : [[key, `kept: ${stage}-${key.slice(0, 12)}`] as const],
    ),
  );
