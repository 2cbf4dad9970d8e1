import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import { run } from "./process.js";

/** A path whose content a checkout on this machine may have otherwise than it is here, and why. */
export type Unknown = { path: string; why: string };

/** A repository to read: its own folder, and the checkout that stands beside it, where there is one. */
export type Source = { gitDir: string; commonDir: string; workTree: string | null };

type Checkout = { source: Source; commit: string; prefix: string; into: string; index: string; signal: AbortSignal };

/**
 * Writes what a checkout of a commit holds: attributes and line ends as git applies them, submodules whose objects are here. No hook, no
 * filter program and no file system monitor of a configuration runs: what a filter would have written is told as unknown. The index and
 * the checkout of the repository itself are neither read nor changed.
 * @param prefix only what stands below it is written; ends with a slash, or is empty
 * @returns what is unknown, with paths from the top of the commit
 * @throws Error with git's own words
 */
export const checkOut = async (wanted: Checkout): Promise<Unknown[]> => {
  const { commit, prefix, into } = wanted;
  mkdirSync(into, { recursive: true });
  const filters = await filtersOf(wanted);
  const git = gitOf(wanted, filters);
  await git(["read-tree", commit]);
  const entries = (await git(["ls-files", "-z", "--stage", "--", prefix === "" ? "." : `:(top,literal)${prefix}`]))
    .split("\0")
    .filter((line) => line !== "")
    .map((line) => ({ isLink: line.startsWith("160000 "), id: line.split(" ")[1]!, path: line.slice(line.indexOf("\t") + 1) }));
  const files = entries.filter(({ isLink }) => !isLink).map(({ path }) => `${path}\0`);
  await git(["checkout-index", "--force", "-z", "--stdin"], files.join(""));
  const unknown = await filtered(git, filters, files);
  const links = entries.filter(({ isLink }) => isLink);
  const names = links.length === 0 ? new Map<string, string>() : await submodules(git, commit);
  for (const [at, { path, id }] of links.entries())
    unknown.push(...(await submodule(wanted, { path, id, name: names.get(path) }, at)));
  return unknown;
};

type Git = (words: readonly string[], input?: string) => Promise<string>;

const gitOf = ({ source, into, index, signal }: Checkout, filters: readonly string[]): Git => {
  const env = {
    LC_ALL: "C",
    GIT_DIR: source.gitDir,
    GIT_COMMON_DIR: source.commonDir,
    GIT_WORK_TREE: into,
    GIT_INDEX_FILE: index,
    ...configured([
      ["core.hooksPath", "/dev/null"],
      ["core.fsmonitor", "false"],
      ["core.sparseCheckout", "false"],
      ...filters.flatMap((name): [string, string][] => [
        [`filter.${name}.smudge`, ""],
        [`filter.${name}.process`, ""],
        [`filter.${name}.required`, "false"],
      ]),
    ]),
  };
  return async (words, input) => {
    const done = await run("git", words, { cwd: into, env, signal, ...(input === undefined ? {} : { input }) });
    if (done.exitCode !== 0) throw new Error(done.stderr.trim());
    return done.stdout;
  };
};

/** By variables, since a name may hold what `-c` cannot; after those that are there already. */
const configured = (settings: readonly (readonly [string, string])[]): Record<string, string> => {
  const first = Number(process.env["GIT_CONFIG_COUNT"] ?? 0);
  return Object.fromEntries([
    ["GIT_CONFIG_COUNT", String(first + settings.length)],
    ...settings.flatMap(([key, value], at) => [
      [`GIT_CONFIG_KEY_${first + at}`, key],
      [`GIT_CONFIG_VALUE_${first + at}`, value],
    ]),
  ]);
};

/** The filters that a checkout would run. */
const filtersOf = async (wanted: Checkout): Promise<string[]> => {
  const git = gitOf(wanted, []);
  const text = await git(["config", "-z", "--name-only", "--get-regexp", "^filter\\..*\\.(smudge|process)$"]).catch(() => "");
  return [...new Set(text.split("\0").flatMap((key) => /^filter\.(.*)\.\w+$/s.exec(key)?.[1] ?? []))];
};

const filtered = async (git: Git, filters: readonly string[], files: readonly string[]): Promise<Unknown[]> => {
  if (filters.length === 0) return [];
  const words = (await git(["check-attr", "--cached", "-z", "--stdin", "filter"], files.join(""))).split("\0");
  const unknown: Unknown[] = [];
  for (let at = 0; at + 2 < words.length; at += 3) {
    const [path, , name] = words.slice(at, at + 3) as [string, string, string];
    if (filters.includes(name))
      unknown.push({ path, why: `a checkout sends it through the filter ${name}, which does not run here` });
  }
  return unknown;
};

/** Names of submodules by their path. */
const submodules = async (git: Git, commit: string): Promise<Map<string, string>> => {
  const list = ["config", "--blob", `${commit}:.gitmodules`, "-z", "--get-regexp", "^submodule\\..*\\.path$"];
  const lines = (await git(list).catch(() => "")).split("\0");
  return new Map(
    lines.flatMap((line) => {
      const [, name, path] = /^submodule\.(.*)\.path\n(.*)$/s.exec(line) ?? [];
      return name === undefined || path === undefined ? [] : [[path, name] as const];
    }),
  );
};

type Link = { path: string; id: string; name: string | undefined };

const submodule = async (above: Checkout, { path, id, name }: Link, at: number): Promise<Unknown[]> => {
  const into = join(above.into, path);
  mkdirSync(into, { recursive: true });
  try {
    const source = await sourceOf(above, path, name);
    if (source === null) return [{ path, why: `the submodule is not here; type: git submodule update --init -- ${path}` }];
    const inner = { ...above, source, commit: id, prefix: "", into, index: `${above.index}-${at}` };
    return (await checkOut(inner)).map((one) => ({ ...one, path: `${path}/${one.path}` }));
  } catch (error) {
    if (error instanceof FactoryError) throw error;
    const why = error instanceof Error ? error.message : String(error);
    return [{ path, why: `the submodule's commit ${id.slice(0, 7)} cannot be read here: ${why}` }];
  }
};

const sourceOf = async ({ source, signal }: Checkout, path: string, name: string | undefined): Promise<Source | null> => {
  const workTree = source.workTree === null ? null : join(source.workTree, path);
  if (workTree !== null && existsSync(join(workTree, ".git"))) return openSource(workTree, signal);
  // A name is a commit's own word, and leads nowhere else.
  if (name === undefined || name.split("/").includes("..")) return null;
  const gitDir = [source.gitDir, source.commonDir]
    .map((folder) => join(folder, "modules", name))
    .find((folder) => existsSync(folder));
  return gitDir === undefined ? null : { gitDir, commonDir: gitDir, workTree: null };
};

/** The repository of a checkout. @throws Error with git's own words */
export const openSource = async (folder: string, signal: AbortSignal): Promise<Source> => {
  const [gitDir, commonDir, workTree] = await locations(folder, signal);
  return { gitDir: gitDir!, commonDir: commonDir!, workTree: workTree ?? null };
};

const locations = async (folder: string, signal: AbortSignal): Promise<string[]> => {
  const words = ["rev-parse", "--path-format=absolute", "--git-dir", "--git-common-dir", "--show-toplevel"];
  const { exitCode, stdout, stderr } = await run("git", ["-C", folder, ...words], { signal, env: { LC_ALL: "C" } });
  if (exitCode !== 0) throw new Error(stderr.trim());
  return stdout.split("\n").filter((line) => line !== "");
};
