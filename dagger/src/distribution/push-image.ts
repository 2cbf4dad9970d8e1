/**
 * # dagger/src/distribution
 *
 * Images and cached stages between a layout and a registry. Blobs go first and tags last, so that whatever has a name is whole.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { rm } from "node:fs/promises";
import { eachAtOnce } from "./concurrency.js";
import { blobBytes, blobPath, hasBlob, readBlob } from "../oci-layout/blobs.js";
import { MissingBlob } from "../oci-layout/missing-blob.js";
import { FactoryError } from "../pipeline/common/error.js";
import { type Descriptor, type ImageIndex, type Manifest, mediaTypes } from "../pipeline/oci/manifest.js";
import { type Body, fileBody } from "../registry/http/body.js";
import type { Repository } from "../registry/client.js";

/** Where blobs may be that are not in the layout. */
export type Elsewhere = {
  /** Digests that the target repository is known to hold: nothing is asked about them. */
  present: ReadonlySet<string>;
  /** Repositories that have the others, the nearest first; of the same registry they are mounted from, else read from. */
  sources: readonly Repository[];
};

export type PushedImage = { digest: string; uploaded: number; mounted: number; present: number };

/** A push in its two steps, so that a caller can do other things while the last manifest is on its way. */
export type Push = {
  /** Makes everything exist that the root reaches: blobs, then manifests from below. */
  below(): Promise<void>;
  /** Puts the root itself. @param reference its digest, or a tag that is to name it */
  root(reference: string): Promise<PushedImage>;
};

/** Uploads at the same time. */
const concurrency = 4;
/** How often a manifest is put whose parts the registry does not find. */
const putTries = 3;

/**
 * A push of an image or index, and all it reaches, into a repository. Nothing that a tag names is touched before `root`.
 * What is half there after a failure is picked up by the next push. Both steps
 * @throws MissingBlob for a blob that is nowhere, and FactoryError TAG_IMMUTABLE, REGISTRY_DENIED, REGISTRY_UNREACHABLE, REGISTRY_FAILED, INTERRUPTED
 */
export const openPush = (to: Repository, layout: string, root: Descriptor, elsewhere: Elsewhere): Push => {
  const manifests: Descriptor[] = [];
  const blobs = new Map<string, Descriptor>();
  collect(layout, root, manifests, blobs);
  const count = { uploaded: 0, mounted: 0, present: 0 };
  const mountFrom = elsewhere.sources.filter(({ registry }) => registry === to.registry).map(({ repository }) => repository);
  const push = async (blob: Descriptor, absent: boolean) => {
    const body = bodyOf(layout, blob, elsewhere.sources);
    const options = { mountFrom, ...(absent ? { absent } : {}) };
    const { how } = await to.pushBlob(blob, body, options).catch((error: unknown) => explained(error, layout, blob));
    count[how] += 1;
  };
  const put = async ({ digest, mediaType }: Descriptor, reference: string): Promise<void> => {
    const bytes = blobBytes(layout, digest);
    for (let tries = 1; ; tries += 1) {
      const answer = await to.putManifest(reference, mediaType, bytes);
      if (answer.state === "put") return;
      // What was taken for present is not: a registry's clean-up came between, or somebody else puts the same manifest at this moment, for
      // which distribution's file system driver empties its link first. Now it is pushed without asking.
      const missingBlobs = answer.digests.flatMap((one) => blobs.get(one) ?? []);
      const missingManifests = manifests.filter((one) => one.digest !== digest && answer.digests.includes(one.digest));
      if (tries === putTries || missingBlobs.length + missingManifests.length === 0) throw answer.error;
      await eachAtOnce(missingBlobs, concurrency, (blob) => push(blob, true));
      await eachAtOnce(missingManifests, concurrency, (manifest) => put(manifest, manifest.digest));
    }
  };
  return {
    async below() {
      const queue = [...blobs.values()].filter(({ digest }) => !elsewhere.present.has(digest));
      count.present += blobs.size - queue.length;
      // Large ones first, so that the last upload is a short one.
      queue.sort((a, b) => b.size - a.size);
      await eachAtOnce(queue, concurrency, (blob) => push(blob, false));
      // They stand side by side: an index of ours names image manifests and artifacts, and those name blobs only.
      await eachAtOnce(manifests.slice(0, -1), concurrency, (manifest) => put(manifest, manifest.digest));
    },
    async root(reference) {
      await put(manifests.at(-1)!, reference);
      return { digest: root.digest, ...count };
    },
  };
};

/**
 * Pushes an image or index, and all it reaches, by digest or under a tag.
 * @throws as openPush
 */
export const pushImage = async (
  to: Repository,
  layout: string,
  root: Descriptor,
  elsewhere: Elsewhere,
  reference: string = root.digest,
): Promise<PushedImage> => {
  const push = openPush(to, layout, root, elsewhere);
  await push.below();
  return push.root(reference);
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

/** What is sent when a blob must be uploaded; only then is it looked for. */
const bodyOf = (layout: string, blob: Descriptor, sources: readonly Repository[]): Body =>
  hasBlob(layout, blob)
    ? fileBody(blobPath(layout, blob.digest), blob.size)
    : {
        size: blob.size,
        async *read(start, end) {
          for (const source of sources) {
            if ((await source.headBlob(blob.digest)).state !== "found") continue;
            yield* source.blobBody(blob).read(start, end);
            return;
          }
          throw new MissingBlob(blob.digest, `not in ${["the state folder", ...sources.map(({ name }) => name)].join(", ")}`);
        },
      };

/** A registry that refuses content may be right: then it is the layout's copy that is damaged, and as good as absent. */
const explained = async (error: unknown, layout: string, blob: Descriptor): Promise<never> => {
  if (!(error instanceof FactoryError) || error.code !== "REGISTRY_FAILED" || !hasBlob(layout, blob)) throw error;
  const path = blobPath(layout, blob.digest);
  const hash = createHash("sha256");
  for await (const piece of createReadStream(path)) hash.update(piece as Buffer);
  if (`sha256:${hash.digest("hex")}` === blob.digest) throw error;
  await rm(path, { force: true });
  throw new MissingBlob(blob.digest, "what stood for it in the state folder was something else", { cause: error });
};
