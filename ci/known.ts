import type { Knowledge } from "../dagger/src/pipeline/decide.js";
import { FactoryError } from "../dagger/src/pipeline/error.js";
import type { Ingredients, StageKey } from "../dagger/src/pipeline/key.js";
import type { Plan, PlannedStage } from "../dagger/src/pipeline/plan.js";
import type { Whereabouts } from "../dagger/src/pipeline/reason.js";
import type { StageName } from "../dagger/src/pipeline/stage.js";
import { stageTag } from "../dagger/src/pipeline/stage-ref.js";
import { findIngredients, findStage, hasRecord, lastKeys, type StageRecord } from "./io/records.js";
import type { State } from "./io/state.js";
import type { StageSource } from "./remote.js";

/** Whom to ask beside the state folder, and what to do when the registry gives no answer. */
export type Asking = { remote: StageSource; unanswered: "warn" | "fail"; warn: (text: string) => void } | null;

/**
 * What is known of a plan's stages: what is kept here, what the registry has, and what the last build was made from where the key is new.
 * The registry is only asked for executed stages that are not here, and only where one of them could be needed.
 * @throws FactoryError REGISTRY_UNREACHABLE when it gives no answer and must
 */
export const knowledgeOf = async (state: State, plan: Plan, asking: Asking): Promise<Knowledge> => {
  const known = new Map<StageKey, Whereabouts>();
  const previous = new Map<StageName, Ingredients>();
  const damaged = new Map<StageKey, string>();
  const look = () => {
    for (const { key, stage } of plan.stages) {
      const record = known.has(key) ? null : findStage(state, key);
      if (record !== null) known.set(key, whereabouts(record, key, stage));
    }
  };
  look();
  const last = plan.stages.at(-1);
  if (asking !== null && last !== undefined && !known.has(last.key)) {
    const wanted = plan.stages.filter(({ key, kind }) => kind === "executed" && !known.has(key));
    for (const { stage, what } of await askFor(plan, wanted, asking)) damaged.set(stage.key, what);
    look();
  }
  const lastBuilt = plan.stages.every(({ key }) => known.has(key)) ? {} : lastKeys(state, plan.image, plan.platform);
  for (const { key, stage } of plan.stages) {
    if (known.has(key)) continue;
    const was = lastBuilt[stage];
    const ingredients = was === undefined ? null : findIngredients(state, was);
    if (ingredients !== null) previous.set(stage, ingredients);
    if (hasRecord(state, key)) damaged.set(key, `a blob of ${stage}-${key.slice(0, 12)} is missing or has another size`);
  }
  return { known, previous, damaged };
};

const whereabouts = ({ ref, elsewhere }: StageRecord, key: StageKey, stage: StageName): Whereabouts =>
  ref !== null && elsewhere !== null
    ? { at: "registry", tag: stageTag(stage, key).slice(0, `cache-${stage}-`.length + 12) }
    : { at: "state" };

/** Asks for all at once; of several questions without an answer one is told. */
const askFor = async (
  plan: Plan,
  stages: readonly PlannedStage[],
  { remote, unanswered, warn }: NonNullable<Asking>,
): Promise<{ stage: PlannedStage; what: string }[]> => {
  const answers = await Promise.all(stages.map(async (stage) => ({ stage, pulled: await remote.find(plan, stage) })));
  const unknown = answers.flatMap(({ pulled }) => (pulled.state === "unknown" ? [pulled.why] : []));
  if (unknown.length > 0 && unanswered === "fail") {
    throw new FactoryError("REGISTRY_UNREACHABLE", {
      what: `cannot tell which stages ${remote.name} has`,
      why: unknown[0]!,
      fix: "mend the connection or the login; REMOTE=auto goes on with what is here",
    });
  }
  if (unknown.length > 0) warn(`the registry gives no answer, going on without it: ${unknown[0]}`);
  return answers.flatMap(({ stage, pulled }) => (pulled.state === "damaged" ? [{ stage, what: pulled.what }] : []));
};
