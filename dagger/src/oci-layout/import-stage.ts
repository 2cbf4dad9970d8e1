import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { blobPath, readBlob, readManifest, writeBlob } from "./blobs.js";
import { unpackLayout } from "./archive.js";
import { FactoryError } from "../pipeline/common/error.js";
import { type ImageConfig, imageConfig, type StagePart } from "../pipeline/oci/image-config.js";
import { configText, type LayerDescriptor, manifestText, mediaTypes } from "../pipeline/oci/manifest.js";
import type { Plan, PlannedStage } from "../pipeline/plan/types.js";

/**
 * Takes an executed stage from a tar that a Dagger engine exported, into an OCI layout. Of the export only the layers are kept: the engine
 * writes times of its own into each config and forgets the history below. Config and manifest are made here, of what stands below and the
 * stage's steps, by the rules that the assembler follows, so that the digest depends on nothing but the layers.
 * @param below the stage's parent in the layout, on which its container stood; null where the whole export is the stage's
 * @returns the stage's manifest
 * @throws FactoryError ENGINE_FAILED, CHECKSUM_MISMATCH; nothing of the stage is in the layout then
 */
export const importStage = async (
  tar: string,
  layout: string,
  draft: string,
  plan: Pick<Plan, "epoch" | "stages">,
  stage: PlannedStage,
  below: { digest: string } | null,
): Promise<{ digest: string; size: number }> => {
  try {
    const exported = await unpackLayout(tar, draft);
    const manifest = readManifest(draft, exported.digest);
    const config = readBlob<ImageConfig>(draft, manifest.config.digest);
    const parent = below === null ? null : readManifest(layout, below.digest);
    const ground = parent === null ? bare(config) : readBlob<ImageConfig>(layout, parent.config.digest);
    const under: readonly LayerDescriptor[] = parent?.layers ?? [];
    if (manifest.layers.length < under.length) throw shorter(manifest.layers.length, under.length);
    const added = manifest.layers.slice(under.length);
    const diffIds = config.rootfs.diff_ids.slice(under.length);
    mkdirSync(join(layout, "blobs", "sha256"), { recursive: true });
    for (const { digest } of added) bringBlob(blobPath(draft, digest), blobPath(layout, digest));
    const steps = stage.ingredients.steps.map(({ step }) => step);
    const createdBy = `image-factory ${stage.stage}`;
    const parts = diffIds.map((diffId, at): StagePart => ({ steps: at === 0 ? steps : [], layer: { diffId }, createdBy }));
    const whole = parts.length > 0 ? parts : [{ steps, layer: null, createdBy }];
    const held = plan.stages.slice(0, plan.stages.findIndex(({ key }) => key === stage.key) + 1);
    const written = await putText(layout, mediaTypes.config, configText(imageConfig(ground, whole, plan.epoch)));
    return await putText(layout, mediaTypes.manifest, manifestText(written, [...under, ...added], held));
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
};

/** What the exported image brings from its base: a platform and how it is run, without layers and history. */
const bare = ({ architecture, os, variant, config }: ImageConfig): ImageConfig => ({
  architecture,
  os,
  ...(variant === undefined ? {} : { variant }),
  ...(config === undefined ? {} : { config }),
  rootfs: { type: "layers", diff_ids: [] },
});

const bringBlob = (from: string, to: string): void => {
  // The same layer may stand twice in a chain. What the layout has under that name may be damaged: these bytes were hashed just now.
  if (existsSync(from)) renameSync(from, to);
};

const shorter = (found: number, below: number): FactoryError =>
  new FactoryError("ENGINE_FAILED", {
    what: "the engine exported fewer layers than the stage is built on",
    why: `${found} of at least ${below}`,
    fix: "use the version of the engine that dagger.json names, or another engine: ENGINE=buildkit",
  });

const putText = async (layout: string, mediaType: string, text: string): Promise<LayerDescriptor> => ({
  mediaType,
  ...(await writeBlob(layout, [Buffer.from(text)])),
});
