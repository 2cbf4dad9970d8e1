import { closure } from "../oci-layout/blobs.js";
import { MissingBlob } from "../oci-layout/missing-blob.js";
import { mediaTypes } from "../pipeline/oci/manifest.js";
import type { Plan } from "../pipeline/plan/types.js";
import { ChainBroken } from "./chain-broken.js";
import type { UntrustedDigests } from "./knowledge.js";
import type { Store } from "./ports.js";

/**
 * Does work that uses recorded stages, and does it again without those of which a blob is missing everywhere: a registry that lost a layer
 * behind a valid manifest, a state folder that lost a file. Such a stage is built again. Its record stays until there is a result to
 * replace it. Where the records changed since they were read, the work is done again, once.
 * @throws whatever the work throws; MissingBlob where no recorded stage has the blob and it was missing before
 */
export async function rebuildDamaged<T>(
  store: Pick<Store, "layout" | "read">,
  plans: readonly Plan[],
  warn: (text: string) => void,
  work: (untrusted: UntrustedDigests) => Promise<T>,
): Promise<T> {
  const untrusted = new Set<string>();
  /** Digests of missing blobs, and "" where the chain was broken. */
  const missed = new Set<string>();
  for (;;) {
    try {
      return await work(untrusted);
    } catch (error) {
      if (!(error instanceof MissingBlob || error instanceof ChainBroken)) throw error;
      const blob = error instanceof MissingBlob ? error.digest : "";
      const blamed = stagesWith(store, plans, blob).filter((digest) => !untrusted.has(digest));
      // A damaged blob was removed when it was found: the second time it is whole, or is written anew.
      if (blamed.length === 0 && missed.has(blob)) throw error;
      missed.add(blob);
      for (const digest of blamed) untrusted.add(digest);
      warn(`${error.explanation.what} (${error.explanation.why}); going on without the stages that hold it`);
    }
  }
}

/** The recorded stages of these plans that reach a blob, each by the digest of its artifact or manifest. */
function stagesWith(store: Pick<Store, "layout" | "read">, plans: readonly Plan[], blob: string): string[] {
  return plans
    .flatMap(({ stages }) => stages)
    .flatMap(({ key }) => {
      const record = store.read(key);
      if (record === null) return [];
      const digest = record.ref ?? record.digest;
      return reaches(store.layout, digest, blob) ? [digest] : [];
    });
}

function reaches(layout: string, root: string, blob: string): boolean {
  if (root === blob) return true;
  try {
    return closure(layout, { mediaType: mediaTypes.manifest, digest: root, size: 0 }).some(({ digest }) => digest === blob);
  } catch {
    // Its manifest is damaged: that is found when it is opened.
    return false;
  }
}
