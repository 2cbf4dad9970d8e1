import { readFileSync } from "node:fs";
import { blobPath } from "../dagger/src/layout.js";
import { FactoryError } from "../dagger/src/pipeline/error.js";
import { type Descriptor, mediaTypes } from "../dagger/src/pipeline/oci.js";
import { stageTag } from "../dagger/src/pipeline/stage-ref.js";
import { pushImage, tagImage } from "../dagger/src/push-image.js";
import type { Repository } from "../dagger/src/registry/client.js";
import type { MadeImage } from "./make-image.js";
import type { Remote } from "./remote.js";
import type { State } from "./io/state.js";

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
