import { FactoryError } from "./pipeline/error.js";
import { hashOf } from "./pipeline/key.js";
import type { Descriptor } from "./pipeline/oci.js";
import type { Plan } from "./pipeline/plan.js";
import { tagImage } from "./push-image.js";
import type { Repository } from "./registry/client.js";
import { known } from "./registry/lookup.js";
import { isTag } from "./registry/reference.js";

/** The tag under which the image of these plans is found again: by what it is made from, so that "nothing changed" is one HEAD. */
export const keyTag = (plans: readonly Plan[]): string => {
  const keys = plans.map(({ stages }) => stages.at(-1)!.key);
  return `key-${keys.length === 1 ? keys[0] : hashOf([...keys].sort()).slice(0, 24)}`;
};

/** @throws FactoryError USAGE for what no registry takes as a tag, or what is ours */
export const checkTags = (tags: readonly string[]): void => {
  for (const tag of tags) {
    const ours = /^(?:cache|key)-/.test(tag);
    if (isTag(tag) && !ours) continue;
    throw new FactoryError("USAGE", {
      what: `${JSON.stringify(tag)} cannot be a tag`,
      why: ours
        ? "tags that begin with cache- and key- are image-factory's own"
        : "a tag has up to 128 of A-Z a-z 0-9 . _ -, no . or - first",
      fix: "for example: 1.4.0 or latest",
    });
  }
};

/** An image that the repository has under the key tag, with its bytes. @throws FactoryError where the registry gives no answer */
export const findPublished = async (home: Repository, tag: string): Promise<{ root: Descriptor; bytes: Uint8Array } | null> => {
  const head = known(await home.headManifest(tag));
  if (head === null) return null;
  const manifest = known(await home.manifest(head.digest));
  if (manifest === null) return null;
  const { mediaType, digest, size, bytes } = manifest;
  return { root: { mediaType, digest, size }, bytes };
};

/** Moves the tags that are not on the image yet; returns those that moved. */
export const moveTags = async (
  home: Repository,
  tags: readonly string[],
  root: Descriptor,
  bytes: Uint8Array,
): Promise<string[]> => {
  const moved: string[] = [];
  for (const tag of tags) {
    const head = await home.headManifest(tag);
    if (head.state === "found" && head.value.digest === root.digest) continue;
    await tagImage(home, tag, root.mediaType, bytes);
    moved.push(tag);
  }
  return moved;
};
