import { statSync } from "node:fs";
import { blobPath, readManifest, writeJson } from "../oci-layout/blobs.js";
import { FactoryError } from "../pipeline/common/error.js";
import type { ParentIndex } from "../pipeline/contents/parent-index.js";
import type { Decision } from "../pipeline/decide/decide.js";
import { noteText } from "../pipeline/explain/reasons-text.js";
import { type Descriptor, imageIndex, mediaTypes, platformParts } from "../pipeline/oci/manifest.js";
import { notReproducible } from "../pipeline/oci/stage-artifact.js";
import type { Plan, PlannedStage } from "../pipeline/plan/types.js";
import { assemble } from "./assemble-stage.js";
import { ChainBroken } from "./chain-broken.js";
import { execute } from "./execute-stage.js";
import { parentStage } from "./parent-stage.js";
import type { BuildContext, ParentStage, Store } from "./ports.js";
import { findStage, isBuiltOn, type StageRecord } from "./stage-record.js";
import type { BuiltPlan, Rebuild, StageResult } from "./stage-result.js";

/**
 * Builds the stages of a plan as decided, from base-tools upwards. Each stage is built on the recorded result of the stage below, so that
 * the first machine and every later one get the same digest.
 * @throws ChainBroken where a stage would be built on anything else, whatever the decisions say
 * @throws FactoryError LOCK_STALE before anything runs, NOT_REPRODUCIBLE, and whatever the executor, the cache or the assembler throws
 */
export async function buildStages(
  context: BuildContext,
  plan: Plan,
  decisions: readonly Decision[],
  rebuild: Rebuild,
): Promise<StageResult[]> {
  refuseStale(plan, decisions);
  const { store, signal } = context;
  const done: StageResult[] = [];
  /** Images to be named in the layout, all at once at the end: each write of the index is a flush to disk. */
  const named: Record<string, Descriptor> = {};
  /** Stages whose execution began while the stage below was still being indexed. */
  const begun = new Map<PlannedStage, Promise<Made>>();
  const begin = async (at: number, parent: ParentStage | null): Promise<Made> =>
    make(context, plan, onParent(decisions, at, parent), parent, rebuild, (executed) => {
      const next = decisions[at + 1];
      if (next?.action !== "execute" || rebuild !== "no") return;
      const ahead = begin(at + 1, executed);
      // Prevents an unhandled rejection: the loop awaits this promise when it reaches the stage, or never, if an earlier stage fails.
      ahead.catch(() => undefined);
      begun.set(next.stage, ahead);
    });
  let parent: ParentStage | null = null;
  try {
    for (const [at, decision] of decisions.entries()) {
      const { stage } = decision;
      const available = availableOn(store, stage, parent);
      if (decision.reasons.some(({ why }) => why === "held")) {
        done.push({ decision, record: null, seconds: 0, layers: [], compared: false });
        continue;
      }
      const made = decision.action === "reuse" && available !== null ? null : await (begun.get(stage) ?? begin(at, parent));
      if (made?.image !== undefined) named[`${stage.stage}-${stage.key}`] = made.image;
      if (made !== null) await recordStage(context, stage, available, made, rebuild);
      const record = made === null || (available !== null && rebuild === "compare") ? available! : made.record;
      const compared = made !== null && record === available;
      const below: ReadonlySet<string> = new Set(done.flatMap(({ layers }) => layers.map(({ digest }) => digest)));
      const layers = readManifest(store.layout, record.digest).layers.filter(({ digest }) => !below.has(digest));
      done.push({ decision, record, seconds: made?.record.seconds ?? 0, layers, compared });
      parent = parentStage(context, stage, record, parent, made?.index);
      store.keepIngredients(stage.key, stage.ingredients);
      store.keepLastKeys(plan.image, plan.platform, { [stage.stage]: stage.key });
    }
    return done;
  } finally {
    await Promise.allSettled(begun.values());
    if (Object.keys(named).length > 0) await store.name(named, signal);
  }
}

/** The record of the last stage: a stage above contains every other one that has no record. */
export const lastRecord = (done: readonly StageResult[]): StageRecord => done.at(-1)!.record!;

/** The image of the built plans: the manifest of the only one, or an index of all of them, written to the layout. */
export async function imageRoot(store: Store, built: readonly BuiltPlan[], signal: AbortSignal): Promise<Descriptor> {
  const manifests = built.map(({ plan, done }): Descriptor => {
    const { digest } = lastRecord(done);
    const { size } = statSync(blobPath(store.layout, digest));
    return { mediaType: mediaTypes.manifest, digest, size, platform: platformParts(plan.platform) };
  });
  if (manifests.length === 1) return manifests[0]!;
  const images = built.map(({ done }, at) => ({ manifest: manifests[at]!, last: done.at(-1)!.decision.stage }));
  const index = await writeJson(store.layout, mediaTypes.index, imageIndex(images));
  await store.name({ [`index-${built[0]!.plan.image}`]: index }, signal);
  return index;
}

/** The record of a stage, unless it was built on another result of the stage below. */
function availableOn(store: Store, { key, kind }: PlannedStage, parent: ParentStage | null): StageRecord | null {
  const record = findStage(store, key);
  if (record === null || (parent === null && kind === "assembled")) return null;
  return parent === null || isBuiltOn(store, record, parent) ? record : null;
}

/** The stage to build, if this parent is the stage below it. @throws ChainBroken */
function onParent(decisions: readonly Decision[], at: number, parent: ParentStage | null): PlannedStage {
  const { stage } = decisions[at]!;
  const below = at === 0 ? null : decisions[at - 1]!.stage.stage;
  if ((parent?.stage ?? null) === below) return stage;
  throw new ChainBroken(
    `${stage.stage} cannot be built: ${below ?? "nothing"} is what is below it`,
    `what is there is ${parent === null ? "nothing" : parent.stage}; what was kept changed since it was looked at`,
  );
}

/** A stage that was built now. Executed: with its stage artifact. Assembled: with its image, which is not named yet, and its index. */
type Made = { record: StageRecord; artifact?: Descriptor; image?: Descriptor; index?: () => ParentIndex };

async function make(
  context: BuildContext,
  plan: Plan,
  stage: PlannedStage,
  parent: ParentStage | null,
  rebuild: Rebuild,
  executed: (stage: ParentStage) => void,
): Promise<Made> {
  return stage.kind === "assembled" && parent !== null
    ? assemble(context, plan, stage, parent, rebuild !== "no")
    : execute(context, plan, stage, parent, rebuild !== "no", executed);
}

async function recordStage(
  { store, cache, howToReplace }: BuildContext,
  stage: PlannedStage,
  available: StageRecord | null,
  { record, artifact }: Made,
  rebuild: Rebuild,
): Promise<void> {
  if (available === null || rebuild !== "compare") store.keep(record);
  else if (available.digest !== record.digest) throw notReproducible(stage, available.digest, record.digest, howToReplace);
  if (artifact !== undefined) await cache?.keep(stage, artifact);
}

function refuseStale(plan: Plan, decisions: readonly Decision[]): void {
  const executed = new Set(decisions.filter(({ action }) => action === "execute").map(({ stage }) => stage.stage));
  const stale = plan.notes.filter((note) => note.note === "stale" && executed.has(note.stage));
  if (stale.length === 0) return;
  throw new FactoryError("LOCK_STALE", {
    what: "images.lock is out of date",
    why: stale.map(noteText).join("\n"),
    fix: { run: "lock", words: { IMAGE: plan.image } },
  });
}
