import { closure } from "../../dagger/src/oci-layout/blobs.js";
import { MissingBlob } from "../../dagger/src/oci-layout/missing-blob.js";
import { ChainBroken } from "./chain-broken.js";
import { mediaTypes } from "../../dagger/src/pipeline/oci/manifest.js";
import type { Plan } from "../../dagger/src/pipeline/plan/types.js";
import { readRecord } from "../state/records.js";
import type { State } from "../state/state.js";
import type { UntrustedDigests } from "./knowledge.js";

/**
 * Does work that stands on kept stages, and does it again without those of which a part turns out to be nowhere: a registry that lost a
 * layer behind a valid manifest, a state folder that lost a file. Such a stage is made again, never trusted, never fatal. What is kept
 * stays as it is until there is something to put in its place. Where what is kept changed since it was looked at, it is looked at again, once.
 * @throws whatever the work throws; MissingBlob where no kept stage is to blame and the same part was missed before
 */
export const rebuildDamaged = async <T>(
  state: State,
  plans: readonly Plan[],
  warn: (text: string) => void,
  work: (untrusted: UntrustedDigests) => Promise<T>,
): Promise<T> => {
  const untrusted = new Set<string>();
  /** Parts that were missed, and whether the chain was found broken. */
  const missed = new Set<string>();
  for (;;) {
    try {
      return await work(untrusted);
    } catch (error) {
      if (!(error instanceof MissingBlob || error instanceof ChainBroken)) throw error;
      const part = error instanceof MissingBlob ? error.digest : "";
      const blamed = holdersOf(state, plans, part).filter((digest) => !untrusted.has(digest));
      // A damaged part was removed when it was found: the second time it is there, or whoever makes it again makes it anew.
      if (blamed.length === 0 && missed.has(part)) throw error;
      missed.add(part);
      for (const digest of blamed) untrusted.add(digest);
      warn(`${error.explanation.what} (${error.explanation.why}); going on without the stages that hold it`);
    }
  }
};

/** The kept stages of these plans that reach a blob, by the digests that they are known by. */
const holdersOf = (state: State, plans: readonly Plan[], blob: string): string[] =>
  plans
    .flatMap(({ stages }) => stages)
    .flatMap(({ key }) => {
      const record = readRecord(state, key);
      if (record === null) return [];
      const digest = record.ref ?? record.digest;
      return reaches(state.layout, digest, blob) ? [digest] : [];
    });

const reaches = (layout: string, root: string, blob: string): boolean => {
  if (root === blob) return true;
  try {
    return closure(layout, { mediaType: mediaTypes.manifest, digest: root, size: 0 }).some(({ digest }) => digest === blob);
  } catch {
    // It cannot even be read: its own damage is found out by whoever opens it.
    return false;
  }
};
