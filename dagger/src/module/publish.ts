import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Client, Secret } from "@dagger.io/dagger";
import { buildImage, note, storeOf } from "./build.js";
import { type RequestArguments, type BuildArguments, openRequest } from "./request.js";
import { besideImage } from "../distribution/beside-image.js";
import { blobPath } from "../oci-layout/blobs.js";
import { publishedBefore } from "../distribution/published.js";
import { pushImage } from "../distribution/push-image.js";
import { inRepository } from "../build/registry-stage-cache.js";
import { type Address, type CacheMode, openHome, repositoryCache } from "./image-repository.js";
import { checkTags, keyTag, moveTags, refuseNarrower, tagStatesOf, tagImage } from "../distribution/tags.js";

export type Target = Omit<Address, "name" | "caFile"> & {
  registry: string | undefined;
  repository: string | undefined;
  tags: readonly string[];
  cache: CacheMode;
};

/**
 * Publishes an image. Where it is published already, under the tag of its keys, only tags move; else the right to push is checked before
 * anything runs, blobs go first and tags last, so that no tag names an incomplete image.
 * @returns `registry/repository@digest`
 * @throws FactoryError of the registry, and whatever making the image throws
 */
export const publishCall = async (client: Client, args: RequestArguments & BuildArguments, target: Target): Promise<string> => {
  checkTags(target.tags);
  // A tag is pulled on any platform: without --platform all platforms of images.yaml are published.
  const call = await openRequest(client, { ...args, platform: args.platform ?? "all" });
  const { spec } = call.source;
  const repository = target.repository ?? spec.images[call.open.name]!.repository;
  const caFile = await fileOf(args.ca, join(call.scratch, "ca.pem"));
  const address = { ...target, name: `${target.registry ?? spec.registry}/${repository}`, caFile };
  const home = await openHome(address);
  const platforms = call.plans.map(({ platform }) => platform);
  if (platforms.length < call.open.image.platforms.length)
    await refuseNarrower(home, target.tags, platforms, "leave --platform away: all platforms of images.yaml are published");
  const key = keyTag(call.plans);
  const beside = besideImage(note);
  const store = storeOf(call);
  const cache = repositoryCache(store, home, beside, target.cache);
  const witnesses = { isMade: async () => false, refsOf: cache.tagsOf };
  const there =
    args.noCache || target.cache === "off" ? null : await publishedBefore(home, key, call.plans, witnesses, { beside, note });
  if (there !== null) {
    await moveTags(home, await tagStatesOf(home, target.tags, null, there.root.digest, beside), there, null, beside);
    return `${home.name}@${there.root.digest}`;
  }
  const right = await home.canPush();
  if (right.state !== "allowed") throw right.error;
  const ports = { store, cache: target.cache === "off" ? null : cache };
  const { layout, root } = await buildImage(call, args, ports, async (image) => {
    await pushImage(home, image.layout, image.root, inRepository(image.layout, image.root));
    return image;
  });
  const image = { root, bytes: readFileSync(blobPath(layout, root.digest)) };
  // A function sees no commit: nothing is compared, and tags move to what is published.
  await moveTags(home, await tagStatesOf(home, target.tags, null, null, beside), image, null, beside);
  await tagImage(home, key, root.mediaType, image.bytes).catch(beside.unkept);
  return `${home.name}@${root.digest}`;
};

/** The registry's client reads certificates from a file. */
const fileOf = async (given: Secret | undefined, path: string): Promise<string | null> => {
  const ca = given ?? null;
  if (ca === null) return null;
  writeFileSync(path, await ca.plaintext());
  return path;
};
