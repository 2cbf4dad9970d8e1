import { missingBlobs } from "../oci-layout/blobs.js";
import type { StageName } from "../pipeline/common/stage.js";
import type { Knowledge } from "../pipeline/decide/decide.js";
import type { StageLocation } from "../pipeline/decide/reason.js";
import { stageTag } from "../pipeline/oci/stage-artifact.js";
import type { Ingredients, StageKey } from "../pipeline/plan/key.js";
import type { Plan } from "../pipeline/plan/types.js";
import type { StageCache, Store } from "./ports.js";
import { faultOf, findStage, isBuiltOn, type StageRecord } from "./stage-record.js";

/** How the registry is used beside the store; null: not at all. */
export type CacheLookup = {
  cache: StageCache;
  /**
   * local: use the store first, ask the registry only for what it lacks. registry: use the registry's stage even if a local one exists, so
   * that two machines that built the same key publish the same digest.
   */
  prefer: "local" | "registry";
  /** Called for each question without an answer. */
  warn: (text: string) => void;
} | null;

/** Digests of stages and stage artifacts that turned out not to be whole (rebuild-damaged.ts): used only where all their blobs are local. */
export type UntrustedDigests = ReadonlySet<string>;

/**
 * What is available of a plan's stages, in the store and in the registry, and what the last build was made from where a key is new.
 * A stage is available only with the results that it was built on. An executed stage contains all layers down to the base: an available
 * stage below it must be what it contains. An assembled stage is available only where the very result below it is.
 * The registry is asked for executed stages only, from the highest one down, until it has one: that one contains all below it.
 * @throws FactoryError of a registry that gives no answer and must
 */
export async function knowledgeOf(
  store: Store,
  plan: Plan,
  lookup: CacheLookup,
  untrusted: UntrustedDigests = new Set(),
): Promise<Knowledge> {
  const damaged = new Map<StageKey, string>();
  const find = (key: StageKey) => {
    const record = findStage(store, key);
    return record === null ? null : unlessUntrusted(store, record, untrusted);
  };
  if (lookup !== null) await lookUp(plan, find, lookup, untrusted, damaged);
  const known = new Map<StageKey, StageLocation>();
  const previous = new Map<StageName, Ingredients>();
  let parent: StageRecord | null = null;
  for (const { key, stage, kind } of plan.stages) {
    const record = find(key);
    const fits: boolean = record !== null && (parent === null ? kind === "executed" : isBuiltOn(store, record, parent));
    const contains: boolean = record !== null && !fits && kind === "executed" && record.parent === null;
    // A fetched stage is preferred to what is local below it: other machines build on the fetched one too.
    if (contains) known.clear();
    if (record !== null && (fits || contains)) known.set(key, locationOf(record, key, stage));
    else if (record !== null && kind === "executed") damaged.set(key, "it was built on another result of the stage below");
    parent = fits || contains ? record : null;
  }
  const lastBuilt = plan.stages.every(({ key }) => known.has(key)) ? {} : store.lastKeys(plan.image, plan.platform);
  for (const { key, stage } of plan.stages) {
    if (known.has(key)) continue;
    const was = lastBuilt[stage];
    const ingredients = was === undefined ? null : store.ingredients(was);
    if (ingredients !== null) previous.set(stage, ingredients);
    const fault = damaged.has(key) ? null : faultOf(store, key);
    if (fault !== null) damaged.set(key, `${stage}-${key.slice(0, 12)}: ${fault}`);
  }
  return { known, previous, damaged };
}

function unlessUntrusted({ layout }: Store, record: StageRecord, untrusted: UntrustedDigests): StageRecord | null {
  const digest = record.ref ?? record.digest;
  return !untrusted.has(digest) || missingBlobs(layout, digest)?.length === 0 ? record : null;
}

function locationOf({ ref, elsewhere }: StageRecord, key: StageKey, stage: StageName): StageLocation {
  return ref !== null && elsewhere !== null
    ? { at: "registry", tag: stageTag(stage, key).slice(0, `cache-${stage}-`.length + 12) }
    : { at: "state" };
}

/** All questions are sent at once: the answers come in one round. */
async function lookUp(
  plan: Plan,
  find: (key: StageKey) => StageRecord | null,
  { cache, prefer, warn }: NonNullable<CacheLookup>,
  untrusted: UntrustedDigests,
  damaged: Map<StageKey, string>,
): Promise<void> {
  const isLocal = ({ key }: { key: StageKey }) => find(key) !== null;
  const executed = plan.stages.filter(({ kind }) => kind === "executed").reverse();
  const firstLocal = executed.findIndex(isLocal);
  const stages = prefer === "registry" || firstLocal < 0 ? executed : executed.slice(0, firstLocal);
  // An empty question would open the registry's client too.
  if (stages.length === 0) return;
  cache.ask(stages);
  for (const stage of stages) {
    const local = find(stage.key);
    const pulled = await cache.find(plan, stage, local, untrusted);
    if (pulled.state === "unknown" && cache.unanswered === "fail") throw pulled.error;
    if (pulled.state === "unknown") warn(`the registry gives no answer, going on without it: ${pulled.why}`);
    if (pulled.state === "damaged") damaged.set(stage.key, pulled.what);
    if (pulled.state === "found" || local !== null) return;
  }
}
