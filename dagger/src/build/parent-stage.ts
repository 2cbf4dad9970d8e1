import { readManifest } from "../oci-layout/blobs.js";
import { openStageArtifact } from "../oci-layout/stage-store.js";
import type { TrustLevel } from "../pipeline/common/trust-level.js";
import type { ParentIndex } from "../pipeline/contents/parent-index.js";
import { sizesOf } from "../pipeline/context/snapshot.js";
import { assembleLayer } from "../pipeline/layer/plan-layer.js";
import type { Descriptor } from "../pipeline/oci/manifest.js";
import type { PlannedStage } from "../pipeline/plan/types.js";
import { ChainBroken } from "./chain-broken.js";
import { ensureLocal } from "./ensure-local.js";
import type { BuildContext, ParentStage } from "./ports.js";
import type { StageBlobs, StageRecord } from "./stage-record.js";

/** @param index of a stage that was assembled just now: it need not be computed again */
export function parentStage(
  context: Pick<BuildContext, "store" | "cache" | "source" | "signal">,
  { stage, kind, key, ingredients }: PlannedStage,
  record: StageRecord,
  parent: ParentStage | null,
  index?: () => ParentIndex,
): ParentStage {
  const { store, cache, source, signal } = context;
  const { layers } = readManifest(store.layout, record.digest);
  const { digest, elsewhere, ref, trust } = record;
  const common = {
    ...{ stage, digest, elsewhere, ref, trust, layers: layers.length },
    ensureLocal: () => ensureLocal(store, cache, record),
  };
  if (kind === "executed" || parent === null) {
    const artifact = ref === null ? null : openStageArtifact(store.layout, ref, key);
    if (artifact === null)
      throw new ChainBroken(`${stage} cannot be built on`, "it was executed, and its cached stage is missing or damaged");
    return {
      ...common,
      parentIndex: once(artifact.parentIndex),
      fileIndex: async () => {
        await ensureLocal(store, cache, record, [artifact.parts.full]);
        return artifact.fileIndex();
      },
    };
  }
  return {
    ...common,
    parentIndex: once(() => {
      if (index !== undefined) return index();
      return assembleLayer(
        ingredients.steps.map(({ step }) => step),
        parent.parentIndex(),
        sizesOf(source.snapshot),
      ).next;
    }),
    fileIndex: async () => {
      const { indexLayers } = await import("../oci-layout/index-layers.js");
      return indexLayers(store.layout, layers.slice(parent.layers), await parent.fileIndex(), signal);
    },
  };
}

/** A stage whose artifact is still being written, as the parent of a stage that is executed: all its layers are in the layout. */
export function parentAhead(
  { store, cache }: Pick<BuildContext, "store" | "cache">,
  { stage, key }: PlannedStage,
  digest: string,
  trust: TrustLevel,
  artifact: Promise<Descriptor>,
): ParentStage {
  const blobs: StageBlobs = { digest, elsewhere: null, ref: null };
  return {
    ...blobs,
    stage,
    trust,
    layers: readManifest(store.layout, digest).layers.length,
    parentIndex() {
      throw new Error(`nothing is assembled on ${stage} before its artifact is written`);
    },
    fileIndex: async () => openStageArtifact(store.layout, (await artifact).digest, key)!.fileIndex(),
    ensureLocal: () => ensureLocal(store, cache, blobs),
  };
}

/** A parent index is used twice: by the stage above, and for the index of that one. */
function once<T>(make: () => T): () => T {
  let made: { value: T } | null = null;
  return () => (made ??= { value: make() }).value;
}
