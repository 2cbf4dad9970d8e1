import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import type { World } from "../host/world.js";
import { checkOut, openSource } from "../host/git-checkout.js";
import { run } from "../host/process.js";
import { lockFile, type OpenImage, type Project, specFile } from "./project.js";

/** What a project is opened in: a folder, and an environment that names where its state is. */
export type GitPlace = Pick<World, "cwd" | "env">;

/** A project as it was at a commit. */
export type PlaceThen = GitPlace & {
  /** @throws FactoryError PLAN_UNKNOWN where an image reads what a checkout may have otherwise */
  refuseUnknown(open: OpenImage): void;
};

/** At that commit there was no project yet. */
export class NoProject extends FactoryError {}

/**
 * The project as a checkout of a commit has it, in a folder that is gone afterwards. Only what git tracks is there.
 * @throws FactoryError USAGE for a commit that git does not know, NoProject, PLAN_UNKNOWN for one that cannot be read, and what `work` throws
 */
export const atCommit = async <T>(
  { root }: Pick<Project, "root">,
  world: Pick<World, "env" | "signal">,
  commit: string,
  work: (place: PlaceThen) => Promise<T>,
): Promise<T> => {
  const { id, prefix } = await resolved(root, commit, world.signal);
  const folder = mkdtempSync(join(tmpdir(), "factory-commit-"));
  try {
    const into = join(folder, "tree");
    const wanted = { commit: id, prefix, into, index: join(folder, "index"), signal: world.signal };
    const unknown = await readable(commit, async () => checkOut({ ...wanted, source: await openSource(root, world.signal) }));
    const cwd = join(into, prefix);
    if (!existsSync(join(cwd, specFile))) throw await noProject(root, commit, id, world.signal);
    // State of its own: the hashes of a folder that vanishes are worth nothing.
    const env = { ...world.env, FACTORY_STATE: join(folder, "state") };
    const refuseUnknown = (open: OpenImage) => {
      const found = unknown.find(({ path }) => reads(open, cwd, join(into, path)));
      if (found !== undefined) throw notKnown(found.path, found.why);
    };
    return await work({ cwd, env, refuseUnknown }).catch((error: unknown) => {
      // Its files are not those that a person sees here.
      if (!(error instanceof FactoryError) || error.code === "INTERRUPTED") throw error;
      const { what, ...rest } = error.explanation;
      throw new FactoryError(error.code, { ...rest, what: `the plan at ${commit} is unknown: ${what}`, cause: error });
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};

/** The id of a commit, and where in its tree the project stands. */
const resolved = async (root: string, commit: string, signal: AbortSignal): Promise<{ id: string; prefix: string }> => {
  const git = async (...words: string[]) => {
    const done = await run("git", ["-C", root, "rev-parse", ...words], { signal, env: { LC_ALL: "C" } });
    if (done.exitCode === 0) return done.stdout.replace(/\n$/, "");
    throw new FactoryError("USAGE", {
      what: `cannot read the project at ${commit}`,
      why: done.stderr.trim(),
      fix: "name a commit, tag or branch of this repository, for example: ./task explain SINCE=HEAD~1",
    });
  };
  const prefix = await git("--show-prefix");
  return { prefix, id: await git("--verify", "--end-of-options", `${commit}^{commit}`) };
};

const readable = async <T>(commit: string, read: () => Promise<T>): Promise<T> => {
  try {
    return await read();
  } catch (error) {
    if (error instanceof FactoryError) throw error;
    throw notKnown(`the plan at ${commit}`, error instanceof Error ? error.message : String(error));
  }
};

const notKnown = (what: string, why: string): FactoryError =>
  new FactoryError("PLAN_UNKNOWN", {
    what: `${what} cannot be read as a checkout has it`,
    why,
    fix: "bring what is missing, or compare with a commit that is whole here",
  });

const noProject = async (root: string, commit: string, id: string, signal: AbortSignal): Promise<FactoryError> => {
  const tree = await run("git", ["-C", root, "ls-tree", "-r", "--name-only", "--full-tree", id], { signal });
  const elsewhere = tree.stdout.split("\n").find((path) => path === specFile || path.endsWith(`/${specFile}`));
  const explanation = {
    what: `the plan at ${commit} is unknown: there was no ${specFile} here`,
    why: elsewhere === undefined ? "the project came later" : `at that commit one stood at ${elsewhere}`,
    fix: "name a later commit",
  };
  return elsewhere === undefined ? new NoProject("PLAN_UNKNOWN", explanation) : new FactoryError("PLAN_UNKNOWN", explanation);
};

/** Whether the plan of an image was made from a path, or from something below it. */
const reads = ({ folder, snapshot, wanted }: OpenImage, cwd: string, path: string): boolean => {
  const context = [...snapshot.entries.map((entry) => entry.path), ...wanted.texts, ".dockerignore"].map((one) =>
    join(folder, one),
  );
  const files = [...context, join(cwd, specFile), join(cwd, lockFile)];
  return files.some((file) => file === path || file.startsWith(`${path}/`));
};

/**
 * The newest commits of the branch that is checked out, the newest first: of merges the side that was merged into.
 * @throws FactoryError USAGE where git cannot tell as many as there should be: no repository, or a shallow clone
 */
export const newestCommits = async (
  { root }: Pick<Project, "root">,
  { signal }: Pick<World, "signal">,
  count: number,
): Promise<string[]> => {
  if (count === 0) return [];
  const git = async (...args: string[]) => run("git", ["-C", root, ...args], { signal });
  const log = await git("log", "--first-parent", `--max-count=${count}`, "--format=%H");
  const unknown = (why: string, fix: string) =>
    new FactoryError("USAGE", { what: `cannot read the last ${count} commits`, why, fix });
  if (log.exitCode !== 0)
    throw unknown(
      log.stderr.trim(),
      "run this in a git checkout, or with KEEP=0: then only the plan of the files that are here counts",
    );
  const commits = log.stdout.split("\n").filter((line) => line !== "");
  if (commits.length < count && (await git("rev-parse", "--is-shallow-repository")).stdout.trim() === "true") {
    throw unknown(
      `this clone is shallow: it ends after ${commits.length}`,
      `git fetch --deepen=${count}   (in GitHub Actions: actions/checkout with fetch-depth: ${count}), or say KEEP=${commits.length}`,
    );
  }
  return commits;
};
