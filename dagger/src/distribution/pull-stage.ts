import { eachAtOnce } from "./concurrency.js";
import { gunzip } from "../oci-layout/gunzip.js";
import { blobPath, hasBlob, writeBlob } from "../oci-layout/blobs.js";
import { MissingBlob } from "../oci-layout/missing-blob.js";
import { FactoryError } from "../pipeline/common/error.js";
import { type Ingredients, keyOf } from "../pipeline/plan/key.js";
import type { Descriptor, Manifest } from "../pipeline/oci/manifest.js";
import { isParentIndex, isImageConfig, isImageIndex, isManifest, jsonOf } from "../pipeline/oci/guards.js";
import type { PlannedStage } from "../pipeline/plan/types.js";
import { isArtifactOf, partsOf, readStageArtifact, type StageArtifact, stageTag } from "../pipeline/oci/stage-artifact.js";
import type { Repository } from "../registry/client.js";
import { known, type Lookup } from "../registry/reference/lookup.js";

/** A stage artifact of a repository, as far as assembling on it needs: its layers and the full index are still there only. */
export type PulledStage = { ref: Descriptor; image: Descriptor };

/** `damaged`: something is there under the key's tag, and it is damaged. It is made again and repaired, never trusted. */
export type PullAnswer<T> =
  | { state: "found"; value: T }
  | { state: "absent" }
  | { state: "damaged"; what: string }
  /** Nobody knows. `why` is one line for a warning; `error` is for those who cannot go on. */
  | { state: "unknown"; why: string; error: FactoryError };
export type Pulled = PullAnswer<PulledStage>;

/** What stands under the tag of a stage's key; nothing that it names was looked at. */
export type TaggedRef = StageArtifact & { ref: Descriptor; bytes: Buffer };

/** Bytes; the small parts of a stage are tens of kilobytes, and what is much larger is something else. */
const smallLimit = 16 << 20;

/** Asks for the tag of a stage's key: one request. */
export const taggedRef = async (from: Repository, stage: PlannedStage): Promise<PullAnswer<TaggedRef>> => {
  const tag = stageTag(stage.stage, stage.key);
  return answered(tag, async () => {
    const index = known(await from.manifest(tag));
    if (index === null) return { state: "absent" };
    const { digest, size, mediaType, bytes } = index;
    const value = jsonOf(bytes);
    const parts = isImageIndex(value) ? readStageArtifact(value, stage.key) : null;
    if (parts === null) return damaged("it is no cached stage of this key");
    return { state: "found", value: { ...parts, ref: { mediaType, digest, size }, bytes } };
  });
};

/**
 * Brings what assembling on a stage needs into the layout: two manifests, config, ingredients and the small index. What can be held
 * against the key is: the ref's own annotation, the hash of the ingredients, the platform, and that layers and config agree.
 * No layer is downloaded.
 */
export const bringStage = (from: Repository, layout: string, stage: PlannedStage, tagged: TaggedRef): Promise<Pulled> =>
  answered(stageTag(stage.stage, stage.key), async () => {
    const [image, artifact] = await Promise.all([manifestOf(from, tagged.image), manifestOf(from, tagged.artifact)]);
    const parts = partsOf(artifact.value);
    if (parts === null) return damaged("it lacks a part");
    if (!isArtifactOf(artifact.value, tagged.image.digest)) return damaged("what it says is of another image");
    const [config, ingredients, assembly] = await Promise.all([
      small(from, image.value.config),
      small(from, parts.ingredients),
      small(from, parts.assembly),
    ]);
    const wrong = disagreement(stage, image.value, config, ingredients, assembly);
    if (wrong !== null) return damaged(wrong);
    // The ref last: what is found by it is whole.
    for (const bytes of [config, ingredients, assembly, image.bytes, artifact.bytes, tagged.bytes])
      await writeBlob(layout, [bytes]);
    return { state: "found", value: { ref: tagged.ref, image: tagged.image } };
  });

/** Looks a stage artifact up, and brings what assembling on it needs. */
export const pullStage = async (from: Repository, layout: string, stage: PlannedStage): Promise<Pulled> => {
  const tagged = await taggedRef(from, stage);
  return tagged.state === "found" ? bringStage(from, layout, stage, tagged.value) : tagged;
};

const damaged = (what: string): PullAnswer<never> => ({ state: "damaged", what });

