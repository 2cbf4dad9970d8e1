import { gunzipSync } from "node:zlib";
import { blobPath, hasBlob, writeBlob } from "./layout.js";
import { FactoryError } from "./pipeline/error.js";
import { type Ingredients, keyOf } from "./pipeline/key.js";
import type { Descriptor, ImageIndex, Manifest } from "./pipeline/oci.js";
import type { PlannedStage } from "./pipeline/plan.js";
import { partsOf, readStageRef, stageTag } from "./pipeline/stage-ref.js";
import type { Repository } from "./registry/client.js";
import { known, type Lookup } from "./registry/lookup.js";

/** A stage ref of a repository, as far as assembling on it needs: its layers and the full index are still there only. */
export type PulledStage = { ref: Descriptor; image: Descriptor };

/** `damaged`: something is there under the key's tag, and it does not hold up. It is made again and repaired, never trusted. */
export type Pulled =
  | { state: "found"; value: PulledStage }
  | { state: "absent" }
  | { state: "damaged"; what: string }
  | { state: "unknown"; why: string };

/** Bytes; the small parts of a stage are tens of kilobytes, and what is much larger is something else. */
const smallLimit = 16 << 20;

/**
 * Looks a stage ref up and brings what assembling needs into the layout: two manifests, config, ingredients and the small index. What can be held
 * against the key is: the ref's own annotation, the hash of the ingredients, the platform, and that layers and config agree.
 * No layer is downloaded.
 */
export const pullStage = async (from: Repository, layout: string, stage: PlannedStage): Promise<Pulled> => {
  const tag = stageTag(stage.stage, stage.key);
  const index = await from.manifest(tag);
  if (index.state === "unknown") return { state: "unknown", why: index.why };
  if (index.state === "absent") return index;
  try {
    const value = JSON.parse(index.value.bytes.toString("utf8")) as ImageIndex;
    const ref = readStageRef(value, stage.key);
    if (ref === null) return damaged(`${tag} is no stage ref of this key`);
    const [image, artifact] = await Promise.all([manifestOf(from, ref.image), manifestOf(from, ref.artifact)]);
    const parts = partsOf(artifact.value);
    if (parts === null) return damaged(`${tag} lacks a part`);
    const [config, ingredients, assembly] = await Promise.all([
      small(from, image.value.config),
      small(from, parts.ingredients),
      small(from, parts.assembly),
    ]);
    const wrong = disagreement(stage, image.value, config, ingredients, assembly);
    if (wrong !== null) return damaged(`${tag}: ${wrong}`);
    for (const bytes of [config, ingredients, assembly, image.bytes, artifact.bytes, index.value.bytes])
      await writeBlob(layout, [bytes]);
    const { digest, size, mediaType } = index.value;
    return { state: "found", value: { ref: { mediaType, digest, size }, image: ref.image } };
  } catch (error) {
    if (error instanceof Absent) return damaged(`${tag}: ${error.message}`);
    if (error instanceof SyntaxError) return damaged(`${tag}: ${error.message}`);
    if (error instanceof FactoryError && error.code === "CHECKSUM_MISMATCH") return damaged(`${tag}: ${error.explanation.why}`);
    if (error instanceof FactoryError && error.code !== "INTERRUPTED")
      return { state: "unknown", why: `${error.explanation.what}: ${error.explanation.why}` };
    throw error;
  }
};

const damaged = (what: string): Pulled => ({ state: "damaged", what });

/** A part of a ref that its registry does not have. */
class Absent extends Error {}

const present = <T>(lookup: Lookup<T>, digest: string): T => {
  const value = known(lookup);
  if (value === null) throw new Absent(`${digest.slice(0, 19)} is not in the registry`);
  return value;
};

const manifestOf = async (from: Repository, { digest }: Descriptor) => {
  const { bytes } = present(await from.manifest(digest), digest);
  return { bytes, value: JSON.parse(bytes.toString("utf8")) as Manifest };
};

const small = async (from: Repository, part: Descriptor): Promise<Buffer> =>
  present(await from.smallBlob(part, smallLimit), part.digest);

const disagreement = (
  stage: PlannedStage,
  image: Manifest,
  config: Buffer,
  ingredients: Buffer,
  assembly: Buffer,
): string | null => {
  const made = JSON.parse(ingredients.toString("utf8")) as Ingredients;
  if (keyOf(made) !== stage.key) return `its ingredients have the key ${keyOf(made)}`;
  const { os, architecture, rootfs } = JSON.parse(config.toString("utf8")) as {
    os?: string;
    architecture?: string;
    rootfs?: { diff_ids?: string[] };
  };
  if (`${os}/${architecture}` !== stage.ingredients.platform) return `its config says ${os}/${architecture}`;
  if (rootfs?.diff_ids?.length !== image.layers?.length) return "its config and its manifest count layers differently";
  try {
    const { format } = JSON.parse(gunzipSync(assembly).toString("utf8")) as { format?: number };
    return format === 1 ? null : `its index has the format ${format}`;
  } catch (error) {
    return `its index cannot be read: ${error instanceof Error ? error.message : String(error)}`;
  }
};

/** Downloads at the same time. */
const concurrency = 4;

/**
 * Brings blobs that are not in the layout from a repository; what is there already is left alone.
 * @returns bytes downloaded
 * @throws FactoryError REGISTRY_FAILED when one is gone, and what `saveBlob` throws
 */
export const fetchBlobs = async (from: Repository, layout: string, blobs: readonly Descriptor[]): Promise<number> => {
  const queue = blobs.filter((blob) => !hasBlob(layout, blob));
  let bytes = 0;
  const work = async () => {
    for (let blob = queue.pop(); blob !== undefined; blob = queue.pop()) {
      if (known(await from.saveBlob(blob, blobPath(layout, blob.digest))) === null) throw gone(from, blob);
      bytes += blob.size;
    }
  };
  await Promise.all(Array.from({ length: concurrency }, work));
  return bytes;
};

const gone = (from: Repository, { digest }: Descriptor): FactoryError =>
  new FactoryError("REGISTRY_FAILED", {
    what: `a part of a stage is gone from ${from.name}`,
    why: `${digest} was named by a stage ref and is not there any more`,
    fix: "build the stage again: ./task build NO_CACHE=1 REFRESH=1",
  });
