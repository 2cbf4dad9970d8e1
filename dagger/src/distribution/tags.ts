import { allOf } from "./concurrency.js";
import type { BesideImage } from "./beside-image.js";
import { FactoryError } from "../pipeline/common/error.js";
import { hashOf } from "../pipeline/common/canonical.js";
import {
  type Commit,
  isMoving,
  type TagOrigin,
  originTagOf,
  tagOriginText,
  readMark,
  type Relation,
  staleMoveReason,
} from "../pipeline/oci/tag-origin.js";
import { mediaTypes } from "../pipeline/oci/manifest.js";
import { isImageIndex, jsonOf } from "../pipeline/oci/guards.js";
import type { Plan } from "../pipeline/plan/types.js";
import { emptyConfig } from "../pipeline/oci/stage-artifact.js";
import { bytesBody } from "../registry/http/body.js";
import type { PublishedImage } from "./published.js";
import type { Repository } from "../registry/client.js";
import { digestOf } from "../registry/reference/digest.js";
import { known } from "../registry/reference/lookup.js";
import { isTag } from "../registry/reference/reference.js";

/** The tag under which the image of these plans is found again: by what it is made from, so that "nothing changed" is one request. */
export const keyTag = (plans: readonly Plan[]): string => {
  const keys = plans.map(({ stages }) => stages.at(-1)!.key);
  return `key-${keys.length === 1 ? keys[0]! : hashOf([...keys].sort()).slice(0, 24)}`;
};

/** The platforms that an index names, as `os/architecture`; none for the manifest of one image, which names no platform. */
export const platformsIn = (bytes: Uint8Array): string[] => {
  const value = jsonOf(Buffer.from(bytes));
  if (!isImageIndex(value)) return [];
  return value.manifests.flatMap(({ platform }) =>
    // Attestations beside images have a platform that is none.
    platform === undefined || platform.os === "unknown" ? [] : [`${platform.os}/${platform.architecture}`],
  );
};

/**
 * Refuses to put an image under a tag that names more platforms: whoever pulls the tag on one of the others would find nothing.
 * @param platforms those of the image, as `os/architecture`; none where it is the manifest of one
 * @throws FactoryError TAG_NARROWED, and where the registry gives no answer
 */
export const refuseNarrower = async (
  home: Repository,
  tags: readonly string[],
  platforms: readonly string[],
  fix: string,
): Promise<void> => {
  for (const tag of tags) {
    const manifest = known(await home.manifest(tag));
    const named = manifest === null ? [] : platformsIn(manifest.bytes);
    const lost = named.filter((one) => !platforms.includes(one));
    if (lost.length === 0) continue;
    throw new FactoryError("TAG_NARROWED", {
      what: `${home.name}:${tag} would lose ${lost.join(", ")}`,
      why: `it names an image for ${named.join(", ")}, and this one is for ${platforms.join(", ") || "one platform"}`,
      fix,
    });
  }
};

/** @throws FactoryError USAGE for what no registry takes as a tag, or what is ours */
export const checkTags = (tags: readonly string[]): void => {
  for (const tag of tags) {
    const ours = /^(?:cache|key|mark)-/.test(tag);
    if (isTag(tag) && !ours) continue;
    throw new FactoryError("USAGE", {
      what: `${JSON.stringify(tag)} cannot be a tag`,
      why: ours
        ? "tags that begin with cache-, key- and mark- are image-factory's own"
        : "a tag has up to 128 of A-Z a-z 0-9 . _ -, no . or - first",
      fix: "for example: 1.4.0 or latest",
    });
  }
};

/** The commit that is published, and how others stand to it. */
export type History = { commit: Commit; relationOf(other: string): Promise<Relation> };

/** What a tag is now, and why it is not to move. */
export type TagState = { tag: string; digest: string | null; origin: TagOrigin | null; staleMoveReason: string | null };

/**
 * How tags stand, to be asked right before they move.
 * @param history null: nothing is compared, and no mark is read
 * @param image where it is not new, its digest: then a tag may be on it already, and that is asked too
 * @throws FactoryError where the registry gives no answer
 */
