import { encoderNames, encoderOf } from "./encoders.js";
import type { KnownFrames } from "./frames.js";
import type { ParentIndex } from "../pipeline/contents/parent-index.js";
import type { Encode } from "../pipeline/archive/compress.js";
import { type ContextSnapshot, sizesOf } from "../pipeline/context/snapshot.js";
import { type ImageConfig, imageConfig } from "../pipeline/oci/image-config.js";
import type { StageKey } from "../pipeline/plan/key.js";
import { assembleLayer, describeLayer, layerKeyOf } from "../pipeline/layer/plan-layer.js";
import type { LayerEntry } from "../pipeline/layer/layer-entry.js";
import { configText, type LayerDescriptor, manifestText, mediaTypes } from "../pipeline/oci/manifest.js";
import type { Plan, PlannedStage } from "../pipeline/plan/types.js";
import type { StageName } from "../pipeline/common/stage.js";
import { hasBlob, readBlob, readManifest, writeBlob } from "./blobs.js";
import { writeLayer, type WrittenLayer } from "./write-layer.js";

/** Layers by layer key, as earlier runs left them. */
export type Remembered = { get(layerKey: string): WrittenLayer | undefined; set(layerKey: string, layer: WrittenLayer): void };

/** Frames of the layer that this stage had before, as far as it was written with this compressor. */
export type RememberedFrames = { get(encoder: string): KnownFrames | null; set(encoder: string, made: KnownFrames): void };

export type AssembleInput = {
  /** Folder of the OCI layout that holds the parent, and gets what is written. */
  layout: string;
  /** Manifest of the stage below. */
  parentDigest: string;
  parentIndex: ParentIndex;
  plan: Pick<Plan, "epoch" | "compression" | "stages">;
  /** The stage to assemble on the parent. */
  stage: PlannedStage;
  /** The folder that the snapshot was taken of. */
  contextFolder: string;
  snapshot: Pick<ContextSnapshot, "entries">;
  remembered: Remembered;
  frames?: RememberedFrames;
  signal?: AbortSignal | undefined;
  /** How layers are compressed; the pinned compressors unless a test brings its own. */
  encoder?: { name: string; load: () => Promise<Encode> };
};

/** A stage that stands in the layout: an image of its own, that the next one is built on. */
export type AssembledStage = {
  stage: StageName;
  key: StageKey;
  /** Of the manifest. */
  digest: string;
  size: number;
  /** Null where the stage sets config only. `reused`: it was remembered, and nothing was read or compressed. */
  layer: (WrittenLayer & { layerKey: string; reused: boolean }) | null;
  entries: readonly LayerEntry[];
  /** What the next stage is assembled on. */
  index: ParentIndex;
};

/**
 * Makes the image of an assembled stage: its layer (if that is not remembered), config and manifest, as blobs of the layout; naming
 * them there is the caller's. The same plan on the same parent gives the same digest on every machine.
 * @throws FactoryError CONFIG_INVALID (layer-entries.ts), INPUT_MISSING when a file changed since it was hashed: no part of its layer stays
 */
export const assembleStage = async (input: AssembleInput): Promise<AssembledStage> => {
  const { layout, plan, stage } = input;
  const sizes = sizesOf(input.snapshot);
  const parent = readManifest(layout, input.parentDigest);
  const base = readBlob<ImageConfig>(layout, parent.config.digest);
  const steps = stage.ingredients.steps.map(({ step }) => step);
  const made = assembleLayer(steps, input.parentIndex, sizes);
  const { entries } = made;
  const layer = entries.length === 0 ? null : await layerOf(input, entries);
  const part = { steps, layer, createdBy: describeLayer(stage.stage, steps) };
  const config = await putText(layout, mediaTypes.config, configText(imageConfig(base, [part], plan.epoch)));
  const layers = layer === null ? parent.layers : [...parent.layers, layer];
  const held = plan.stages.slice(0, plan.stages.findIndex(({ key }) => key === stage.key) + 1);
  const { digest, size } = await putText(layout, mediaTypes.manifest, manifestText(config, layers, held));
  return {
    stage: stage.stage,
    key: stage.key,
    digest,
    size,
    layer,
    entries,
    get index() {
      return made.next;
    },
  };
};

const layerOf = async (input: AssembleInput, entries: readonly LayerEntry[]): Promise<NonNullable<AssembledStage["layer"]>> => {
  const { layout, remembered, signal } = input;
  const { epoch, compression } = input.plan;
  const { name, load } = input.encoder ?? { name: encoderNames[compression], load: () => encoderOf(compression) };
  const layerKey = layerKeyOf(entries, epoch, compression, name);
  const known = remembered.get(layerKey);
  if (known !== undefined && hasBlob(layout, known)) return { ...known, layerKey, reused: true };
  const { layer, frames } = await writeLayer(layout, entries, {
    epoch,
    compression,
    context: input.contextFolder,
    load,
    known: input.frames?.get(name) ?? null,
    signal,
  });
  input.frames?.set(name, { layer: layer.digest, frames });
  remembered.set(layerKey, layer);
  return { ...layer, layerKey, reused: false };
};

const putText = async (layout: string, mediaType: string, text: string): Promise<LayerDescriptor> => ({
  mediaType,
  ...(await writeBlob(layout, [Buffer.from(text)])),
});
