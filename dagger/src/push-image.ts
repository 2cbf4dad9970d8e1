import { readFileSync } from "node:fs";
import { blobPath, hasBlob, readBlob } from "./layout.js";
import { FactoryError } from "./pipeline/error.js";
import { type Descriptor, type ImageIndex, type Manifest, mediaTypes } from "./pipeline/oci.js";
import { fileBody } from "./registry/body.js";
import type { Repository } from "./registry/client.js";

/** Where blobs may be that are not in the layout. */
export type Elsewhere = {
  /** Digests that the target repository is known to hold: nothing is asked about them. */
  present: ReadonlySet<string>;
  /** Repositories that have the others; of the same registry they are mounted from, else read from. */
  sources: readonly Repository[];
};

export type PushedImage = { digest: string; uploaded: number; mounted: number; present: number };

/** Uploads at the same time. */
const concurrency = 4;

/**
 * Pushes an image or index, and all it reaches, by digest: blobs first, then manifests from below, the root last. Nothing
 * that a tag names is touched. What is half there after a failure is picked up by the next push.
 * @throws FactoryError REGISTRY_DENIED, REGISTRY_UNREACHABLE, REGISTRY_FAILED, INTERRUPTED
 */
export const pushImage = async (to: Repository, layout: string, root: Descriptor, elsewhere: Elsewhere): Promise<PushedImage> => {
  const manifests: Descriptor[] = [];
  const blobs = new Map<string, Descriptor>();
  collect(layout, root, manifests, blobs);
  const count = { uploaded: 0, mounted: 0, present: 0 };
  const push = async (blob: Descriptor, absent: boolean) => {
    const { how } = await to.pushBlob(blob, bodyOf(layout, blob, elsewhere), {
      mountFrom: elsewhere.sources.filter((source) => source.registry === to.registry).map(({ repository }) => repository),
      ...(absent ? { absent } : {}),
    });
    count[how] += 1;
  };
  const queue = [...blobs.values()].filter(({ digest }) => !elsewhere.present.has(digest));
  count.present += blobs.size - queue.length;
  // Large ones first, so that the last upload is a short one.
  queue.sort((a, b) => a.size - b.size);
  const work = async () => {
    for (let blob = queue.pop(); blob !== undefined; blob = queue.pop()) await push(blob, false);
  };
  await Promise.all(Array.from({ length: concurrency }, work));
  for (const manifest of manifests) {
    const bytes = readFileSync(blobPath(layout, manifest.digest));
    const put = () => to.putManifest(manifest.digest, manifest.mediaType, bytes);
    let answer = await put();
    if (answer.state === "parts-missing") {
      // What was taken for present is not (a registry's clean-up came between): now it is pushed without asking.
      for (const digest of answer.digests) {
        const blob = blobs.get(digest);
        if (blob !== undefined) await push(blob, true);
      }
      answer = await put();
    }
    if (answer.state === "parts-missing") throw answer.error;
  }
  return { digest: root.digest, ...count };
};

const collect = (layout: string, root: Descriptor, manifests: Descriptor[], blobs: Map<string, Descriptor>): void => {
  if (manifests.some(({ digest }) => digest === root.digest)) return;
  const value = readBlob<Partial<Manifest & ImageIndex>>(layout, root.digest);
  for (const below of value.manifests ?? []) collect(layout, below, manifests, blobs);
  for (const blob of [...(value.layers ?? []), ...(value.config === undefined ? [] : [value.config])])
    blobs.set(blob.digest, blob);
  manifests.push({
    ...root,
    mediaType: value.mediaType ?? (value.manifests === undefined ? mediaTypes.manifest : mediaTypes.index),
  });
};

const bodyOf = (layout: string, blob: Descriptor, { sources }: Elsewhere) => {
  if (hasBlob(layout, blob)) return fileBody(blobPath(layout, blob.digest), blob.size);
  const source = sources[0];
  if (source !== undefined) return source.blobBody(blob);
  throw new FactoryError("INPUT_MISSING", {
    what: `a layer is not here: ${blob.digest}`,
    why: "it is neither in the state folder nor known to be in a registry",
    fix: "build the image again: ./task build NO_CACHE=1 REFRESH=1",
  });
};

/** Puts a tag on a manifest that the repository has. @throws FactoryError TAG_IMMUTABLE, REGISTRY_DENIED, … */
export const tagImage = async (to: Repository, tag: string, mediaType: string, bytes: Uint8Array): Promise<void> => {
  const answer = await to.putManifest(tag, mediaType, bytes);
  if (answer.state === "parts-missing") throw answer.error;
};