export const tagStatesOf = (
  home: Repository,
  tags: readonly string[],
  history: History | null,
  image: string | null,
  beside: BesideImage,
): Promise<TagState[]> =>
  Promise.all(
    tags.map(async (tag) => {
      const [digest, origin] = await Promise.all([
        image === null ? null : digestAt(home, tag),
        history === null || !isMoving(tag) ? null : markOf(home, tag, beside),
      ]);
      const relation = origin?.commit == null || history === null ? "unknown" : await history.relationOf(origin.commit);
      const why = origin === null || history === null ? null : staleMoveReason(origin, history.commit, relation);
      // A mark without its tag holds nobody back.
      const gone = why !== null && digest === null && (await digestAt(home, tag)) === null;
      return { tag, digest, origin, staleMoveReason: gone ? null : why };
    }),
  );

const digestAt = async (home: Repository, tag: string): Promise<string | null> =>
  known(await home.headManifest(tag))?.digest ?? null;

const markOf = async (home: Repository, tag: string, beside: BesideImage): Promise<TagOrigin | null> => {
  const found = await home.manifest(originTagOf(tag));
  if (found.state === "unknown" && found.error.code === "CHECKSUM_MISMATCH") return null;
  if (found.state === "unknown") await beside.unread(home, found.error);
  const manifest = found.state === "found" ? found.value : null;
  return manifest === null ? null : readMark(jsonOf(manifest.bytes), tag);
};

/** `there`: it was on the image already. `kept`: it stays where it is, and `why` says why. */
export type TagMove = { name: string; outcome: "moved" | "there" | "kept"; why: string | null };

/**
 * Moves tags to an image that the repository has whole, each after its mark.
 * @param anyway also those that would go back in history
 * @throws FactoryError TAG_IMMUTABLE, REGISTRY_DENIED, …; then the other tags are where they belong all the same
 */
export const moveTags = async (
  home: Repository,
  standings: readonly TagState[],
  { root, bytes }: PublishedImage,
  history: History | null,
  beside: BesideImage,
  anyway = false,
): Promise<TagMove[]> =>
  allOf(
    ...standings.map(async ({ tag, digest, origin: mark, staleMoveReason: whyNot }): Promise<TagMove> => {
      if (whyNot !== null && !anyway)
        return { name: tag, outcome: digest === root.digest ? "there" : "kept", why: digest === root.digest ? null : whyNot };
      if (history !== null && isMoving(tag) && (mark?.commit !== history.commit.id || mark.digest !== root.digest))
        await putMark(home, { tag, commit: history.commit.id, time: history.commit.time, digest: root.digest }).catch(
          beside.unkept,
        );
      if (digest === root.digest) return { name: tag, outcome: "there", why: null };
      await tagImage(home, tag, root.mediaType, bytes);
      return { name: tag, outcome: "moved", why: null };
    }),
  );

/** Puts a tag's mark in the place of the one before. @throws FactoryError of the registry */
export const putMark = async (home: Repository, mark: TagOrigin): Promise<void> => {
  const empty = Buffer.from(emptyConfig.text);
  const config = { mediaType: emptyConfig.type, digest: digestOf(empty), size: empty.length };
  const put = () => home.putManifest(originTagOf(mark.tag), mediaTypes.manifest, Buffer.from(tagOriginText(mark, config)));
  try {
    // Every stage artifact has the empty config too: mostly it is there.
    let answer = await put();
    if (answer.state === "parts-missing") {
      await home.pushBlob(config, bytesBody(empty));
      answer = await put();
    }
    if (answer.state === "parts-missing") throw answer.error;
  } catch (error) {
    // A repository in which tags never move needs no marks: the tag itself will say so.
    if (!(error instanceof FactoryError) || error.code !== "TAG_IMMUTABLE") throw error;
  }
};

/** Puts a tag on a manifest that the repository has. @throws FactoryError TAG_IMMUTABLE, REGISTRY_DENIED, … */
export const tagImage = async (to: Repository, tag: string, mediaType: string, bytes: Uint8Array): Promise<void> => {
  const answer = await to.putManifest(tag, mediaType, bytes);
  if (answer.state === "parts-missing") throw answer.error;
};
