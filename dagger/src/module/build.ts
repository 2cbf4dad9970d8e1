import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Client, Container, File, Secret } from "@dagger.io/dagger";
import { assembleStage } from "../oci-layout/write-stage.js";
import { baseContainer } from "../dagger/base-container.js";
import { cachesOf } from "../pipeline/steps/cache-names.js";
import { type BuiltStage, type Context, type Piece, stageContainers } from "../dagger/stage-container.js";
import { engineCompression, enginePlatform } from "../dagger/sdk-types.js";
import { asFailure } from "../dagger/explain-error.js";
import { indexLayers } from "../oci-layout/index-layers.js";
import { extendsImage, missingBlobs, readManifest } from "../oci-layout/blobs.js";
import { packLayout } from "../oci-layout/archive.js";
import type { ParentIndex } from "../pipeline/contents/parent-index.js";
import type { StageContent } from "../pipeline/report/image-report.js";
import { type Descriptor, mediaTypes, platformParts } from "../pipeline/oci/manifest.js";
import type { Plan, PlannedStage } from "../pipeline/plan/types.js";
import type { FileIndex } from "../pipeline/contents/file-entry.js";
import { notReproducible } from "../pipeline/oci/stage-artifact.js";
import type { Shelf } from "./stage-cache.js";
import type { OpenImage } from "./source.js";
import { openStageArtifact, writeStageArtifact } from "../oci-layout/stage-store.js";
import { importStage } from "../oci-layout/import-stage.js";

/** What executing stages takes, whatever is made of them. */
export type Workshop = {
  client: Client;
  plan: Plan;
  context: Context;
  secrets: ReadonlyMap<string, Secret>;
  /** See containers.ts; null unless everything is to run again. */
  fresh: string | null;
};

/** The containers of a plan's stages, from base-tools up to and with the wanted one; each stands on the one before. */
export const chainOf = (shop: Workshop, upTo: PlannedStage): { stage: PlannedStage; built: BuiltStage }[] => {
  const { client, plan, secrets } = shop;
  const base = baseContainer(client, plan, secrets);
  let below = base.container;
  const chain: { stage: PlannedStage; built: BuiltStage }[] = [];
  for (const stage of plan.stages.slice(0, plan.stages.indexOf(upTo) + 1)) {
    const built = stageContainers(plan, stage, { ...shop, below, caches: moduleCaches(plan) });
    chain.push({ stage, built: chain.length === 0 ? { ...built, pieces: [...base.pieces, ...built.pieces] } : built });
    below = built.container;
  }
  return chain;
};

/** A function sees no commit and no branch, so its caches are those of a branch: no protected build of the command line reads them. */
const moduleCaches = ({ repository }: Plan): string => cachesOf(repository, "branch");

/** Runs what a stage needs and has not run yet. @throws FactoryError STEP_FAILED and what failure.ts names */
export const settle = async (plan: Plan, stage: PlannedStage, { container, pieces }: BuiltStage): Promise<void> => {
  await told(plan, stage, pieces, async () => void (await container.sync()));
};

const told = async <T>(plan: Plan, stage: PlannedStage, pieces: readonly Piece[], work: () => Promise<T>): Promise<T> => {
  try {
    return await work();
  } catch (error) {
    throw asFailure(error, { stage: stage.stage, platform: plan.platform, pieces });
  }
};

/** Where an image is made, in this container. */
export type Place = {
  open: OpenImage;
  layout: string;
  /** An empty folder on the layout's file system. */
  scratch: string;
  /** A file of this container, as the engine takes it. */
  asFile: (path: string) => File;
  shelf: Shelf;
};

/** A stage that stands in the layout, as the next one needs it, and what it holds for whoever reports on it. */
type Ground = {
  digest: string;
  size: number;
  layers: number;
  container: () => Promise<Container>;
  assembly: () => ParentIndex;
  full: () => Promise<FileIndex>;
  content: () => Promise<StageContent>;
};

/**
 * Makes the image of a plan in an OCI layout: stages that run something by the engine, unless the shelf has their refs; the others by the
 * assembler, as on every machine. The layout holds what was made here, and of what the shelf has only the small parts.
 * @param made gets what each stage holds, from base-tools upwards; reading it is the caller's choice
 * @returns the image's manifest
 * @throws FactoryError whatever an engine, the shelf or the assembler throws
 */
export const buildImage = async (
  shop: Workshop,
  place: Place,
  made: (content: () => Promise<StageContent>) => void = () => undefined,
): Promise<Descriptor> => {
  const { plan } = shop;
  mkdirSync(join(place.layout, "blobs", "sha256"), { recursive: true });
  let ground: Ground | null = null;
  for (const stage of plan.stages) {
    if (stage.kind === "assembled" && ground !== null) ground = await assembled(shop, place, stage, ground);
    else ground = (await shelved(shop, place, stage, ground)) ?? (await executed(shop, place, stage, ground));
    made(ground.content);
  }
  const { digest, size } = ground!;
  return { mediaType: mediaTypes.manifest, digest, size, platform: platformParts(plan.platform) };
};