/** What a registry answers instead of content is an answer too; what this machine cannot do is an error. */
export const answered = async <T>(tag: string, work: () => Promise<PullAnswer<T>>): Promise<PullAnswer<T>> => {
  try {
    const answer = await work();
    return answer.state === "damaged" ? damaged(`${tag}: ${answer.what}`) : answer;
  } catch (error) {
    if (error instanceof Broken) return damaged(`${tag}: ${error.message}`);
    if (!(error instanceof FactoryError)) throw error;
    if (error.code === "CHECKSUM_MISMATCH") return damaged(`${tag}: ${error.explanation.why}`);
    if (!unanswered.has(error.code)) throw error;
    return { state: "unknown", why: `${error.explanation.what}: ${error.explanation.why.split("\n")[0]}`, error };
  }
};

/** As the client's own look-ups have it (registry/lookup.ts); a part that is too large is a REGISTRY_FAILED of ours. */
const unanswered: ReadonlySet<string> = new Set([
  "REGISTRY_UNREACHABLE",
  "REGISTRY_DENIED",
  "REGISTRY_FAILED",
  "CREDENTIALS_INVALID",
]);

/** A part of a ref that its registry does not have, or that is not what it should be. */
class Broken extends Error {}

const present = <T>(lookup: Lookup<T>, digest: string): T => {
  const value = known(lookup);
  if (value === null) throw new Broken(`${digest.slice(0, 19)} is not in the registry`);
  return value;
};

/** @throws Broken for what the registry does not have, or is none; `answered` tells it */
export const manifestOf = async (
  from: Repository,
  { digest }: Pick<Descriptor, "digest">,
): Promise<{ bytes: Buffer; value: Manifest }> => {
  const { bytes } = present(await from.manifest(digest), digest);
  const value = jsonOf(bytes);
  if (!isManifest(value)) throw new Broken(`${digest.slice(0, 19)} is no image manifest`);
  return { bytes, value };
};

/** @throws Broken as manifestOf */
export const small = async (from: Repository, part: Descriptor): Promise<Buffer> => {
  if (part.size > smallLimit)
    throw new Broken(`${part.digest.slice(0, 19)} has ${part.size} bytes, far more than such a part has`);
  return present(await from.smallBlob(part, smallLimit), part.digest);
};

const disagreement = (
  stage: PlannedStage,
  image: Manifest,
  configBytes: Buffer,
  ingredients: Buffer,
  assembly: Buffer,
): string | null => {
  const made = keyIn(ingredients);
  if (made !== stage.key) return made === null ? "its ingredients cannot be read" : `its ingredients have the key ${made}`;
  const config = jsonOf(configBytes);
  if (!isImageConfig(config)) return "its config is none of an image";
  if (`${config.os}/${config.architecture}` !== stage.ingredients.platform)
    return `its config says ${config.os}/${config.architecture}`;
  if (config.rootfs.diff_ids.length !== image.layers.length) return "its config and its manifest count layers differently";
  try {
    return isParentIndex(jsonOf(gunzip(assembly))) ? null : "its index is none of this format";
  } catch (error) {
    return `its index cannot be read: ${error instanceof Error ? error.message : String(error)}`;
  }
};

const keyIn = (ingredients: Buffer): string | null => {
  try {
    return keyOf(jsonOf(ingredients) as Ingredients);
  } catch {
    return null;
  }
};

/** Downloads at the same time. */
const concurrency = 4;

/**
 * Brings blobs that are not in the layout; what is there already is left alone.
 * @param from who may have them, in order
 * @returns bytes downloaded
 * @throws MissingBlob when nobody has one, and what `saveBlob` throws
 */
export const fetchBlobs = async (from: readonly Repository[], layout: string, blobs: readonly Descriptor[]): Promise<number> => {
  let bytes = 0;
  const wanted = blobs.filter((blob) => !hasBlob(layout, blob));
  await eachAtOnce(wanted, concurrency, async (blob) => {
    for (const one of from) {
      const saved = await one.saveBlob(blob, blobPath(layout, blob.digest));
      // Content that is not what its digest says is as good as none.
      if (saved.state === "absent" || (saved.state === "unknown" && saved.error.code === "CHECKSUM_MISMATCH")) continue;
      known(saved);
      bytes += blob.size;
      return;
    }
    throw new MissingBlob(blob.digest, `not in ${from.map(({ name }) => name).join(", ")}`);
  });
  return bytes;
};
