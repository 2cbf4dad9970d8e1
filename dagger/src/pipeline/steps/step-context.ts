import type { Platform } from "../common/stage.js";
import type { Lock, PythonSet, PackageSet } from "../config/lock.js";
import type { Spec, ImageSpec } from "../config/spec.js";
import type { Entry, ContextSnapshot } from "../context/snapshot.js";
import type { StaticProject } from "../python/project.js";

/** What steps are made from: all of it values, so that the same values make the same steps anywhere. */

export type StepContext = {
  spec: Spec;
  imageName: string;
  image: ImageSpec;
  platform: Platform;
  snapshot: ContextSnapshot;
  lock: Lock;
  /** Versions of tools, build arguments applied. */
  versions: Readonly<Record<string, string>>;
  /** The Python projects of the image, and what they require by meaning. */
  projects: readonly StaticProject[];
  requires: readonly string[];
};
/** The entries of these roots: what a step reads of the context. */
export const below = (snapshot: ContextSnapshot, roots: readonly string[]): Entry[] =>
  snapshot.entries.filter(({ path }) => roots.some((root) => root === "." || path === root || path.startsWith(`${root}/`)));

/** Whether a locked set was resolved for exactly what is requested now. @param on what packages are resolved on now */
export const answers = (locked: PackageSet | PythonSet | undefined, requested: readonly string[], on?: string): boolean =>
  locked !== undefined && locked.requested.join("\n") === requested.join("\n") && isOn(locked, on);

const isOn = (locked: PackageSet | PythonSet, on: string | undefined): boolean =>
  on === undefined || !("on" in locked) || isResolvedOn(locked, on);

/** Whether packages were resolved on this, as far as the lock says. */
export const isResolvedOn = (set: Pick<PackageSet, "on">, on: string): boolean => set.on === undefined || set.on === on;
