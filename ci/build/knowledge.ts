import type { Knowledge } from "../../dagger/src/pipeline/decide/decide.js";
import type { Ingredients, StageKey } from "../../dagger/src/pipeline/plan/key.js";
import { missingBlobs } from "../../dagger/src/oci-layout/blobs.js";
import type { Plan } from "../../dagger/src/pipeline/plan/types.js";
import type { StageLocation } from "../../dagger/src/pipeline/decide/reason.js";
import type { StageName } from "../../dagger/src/pipeline/common/stage.js";
import { stageTag } from "../../dagger/src/pipeline/oci/stage-artifact.js";
import { faultOf, findIngredients, findStage, isBuiltOn, lastKeys, type StageRecord } from "../state/records.js";
import type { State } from "../state/state.js";
import type { World } from "../host/world.js";
import type { StageSource } from "../remote/stage-source.js";

/** Whom to ask beside the state folder. */
export type Asking = {
  remote: StageSource;
  /**
   * kept: the registry is asked for what is not here. registry: its word goes before what is here: what is published stands on
   * what others will find under the key, so that two machines that executed the same stage publish one image.
   */
  prefer: "kept" | "registry";
  /** Told for each question without an answer; the first says it all (`firstOnly`). */
  warn: (text: string) => void;
} | null;

/** Says the first of many like it: what one stage or platform hears of the registry, all others hear too. */
export const firstOnly = (world: Pick<World, "stderr">): ((text: string) => void) => {
  let told = false;
  return (text) => {
    if (!told) world.stderr(`note: ${text}\n`);
    told = true;
  };
};

/** Digests of stages and refs that turned out not to be whole (heal.ts): they count only where all of them is here. */
export type UntrustedDigests = ReadonlySet<string>;

/**
 * What is known of a plan's stages: what is kept here, what the registry has, and what the last build was made from where the key is new.
 * A stage is known only with the results that it was built on. An executed stage's image holds all layers down to the base: what is known
 * below it must be what it holds. An assembled stage is known only where the very result below it is known.
 * The registry is only asked for executed stages, and only for the highest one that it has: that one holds all below it.
 * @throws FactoryError of the registry when it gives no answer and must
 */
export const knowledgeOf = async (
  state: State,
  plan: Plan,
  asking: Asking,
  untrusted: UntrustedDigests = new Set(),
): Promise<Knowledge> => {
  const damaged = new Map<StageKey, string>();
  const find = (key: StageKey) => {
    const record = findStage(state, key);
    return record === null ? null : undoubted(state, record, untrusted);
  };
  if (asking !== null) await ask(plan, find, asking, untrusted, damaged);
  const known = new Map<StageKey, StageLocation>();
  const previous = new Map<StageName, Ingredients>();
  let below: StageRecord | null = null;
  for (const { key, stage, kind } of plan.stages) {
    const record = find(key);
    const fits: boolean = record !== null && (below === null ? kind === "executed" : isBuiltOn(state, record, below));
    const holds: boolean = record !== null && !fits && kind === "executed" && record.parent === null;
    // What was pulled goes before what is kept below it: others build on the pulled one too.
    if (holds) known.clear();
    if (record !== null && (fits || holds)) known.set(key, whereabouts(record, key, stage));
    else if (record !== null && kind === "executed") damaged.set(key, "it was built on another result of the stage below");
    below = fits || holds ? record : null;
  }
  const lastBuilt = plan.stages.every(({ key }) => known.has(key)) ? {} : lastKeys(state, plan.image, plan.platform);
  for (const { key, stage } of plan.stages) {
    if (known.has(key)) continue;
    const was = lastBuilt[stage];
    const ingredients = was === undefined ? null : findIngredients(state, was);
    if (ingredients !== null) previous.set(stage, ingredients);
    const fault = damaged.has(key) || findStage(state, key) !== null ? null : faultOf(state, key);
    if (fault !== null) damaged.set(key, `${stage}-${key.slice(0, 12)}: ${fault}`);
  }
  return { known, previous, damaged };
};

const undoubted = (state: State, record: StageRecord, untrusted: UntrustedDigests): StageRecord | null => {
  const digest = record.ref ?? record.digest;
  if (!untrusted.has(digest)) return record;
  return missingBlobs(state.layout, digest)?.length === 0 ? record : null;
};

const whereabouts = ({ ref, elsewhere }: StageRecord, key: StageKey, stage: StageName): StageLocation =>
  ref !== null && elsewhere !== null
    ? { at: "registry", tag: stageTag(stage, key).slice(0, `cache-${stage}-`.length + 12) }
    : { at: "state" };

/** From the highest executed stage down, until one is there. All are asked for at once: the answers come in one round. */
const ask = async (
  plan: Plan,
  find: (key: StageKey) => StageRecord | null,
  { remote, prefer, warn }: NonNullable<Asking>,
  untrusted: UntrustedDigests,
  damaged: Map<StageKey, string>,
): Promise<void> => {
  const last = plan.stages.at(-1);
  const isKept = ({ key }: { key: StageKey }) => find(key) !== null;
  if (last === undefined || (prefer === "kept" && isKept(last))) return;
  const executed = plan.stages.filter(({ kind }) => kind === "executed").reverse();
  const firstKept = executed.findIndex(isKept);
  const wanted = prefer === "registry" || firstKept < 0 ? executed : executed.slice(0, firstKept);
  // Even an empty question would open the registry's client.
  if (wanted.length === 0) return;
  remote.ask(wanted);
  for (const stage of wanted) {
    const kept = find(stage.key);
    const pulled = await remote.find(plan, stage, kept, untrusted);
    if (pulled.state === "unknown" && remote.unanswered === "fail") throw pulled.error;
    if (pulled.state === "unknown") warn(`the registry gives no answer, going on without it: ${pulled.why}`);
    if (pulled.state === "damaged") damaged.set(stage.key, pulled.what);
    if (pulled.state === "found" || kept !== null) return;
  }
};
