import { closure, dropDamaged, hasBlob, missingBlobs } from "../oci-layout/blobs.js";
import { MissingBlob, rebuild } from "../oci-layout/missing-blob.js";
import { FactoryError } from "../pipeline/common/error.js";
import type { Descriptor } from "../pipeline/oci/manifest.js";
import type { StageCache, Store } from "./ports.js";
import type { StageBlobs } from "./stage-record.js";

/**
 * Makes sure that all bytes of a stage are in the layout: executing on it, writing it out and reading its files need them. Each blob is
 * hashed, and a damaged one is removed and fetched again.
 * @param only these of its blobs; all of them when absent
 * @throws MissingBlob for a blob that no registry has; FactoryError INPUT_MISSING where it is in a registry that may not be asked
 */
export async function ensureLocal(
  { layout }: Pick<Store, "layout">,
  cache: StageCache | null,
  record: StageBlobs,
  only?: readonly Descriptor[],
): Promise<void> {
  const root = record.ref ?? record.digest;
  await dropDamaged(layout, only ?? blobsOf(layout, root));
  const missing = only?.filter((blob) => !hasBlob(layout, blob)) ?? missingBlobs(layout, root);
  if (missing?.length === 0) return;
  if (missing === null)
    throw new MissingBlob(record.digest, "it cannot be read from the state folder", { code: "CHECKSUM_MISMATCH" });
  // What was built here is in no registry, as far as is known.
  if (record.elsewhere === null)
    throw new MissingBlob(missing[0]!.digest, "it is not in the state folder, or was damaged there", {
      code: "CHECKSUM_MISMATCH",
    });
  if (cache === null) throw notLocal(record.digest);
  await cache.fetch(record, missing);
}

function blobsOf(layout: string, digest: string): readonly Descriptor[] {
  try {
    return closure(layout, { mediaType: "", digest, size: 0 });
  } catch (error) {
    // Its manifests are missing or damaged: missingBlobs finds that.
    if (error instanceof MissingBlob) return [];
    throw error;
  }
}

function notLocal(digest: string): FactoryError {
  return new FactoryError("INPUT_MISSING", {
    what: `blobs of ${digest.slice(0, 19)} are not here`,
    why: "they are in the registry, and it is not to be asked",
    fix: ["leave REMOTE=off away, or build it here: ", rebuild],
  });
}
