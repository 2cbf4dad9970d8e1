import type { Descriptor } from "../pipeline/oci/manifest.js";
import type { PlannedStage } from "../pipeline/plan/types.js";
import type { FileIndex } from "../pipeline/contents/file-entry.js";

/** Where stage refs are kept beyond one call. Whatever it refuses is an error and never "absent". */
export type Shelf = {
  /**
   * Brings the ref of a stage's key into the layout, as far as assembling on it needs: the ref, both manifests, config, ingredients, small index.
   * @returns the digest of the ref, or null where there is none that holds up
   */
  find(stage: PlannedStage, layout: string): Promise<string | null>;
  /** The full index of a stage that `find` brought. */
  fileIndex(stage: PlannedStage, ref: string, layout: string): Promise<FileIndex>;
  /** Brings blobs of what `find` found, which it left where they are: a stage is to be executed on them. */
  bring(missing: readonly Descriptor[], layout: string): Promise<void>;
  /** Keeps a ref that was made in the layout: blobs first, its tag last. */
  keep(stage: PlannedStage, ref: Descriptor, layout: string): Promise<void>;
};

/** What of the shelf a call uses: nothing, what is there, or both ways. */
export const cacheModes = ["off", "read", "write"] as const;
export type CacheMode = (typeof cacheModes)[number];

const nowhere = (): never => {
  throw new Error("there is no shelf to ask");
};

/** A shelf that is empty and keeps nothing: every stage is made in this call, by the engine's own cache where that helps. */
export const noShelf: Shelf = {
  find: async () => null,
  fileIndex: async () => nowhere(),
  bring: async (missing) => (missing.length === 0 ? undefined : nowhere()),
  keep: async () => undefined,
};

/** A shelf as far as a mode allows. */
export const limited = (shelf: Shelf, mode: CacheMode): Shelf => ({
  ...shelf,
  find: mode === "off" ? noShelf.find : (stage, layout) => shelf.find(stage, layout),
  keep: mode === "write" ? (stage, ref, layout) => shelf.keep(stage, ref, layout) : noShelf.keep,
});
