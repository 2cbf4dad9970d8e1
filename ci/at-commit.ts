import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FactoryError } from "../dagger/src/pipeline/error.js";
import type { World } from "./command.js";
import { run } from "./io/process.js";
import type { Project } from "./project.js";

/** What a project is opened in: a folder, and an environment that names where its state is. */
export type Place = Pick<World, "cwd" | "env">;

/**
 * The project as it was at a commit, in a folder that is gone afterwards. Only what git tracks is there.
 * @throws FactoryError USAGE for a commit that git does not know, and what `work` throws
 */
export const atCommit = async <T>(
  { root }: Pick<Project, "root">,
  world: Pick<World, "env" | "signal">,
  commit: string,
  work: (place: Place) => Promise<T>,
): Promise<T> => {
  const folder = mkdtempSync(join(tmpdir(), "factory-commit-"));
  const must = async (program: string, ...args: string[]) => {
    const done = await run(program, args, { signal: world.signal });
    if (done.exitCode === 0) return;
    throw new FactoryError("USAGE", {
      what: `cannot read the project at ${commit}`,
      why: done.stderr.trim(),
      fix: "name a commit, tag or branch of this repository, for example: ./task explain -- --since HEAD~1",
    });
  };
  try {
    const archive = join(folder, "tree.tar");
    // Of a project in a subfolder only that folder, with paths from there.
    await must("git", "-C", root, "archive", "--format=tar", `--output=${archive}`, commit, "--", ".");
    await must("tar", "-xf", archive, "-C", folder);
    rmSync(archive);
    // State of its own: the hashes of a folder that vanishes are worth nothing.
    return await work({ cwd: folder, env: { ...world.env, FACTORY_STATE: join(folder, ".state") } }).catch((error: unknown) => {
      // Its files are not those that a person sees here.
      if (!(error instanceof FactoryError)) throw error;
      const { what, ...rest } = error.explanation;
      throw new FactoryError(error.code, { ...rest, what: `at ${commit}: ${what}` }, { cause: error });
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
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
