/**
 * # ci/state
 *
 * The state folder: the layout of blobs, the records of stages, and what saves time. Whatever is damaged here is as good as absent, and is
 * made again.
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import type { TrustLevel } from "../../dagger/src/pipeline/common/trust-level.js";
import { stateFolder } from "../../dagger/src/pipeline/context/inputs.js";

/**
 * Where things are kept. Two folders, so that a person can delete either at any time and lose only time:
 * the project's state (what was built from this checkout) and the user's cache (what any checkout can use).
 */
export type State = {
  /** `.factory` beside images.yaml, or FACTORY_STATE. */
  root: string;
  /** One OCI layout that holds every stage and base built here; blobs are shared. */
  layout: string;
  /** One folder a run: events.jsonl, record.json. */
  runs: string;
  /** Staged inputs of the steps that run, by content hash. */
  contexts: string;
  /** `$XDG_CACHE_HOME/image-factory`, or FACTORY_CACHE. */
  cache: string;
  /** The embedded engine: binaries, socket, lock and BuildKit's own state. */
  engine: string;
  /** What the build that uses it counts as: nothing of a lower level is found, and what it keeps has this level at most. */
  trust: TrustLevel;
};

/** All that may stand in a state folder. Whoever empties one touches nothing else: FACTORY_STATE may name a folder that holds more. */
export const stateParts = [
  ...["layout", "runs", "contexts", "engine", "stages", "ingredients", "last", "layers", "frames", "hashes.json", "users"],
  // Of `.factory` itself: the compiled program and Task's notes, and what bench/ keeps.
  ...["bin", "task", "task-on-path", "bench"],
];

/** The user's cache. An empty setting, as a variable of a CI job that is not set arrives, is none. */
export const cacheFolder = (env: Readonly<Record<string, string | undefined>>): string =>
  env["FACTORY_CACHE"] || join(env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "image-factory");

/** @param trust what the build counts as; where nobody says it, everything is found and nothing that is kept is trusted */
export const stateOf = (
  project: string,
  env: Readonly<Record<string, string | undefined>>,
  trust: TrustLevel = "fork",
): State => {
  const root = resolve(env["FACTORY_STATE"] || join(project, stateFolder));
  return {
    root,
    layout: join(root, "layout"),
    runs: join(root, "runs"),
    contexts: join(root, "contexts"),
    cache: cacheFolder(env),
    engine: join(root, "engine"),
    trust,
  };
};

/** @throws FactoryError PERMISSION, DISK_FULL where nothing can be written into a state folder */
export const requireWritable = (state: State): void => {
  const probe = join(state.root, `.probe-${process.pid}`);
  try {
    mkdirSync(state.root, { recursive: true });
    writeFileSync(probe, "");
    rmSync(probe, { force: true });
  } catch (error) {
    throw notWritable(state, error);
  }
};

/** What keeps a build from writing into its state folder, with the way out: the folder can be another one. */
export const notWritable = ({ root }: Pick<State, "root">, cause: unknown): FactoryError => {
  const why = cause instanceof Error ? cause.message : String(cause);
  const full = /^(?:ENOSPC|EDQUOT)\b/.test(why);
  return new FactoryError(full ? "DISK_FULL" : "PERMISSION", {
    what: `cannot write the state folder ${root}`,
    why,
    fix: `name a folder that can be written${full ? " and has room" : ""}: FACTORY_STATE=DIR; plan and explain only read`,
    cause,
  });
};
