import { readFileSync } from "node:fs";
import { encoderNames, encoderOf } from "./encoders.js";
import type { AssemblyIndex } from "./pipeline/assembly-index.js";
import type { Encode } from "./pipeline/compress.js";
import type { Facts } from "./pipeline/facts.js";
import { type ImageConfig, imageConfig, type StagePart } from "./pipeline/image-config.js";
import type { StageKey } from "./pipeline/key.js";
import { assembleLayer, describeLayer, layerKeyOf } from "./pipeline/layer-entries.js";
import type { LayerEntry } from "./pipeline/layer-entry.js";
import { configText, type LayerDescriptor, manifestText, mediaTypes } from "./pipeline/oci.js";
import type { Plan, PlannedStage } from "./pipeline/plan.js";
import type { StageName } from "./pipeline/stage.js";
import { blobPath, hasBlob, readManifest, writeBlob } from "./layout.js";
import { writeLayer, type WrittenLayer } from "./write-layer.js";

/** Layers by layer key, as earlier runs left them. */
type Remembered = { get(layerKey: string): WrittenLayer | undefined; set(layerKey: string, layer: WrittenLayer): void };

export type AssembleInput = {
  /** Folder of the OCI layout that holds the parent, and gets what is written. */
  layout: string;
  /** Manifest of the stage below, or of the base image where every stage is assembled. */
  parentDigest: string;
  parentIndex: AssemblyIndex;
  plan: Pick<Plan, "epoch" | "compression" | "stages">;
  /** The stages to assemble, in order; the first stands on the parent. */
  stages: readonly PlannedStage[];
  /** The folder that the facts were gathered from. */
  contextFolder: string;
  facts: Pick<Facts, "entries">;
  remembered: Remembered;
  signal?: AbortSignal | undefined;
  /** How layers are compressed; the pinned compressors unless a test brings its own. */
  encoder?: { name: string; load: () => Promise<Encode> };
};

/** A stage that stands in the layout: an image of its own, that the next one stands on. */
export type AssembledStage = {
  stage: StageName;
  key: StageKey;
  /** Of the manifest. */
  digest: string;
  size: number;
  /** Null where the stage sets config only. `reused`: it was remembered, and nothing was read or compressed. */
  layer: (WrittenLayer & { layerKey: string; reused: boolean }) | null;
  entries: readonly LayerEntry[];
};

/**
 * Makes the images of assembled stages: layers (those that are not remembered), configs and manifests, as blobs of the layout; naming
 * them there is the caller's. The same plan on the same parent gives the same digests on every machine.
 * @returns the stages from the first to the last, and the index of what they left
 * @throws FactoryError CONFIG_INVALID (layer-entries.ts), INPUT_MISSING when a file changed since it was hashed: no part of its layer stays
 */
export const assembleStages = async (input: AssembleInput): Promise<{ stages: AssembledStage[]; index: AssemblyIndex }> => {
  const { layout, plan } = input;
  const sizes = new Map(
    input.facts.entries.flatMap((entry) => (entry.kind === "file" ? [[entry.path, entry.size] as const] : [])),
  );
  const parent = readManifest(layout, input.parentDigest);
  const base = JSON.parse(readFileSync(blobPath(layout, parent.config.digest), "utf8")) as ImageConfig;
  const parts: StagePart[] = [];
  const layers: LayerDescriptor[] = [...parent.layers];
  const done: AssembledStage[] = [];
  let index = input.parentIndex;
  for (const stage of input.stages) {
    const steps = stage.ingredients.steps.map(({ step }) => step);
    const { entries, next } = assembleLayer(steps, index, sizes);
    const layer = entries.length === 0 ? null : await layerOf(input, entries);
    index = next;
    parts.push({ steps, layer, createdBy: describeLayer(stage.stage, steps) });
    if (layer !== null) layers.push(layer);
    const config = await putText(layout, mediaTypes.config, configText(imageConfig(base, parts, plan.epoch)));
    const held = plan.stages.slice(0, plan.stages.findIndex(({ key }) => key === stage.key) + 1);
    const manifest = await putText(layout, mediaTypes.manifest, manifestText(config, layers, held));
    done.push({ stage: stage.stage, key: stage.key, digest: manifest.digest, size: manifest.size, layer, entries });
  }
  return { stages: done, index };
};

const layerOf = async (input: AssembleInput, entries: readonly LayerEntry[]): Promise<NonNullable<AssembledStage["layer"]>> => {
  const { layout, remembered, signal } = input;
  const { epoch, compression } = input.plan;
  const { name, load } = input.encoder ?? { name: encoderNames[compression], load: () => encoderOf(compression) };
  const layerKey = layerKeyOf(entries, epoch, compression, name);
  const known = remembered.get(layerKey);
  if (known !== undefined && hasBlob(layout, known)) return { ...known, layerKey, reused: true };
  const layer = await writeLayer(layout, entries, {
    epoch,
    compression,
    context: input.contextFolder,
    encode: await load(),
    signal,
  });
  remembered.set(layerKey, layer);
  return { ...layer, layerKey, reused: false };
};

const putText = async (layout: string, mediaType: string, text: string): Promise<LayerDescriptor> => ({
  mediaType,
  ...(await writeBlob(layout, [Buffer.from(text)])),
});
