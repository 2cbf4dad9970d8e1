import { extendsImage, missingBlobs, readManifest } from "../oci-layout/blobs.js";
import { openStageArtifact } from "../oci-layout/stage-store.js";
import type { Platform, StageName } from "../pipeline/common/stage.js";
import { isTrustedAt, type TrustLevel } from "../pipeline/common/trust-level.js";

/** The result that the key of a stage (or of a base) led to. */
export type StageRecord = {
  key: string;
  stage: StageName | "base";
  image: string;
  platform: Platform;
  /** Of the image manifest. */
  digest: string;
  /** Of the stage artifact of an executed stage; null for a base and for an assembled stage. */
  ref: string | null;
  /** Manifest of the stage that it was built on. Null for a base, for base-tools and for a stage that was fetched from a registry. */
  parent: string | null;
  /** The lowest trust level of the build that made or fetched it, of the repository that it came from, and of all it is built on. */
  trust: TrustLevel;
  /** A repository that holds the blobs which are not in the layout, `host/name`; null where all of them must be in the layout. */
  elsewhere: string | null;
  engine: string;
  at: number;
  seconds: number;
};

/** Where the blobs of a recorded stage are. */
export type StageBlobs = Pick<StageRecord, "digest" | "ref" | "elsewhere">;

/** The records of a store, over the layout that holds their blobs. */
export type Records = {
  /** Folder of the OCI layout. */
  layout: string;
  /** What the build counts as: records of a lower level are not used. */
  trust: TrustLevel;
  /** Whether anything is recorded under a key, readable or not. */
  has(key: string): boolean;
  /** The record of a key, whether its blobs are there or not; null where there is none or it cannot be read. */
  read(key: string): StageRecord | null;
};

/** A record that this build may use: trusted, and whole. Any other counts as absent: its stage is built again. */
export function usableRecord(
  { layout, trust }: Pick<Records, "layout" | "trust">,
  record: StageRecord | null,
): StageRecord | null {
  return record === null || !isTrustedAt(record.trust, trust) ? null : wholeRecord(layout, record);
}

export function findStage(store: Pick<Records, "layout" | "trust" | "read">, key: string): StageRecord | null {
  return usableRecord(store, store.read(key));
}

/** A record whose blobs are in the layout or in its repository, and whose stage artifact can be opened; null for any other. */
export function wholeRecord(layout: string, record: StageRecord): StageRecord | null {
  if (record.ref !== null && openStageArtifact(layout, record.ref, record.key) === null) return null;
  const missing = missingBlobs(layout, record.ref ?? record.digest);
  if (missing === null) return null;
  if (missing.length === 0) return record;
  if (record.elsewhere === null) return null;
  if (record.ref !== null) return record;
  // The layer of an assembled stage was pushed nowhere yet: only layers of the stages below may be in a registry alone.
  const below = new Set(record.parent === null ? [] : layersOf(layout, record.parent));
  return missing.every(({ digest }) => below.has(digest)) ? record : null;
}

function layersOf(layout: string, digest: string): string[] {
  try {
    return readManifest(layout, digest).layers.map((layer) => layer.digest);
  } catch {
    return [];
  }
}

/**
 * Whether a recorded stage was built on this result of the stage below. A stage that was built here names its parent. A stage that was
 * fetched holds all layers below it: they must be the layers of that result.
 */
export function isBuiltOn({ layout }: Pick<Records, "layout">, record: StageRecord, parent: { digest: string }): boolean {
  return record.parent === null ? extendsImage(layout, record.digest, parent.digest) : record.parent === parent.digest;
}

/** Why a recorded stage is not usable; null where nothing is recorded or where it is usable. */
export function faultOf(store: Records, key: string): string | null {
  if (!store.has(key)) return null;
  const record = store.read(key);
  if (record === null) return "its record cannot be read";
  if (!isTrustedAt(record.trust, store.trust))
    return `it comes from a build of a ${record.trust}, and this build is ${store.trust}`;
  return wholeRecord(store.layout, record) === null ? "a part of it is missing or damaged" : null;
}
