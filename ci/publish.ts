import { readFileSync } from "node:fs";
import { blobPath } from "../dagger/src/layout.js";
import { FactoryError } from "../dagger/src/pipeline/error.js";
import { hashOf } from "../dagger/src/pipeline/key.js";
import { type Descriptor, mediaTypes } from "../dagger/src/pipeline/oci.js";
import type { Plan } from "../dagger/src/pipeline/plan.js";
import { stageTag } from "../dagger/src/pipeline/stage-ref.js";
import { pushImage, tagImage } from "../dagger/src/push-image.js";
import type { Repository } from "../dagger/src/registry/client.js";
import { known } from "../dagger/src/registry/lookup.js";
import { isTag } from "../dagger/src/registry/reference.js";
import type { MadeImage } from "./make-image.js";
import type { Remote } from "./remote.js";
import type { State } from "./io/state.js";

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
      fix: 'for example: TAGS="1.4.0 latest"',
    });
  }
};

/** @throws FactoryError REGISTRY_DENIED before anything runs */
export const requirePushRight = async ({ scope, home }: Remote): Promise<void> => {
  if (scope === "fork") {
    throw new FactoryError("REGISTRY_DENIED", {
      what: `not allowed to publish to ${home.name}`,
      why: "this is a build of a fork, and forks write nothing",
      fix: "publish from a branch of the repository itself; ./task build works here",
    });
  }
  const right = await home.canPush();
  if (right.state !== "allowed") throw right.error;
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

/** Pushes an image by digest, its new stage refs after it. Returns the manifest's bytes. @throws FactoryError as pushImage */
export const pushMade = async (state: State, remote: Remote, made: MadeImage): Promise<Uint8Array> => {
  const { home, read, write } = remote;
  const refs = executedRefs(made);
  // What stands behind a ref that is there already need not be asked for blob by blob.
  const present = new Set<string>();
  const missing: StageRefToPush[] = [];
  for (const ref of refs) {
    const there = ref.elsewhere === home.name || (await isThere(home, ref));
    if (there) for (const { digest } of ref.layers) present.add(digest);
    else missing.push(ref);
  }
  await pushImage(home, state.layout, made.root, { present, sources: read.filter((from) => from.name !== home.name) });
  if (write !== null) for (const ref of missing) await pushRef(state, write, home, ref);
  return readFileSync(blobPath(state.layout, made.root.digest));
};

type StageRefToPush = { tag: string; ref: Descriptor; elsewhere: string | null; layers: readonly Descriptor[] };

const executedRefs = ({ platforms }: MadeImage): StageRefToPush[] =>
  platforms.flatMap(({ done }) => {
    let below: readonly Descriptor[] = [];
    return done.flatMap(({ decision: { stage }, record, layers }) => {
      below = [...below, ...layers];
      if (record?.ref == null) return [];
      const ref = { mediaType: mediaTypes.index, digest: record.ref, size: 0 };
      return [{ tag: stageTag(stage.stage, stage.key), ref, elsewhere: record.elsewhere, layers: below }];
    });
  });

const isThere = async (home: Repository, { tag, ref }: StageRefToPush): Promise<boolean> => {
  const head = await home.headManifest(tag);
  return head.state === "found" && head.value.digest === ref.digest;
};

const pushRef = async (state: State, to: Repository, home: Repository, { tag, ref, layers }: StageRefToPush): Promise<void> => {
  const bytes = readFileSync(blobPath(state.layout, ref.digest));
  const root = { ...ref, size: bytes.length };
  // In the image's own repository the image that was just pushed holds every layer.
  const present = to.name === home.name ? new Set(layers.map(({ digest }) => digest)) : new Set<string>();
  await pushImage(to, state.layout, root, { present, sources: [home] });
  await tagImage(to, tag, mediaTypes.index, bytes);
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