/**
 * The engine's container of an image in the layout, for a stage that is executed on it. Layers that are on the shelf come by the function's own
 * client, with its login and its certificates: the engine pulls by settings of its own, and need not know the registry at all.
 */
const imported = async ({ client, plan }: Workshop, place: Place, stage: PlannedStage, image: Ground): Promise<Container> => {
  const { layout, scratch, shelf, asFile } = place;
  const { digest, size } = image;
  await shelf.bring(missingBlobs(layout, digest) ?? [], layout);
  const tar = join(scratch, `${stage.stage}.tar`);
  await packLayout(layout, { mediaType: mediaTypes.manifest, digest, size, platform: platformParts(plan.platform) }, tar);
  return client.container({ platform: enginePlatform(plan.platform) }).import_(asFile(tar));
};

const shelved = async (shop: Workshop, place: Place, stage: PlannedStage, ground: Ground | null): Promise<Ground | null> => {
  const { layout, shelf } = place;
  const ref = shop.fresh === null ? await shelf.find(stage, layout) : null;
  const opened = ref === null ? null : openStageArtifact(layout, ref, stage.key);
  if (opened === null) return null;
  const { digest, size } = opened.image;
  // It holds all that is below it. Where that is another result than the one this image has, it is made again on this one.
  if (ground !== null && !extendsImage(layout, digest, ground.digest)) return null;
  const { layers } = readManifest(layout, digest);
  const full = async () => shelf.fileIndex(stage, ref!, layout);
  const kept: Ground = {
    digest,
    size,
    layers: layers.length,
    container: () => imported(shop, place, stage, kept),
    assembly: opened.parentIndex,
    full,
    content: executedContent(stage, layers.slice(ground?.layers ?? 0), full),
  };
  return kept;
};

const executedContent =
  ({ stage }: PlannedStage, layers: readonly Descriptor[], full: () => Promise<FileIndex>): (() => Promise<StageContent>) =>
  async () => ({ stage, kind: "executed", layers, index: await full() });

const executed = async (shop: Workshop, place: Place, stage: PlannedStage, ground: Ground | null): Promise<Ground> => {
  const { client, plan, secrets } = shop;
  const { layout, scratch, shelf } = place;
  const base = ground === null ? baseContainer(client, plan, secrets) : { container: await ground.container(), pieces: [] };
  const { container, pieces } = stageContainers(plan, stage, { ...shop, below: base.container, caches: moduleCaches(plan) });
  const tar = join(scratch, `${stage.stage}.tar`);
  await told(plan, stage, [...base.pieces, ...pieces], async () => {
    await container.sync();
    await container.asTarball({ forcedCompression: engineCompression(plan) }).export(tar);
  });
  const made = await importStage(tar, layout, join(scratch, "taken"), plan, stage, ground);
  const below = ground === null ? null : { layers: ground.layers, index: await ground.full() };
  const ref = await writeStageArtifact(layout, stage, made.digest, below);
  if (shop.fresh !== null) await compare(shelf, layout, stage, made.digest);
  await shelf.keep(stage, ref, layout);
  const opened = openStageArtifact(layout, ref.digest, stage.key)!;
  const { layers } = readManifest(layout, made.digest);
  const full = async () => opened.fileIndex();
  return {
    ...made,
    layers: layers.length,
    container: async () => container,
    assembly: opened.parentIndex,
    full,
    content: executedContent(stage, layers.slice(ground?.layers ?? 0), full),
  };
};

/** What was made again and is kept already must be the same; nothing is overwritten then. @throws FactoryError NOT_REPRODUCIBLE */
const compare = async (shelf: Shelf, layout: string, stage: PlannedStage, made: string): Promise<void> => {
  const ref = await shelf.find(stage, layout);
  const kept = ref === null ? made : (openStageArtifact(layout, ref, stage.key)?.image.digest ?? made);
  if (kept === made) return;
  throw notReproducible(stage, kept, made, "--cache off neither compares nor keeps");
};

const assembled = async (shop: Workshop, place: Place, stage: PlannedStage, ground: Ground): Promise<Ground> => {
  const { plan } = shop;
  const { layout, open } = place;
  const { digest, size, index, layer, entries } = await assembleStage({
    layout,
    parentDigest: ground.digest,
    parentIndex: ground.assembly(),
    plan,
    stage,
    contextFolder: open.folder,
    snapshot: open.snapshot,
    remembered: { get: () => undefined, set: () => undefined },
  });
  const made: Ground = {
    digest,
    size,
    layers: ground.layers + (layer === null ? 0 : 1),
    assembly: () => index,
    full: async () => indexLayers(layout, layer === null ? [] : [layer], await ground.full()),
    content: async () => ({ stage: stage.stage, kind: "assembled", layers: layer === null ? [] : [layer], entries }),
    // Only a stage that runs something and stands on an assembled one asks for this.
    container: () => imported(shop, place, stage, made),
  };
  return made;
};
