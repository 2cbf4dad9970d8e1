import { encoderOf } from "./encoders.js";
import { gunzip } from "./gunzip.js";
import { blobBytes, hasBlob, readBlob, readManifest, writeBlob } from "./blobs.js";
import { MissingBlob } from "./missing-blob.js";
import { type ParentIndex, parentIndexOf } from "../pipeline/contents/parent-index.js";
import { inFrames } from "../pipeline/archive/compress.js";
import { FactoryError } from "../pipeline/common/error.js";
import type { ImageConfig } from "../pipeline/oci/image-config.js";
import type { Ingredients } from "../pipeline/plan/key.js";
import { type Descriptor, mediaTypes, platformParts } from "../pipeline/oci/manifest.js";
import { isParentIndex, isFileIndex, isImageIndex, isManifest, jsonOf } from "../pipeline/oci/guards.js";
import type { PlannedStage } from "../pipeline/plan/types.js";
import type { FileIndex } from "../pipeline/contents/file-entry.js";
import {
  artifactText,
  emptyConfig,
  ingredientsText,
  isArtifactOf,
  type Part,
  partsOf,
  partTypes,
  readStageArtifact,
  stageArtifactText,
} from "../pipeline/oci/stage-artifact.js";

/** A stage that stands below, for the part of the index that need not be read again. */
export type Below = { layers: number; index: FileIndex };

/**
 * Makes the stage artifact of an executed stage in an OCI layout: its layers are read once, here, and never again for what they hold.
 * @param imageDigest the stage's manifest, as the engine left it
 * @param below the stage that it was executed on, or null: then all layers are read
 * @returns the descriptor of the ref
 * @throws FactoryError CHECKSUM_MISMATCH for a damaged layer, CONFIG_INVALID for an image of another platform, INTERRUPTED
 */
export const writeStageArtifact = async (
  layout: string,
  stage: PlannedStage,
  imageDigest: string,
  below: Below | null,
  signal?: AbortSignal,
): Promise<Descriptor> => {
  const { layers, config: ofImage } = readManifest(layout, imageDigest);
  refuseOtherPlatform(stage, readBlob<ImageConfig>(layout, ofImage.digest));
  // Loaded here, because assembling on a stage artifact needs none of it.
  const { indexLayers } = await import("./index-layers.js");
  const full = await indexLayers(layout, layers.slice(below?.layers ?? 0), below?.index ?? null, signal);
  const parts: Record<Part, Descriptor> = {
    ingredients: await put(layout, partTypes.ingredients, ingredientsText(stage.ingredients)),
    assembly: await put(layout, partTypes.assembly, JSON.stringify(parentIndexOf(full))),
    full: await put(layout, partTypes.full, JSON.stringify(full)),
  };
  const config = await put(layout, emptyConfig.type, emptyConfig.text);
  const artifact = await put(layout, mediaTypes.manifest, artifactText(config, parts, imageDigest));
  const image = {
    mediaType: mediaTypes.manifest,
    digest: imageDigest,
    size: blobBytes(layout, imageDigest).length,
    platform: platformParts(stage.ingredients.platform),
  };
  return put(layout, mediaTypes.index, stageArtifactText(stage.stage, stage.key, image, artifact));
};

/** Engines take a base that is no index, whatever platform it is for. */
const refuseOtherPlatform = ({ stage, ingredients: { platform } }: PlannedStage, { os, architecture }: ImageConfig): void => {
  const made = `${os}/${architecture}`;
  if (made === platform) return;
  throw new FactoryError("CONFIG_INVALID", {
    what: `${stage} for ${platform} came out as an image for ${made}`,
    why: `the base that images.lock pins is for ${made} alone, and engines take it all the same`,
    fix: `name a base in images.yaml that has ${platform}, or take ${platform} out of \`platforms\``,
  });
};

const put = async (layout: string, mediaType: string, text: string): Promise<Descriptor> => {
  const bytes = Buffer.from(text);
  if (!mediaType.endsWith("+gzip")) return { mediaType, ...(await writeBlob(layout, [bytes])) };
  const encode = await encoderOf("gzip");
  return { mediaType, ...(await writeBlob(layout, inFrames(once(bytes), encode))) };
};

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** A stage artifact of a layout, opened: its parts are read when they are asked for. */
export type OpenStage = {
  image: Descriptor;
  artifact: Descriptor;
  parts: Readonly<Record<Part, Descriptor>>;
  ingredients(): Ingredients;
  parentIndex(): ParentIndex;
  fileIndex(): FileIndex;
};

/**
 * Opens the ref of this key in a layout. What assembling needs must be there: the manifest and config of the image, and the small
 * parts; its layers and the full index may stand elsewhere. Null for a ref that is damaged or not whole in that sense.
 */
export const openStageArtifact = (layout: string, refDigest: string, key: string): OpenStage | null => {
  try {
    const index = readBlob<unknown>(layout, refDigest);
    const ref = isImageIndex(index) ? readStageArtifact(index, key) : null;
    if (ref === null) return null;
    const artifact = readBlob<unknown>(layout, ref.artifact.digest);
    const parts = isManifest(artifact) && isArtifactOf(artifact, ref.image.digest) ? partsOf(artifact) : null;
    const image = readBlob<unknown>(layout, ref.image.digest);
    if (!isManifest(image)) return null;
    const { config } = image;
    if (parts === null || ![config, parts.ingredients, parts.assembly].every((part) => hasBlob(layout, part))) return null;
    return {
      ...ref,
      parts,
      ingredients: () => readBlob<Ingredients>(layout, parts.ingredients.digest),
      parentIndex: () => unpack(layout, parts.assembly, isParentIndex),
      fileIndex: () => unpack(layout, parts.full, isFileIndex),
    };
  } catch {
    return null;
  }
};

/** @throws MissingBlob for a part that is not here, is damaged or says something else than its type promises */
const unpack = <T>(layout: string, { digest }: Descriptor, is: (value: unknown) => value is T): T => {
  const value = jsonIn(blobBytes(layout, digest));
  if (is(value)) return value;
  throw new MissingBlob(digest, "it is none of this format", { code: "CHECKSUM_MISMATCH" });
};

const jsonIn = (compressed: Buffer): unknown => {
  try {
    return jsonOf(gunzip(compressed));
  } catch {
    return null;
  }
};
