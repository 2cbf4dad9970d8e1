import { FactoryError } from "./pipeline/error.js";
import type { Descriptor } from "./pipeline/oci.js";
import type { PlannedStage } from "./pipeline/plan.js";
import type { FullIndex } from "./pipeline/stage-entry.js";

/** Where stage refs and images are kept beyond one call: a repository of a registry. Whatever it refuses is an error and never "absent". */
export type Shelf = {
  /**
   * Brings the ref of a stage's key into the layout, as far as assembling on it needs: the ref, both manifests, config, ingredients, assembly index.
   * @returns the digest of the ref, or null where there is none
   */
  find(stage: PlannedStage, layout: string): Promise<string | null>;
  /** The full index of a stage that `find` brought. */
  fullIndex(stage: PlannedStage, layout: string): Promise<FullIndex>;
  /** A reference by which an engine pulls an image that `find` brought. */
  reference(digest: string): string;
  /** Keeps a ref that was made in the layout: blobs first, its tag last. */
  keep(stage: PlannedStage, ref: Descriptor, layout: string): Promise<void>;
  /** Pushes an image of the layout by digest, then moves the tags; answers `registry/repository@digest`. */
  push(image: Descriptor, layout: string, tags: readonly string[]): Promise<string>;
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
  fullIndex: async () => nowhere(),
  reference: nowhere,
  keep: async () => undefined,
  push: async () => nowhere(),
};

/** A shelf as far as a mode allows. */
export const limited = (shelf: Shelf, mode: CacheMode): Shelf => ({
  ...shelf,
  find: mode === "off" ? noShelf.find : (stage, layout) => shelf.find(stage, layout),
  keep: mode === "write" ? (stage, ref, layout) => shelf.keep(stage, ref, layout) : noShelf.keep,
});

const loopback = /^(?:localhost|127(?:\.\d+){3}|\[::1\])(?::\d+)?(?:\/|$)/i;

/**
 * Inside a module loopback is the container of the function, whatever listens on the caller's machine.
 * @throws FactoryError USAGE
 */
export const refuseLoopback = (registry: string): void => {
  if (!loopback.test(registry)) return;
  throw new FactoryError("USAGE", {
    what: `${registry} cannot be reached from a function`,
    why: "a function runs in a container of the engine, and loopback is that container's own",
    fix: "name the registry by an address that the engine's machine knows (its host name or network address), or publish from here: ./task publish",
  });
};
