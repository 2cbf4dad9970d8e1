import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import { canonical } from "../../dagger/src/pipeline/common/canonical.js";
import { seenTag, seenType } from "../../dagger/src/pipeline/prune/manifest-node.js";
import { type Descriptor, type Manifest, mediaTypes } from "../../dagger/src/pipeline/oci/manifest.js";
import { emptyConfig } from "../../dagger/src/pipeline/oci/stage-artifact.js";
import { tagImage } from "../../dagger/src/distribution/tags.js";
import { bytesBody } from "../../dagger/src/registry/http/body.js";
import type { Repository } from "../../dagger/src/registry/client.js";
import { digestOf } from "../../dagger/src/registry/reference/digest.js";
import { known } from "../../dagger/src/registry/reference/lookup.js";

/**
 * What prune remembers of a repository: when it first saw each manifest of ours, in milliseconds since the Unix epoch.
 *
 * A ref cannot carry its age: its digest must not depend on time, and the distribution API tells none. So the first `prune --yes` that sees
 * a manifest writes the time down, in a small artifact under the tag `cache-seen`, and the grace time counts from there: too long, never too
 * short. On ghcr.io the Packages API tells when a version was made, and that counts. It also holds what a prune that was broken off left behind:
 * members of an index that is gone, which no tag leads to any more.
 */
export type Seen = ReadonlyMap<string, number>;

/** Bytes; an entry has about a hundred. */
const largest = 32 << 20;

/** @returns nothing where there is none or it cannot be read: then ages begin anew. @throws FactoryError where the registry gives no answer */
export const readSeen = async (repository: Repository): Promise<{ seen: Seen; digest: string | null }> => {
  const manifest = known(await repository.manifest(seenTag));
  if (manifest === null) return { seen: new Map(), digest: null };
  const { digest } = manifest;
  try {
    const layer = (JSON.parse(manifest.bytes.toString("utf8")) as Manifest).layers.find(
      ({ mediaType }) => mediaType === seenType,
    );
    const blob = layer === undefined ? null : known(await repository.smallBlob(layer, largest));
    const { seen } = JSON.parse(blob?.toString("utf8") ?? "{}") as { seen?: Record<string, unknown> };
    const entries = Object.entries(seen ?? {}).filter((entry): entry is [string, number] => typeof entry[1] === "number");
    return { seen: new Map(entries), digest };
  } catch (error) {
    if (error instanceof FactoryError && error.code !== "CHECKSUM_MISMATCH") throw error;
    return { seen: new Map(), digest };
  }
};

/**
 * Writes it down; nothing is moved where it is there already.
 * @param was the digest of what stands under the tag
 * @returns the digest of what stands there now; null where there is nothing to remember, and nothing was
 * @throws FactoryError TAG_IMMUTABLE, REGISTRY_DENIED, REGISTRY_UNREACHABLE, REGISTRY_FAILED
 */
export const writeSeen = async (repository: Repository, seen: Seen, was: string | null): Promise<string | null> => {
  const config = blobOf(emptyConfig.type, emptyConfig.text);
  const layer = blobOf(seenType, canonical({ format: 1, seen: Object.fromEntries(seen) }));
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    artifactType: seenType,
    config: config.descriptor,
    layers: [layer.descriptor],
  };
  const bytes = Buffer.from(canonical(manifest));
  const digest = digestOf(bytes);
  if (digest === was || (was === null && seen.size === 0)) return was;
  for (const blob of [config, layer]) await repository.pushBlob(blob.descriptor, bytesBody(blob.bytes));
  await tagImage(repository, seenTag, mediaTypes.manifest, bytes);
  return digest;
};

const blobOf = (mediaType: string, text: string): { bytes: Buffer; descriptor: Descriptor } => {
  const bytes = Buffer.from(text);
  return { bytes, descriptor: { mediaType, digest: digestOf(bytes), size: bytes.length } };
};
