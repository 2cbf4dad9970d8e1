import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { compileIgnore } from "../../dagger/src/pipeline/context/dockerignore.js";
import type { Call, Value } from "./query.js";
import { EngineError } from "./session.js";

/** Directories and files of a session that stand for folders of this machine, as an engine gives them out. */
export type Places = {
  /** Repositories and where in them a function is called: `testWorkspace(name: "…")`. */
  workspaces?: Readonly<Record<string, Workspace>>;
  /** Folders of this machine by what a test calls them: `testDirectory(name: "…")`. */
  folders?: Readonly<Record<string, string>>;
  /** The working directory of the module's container. */
  scratch: string;
};

type Workspace = { root: string; cwd: string };

/** A folder or file of this machine that holds what a chain of directory fields describes. */
export const folderOf = (chain: readonly Call[], places: Places): string => {
  const last = chain.at(-1)!;
  const above = chain.slice(0, -1);
  const text = (name: string) => String(last.args[name] ?? "");
  switch (last.field) {
    case "testDirectory":
      return places.folders![text("name")]!;
    case "directory": {
      if (above.length === 0) return fresh();
      const { field } = above.at(-1)!;
      if (field === "testWorkspace") return filtered(inWorkspace(text("path"), workspaceOf(above, places)), last);
      if (field === "host") return filtered(text("path"), last);
      const folder = join(folderOf(above, places), text("path"));
      if (!existsSync(folder) || !statSync(folder).isDirectory())
        throw new EngineError(`lstat ${text("path")}: no such file or directory`);
      return folder;
    }
    case "file":
      return above.at(-1)?.field === "host" ? text("path") : join(folderOf(above, places), text("path"));
    case "workdirFile":
      return join(places.scratch, text("path"));
    case "workdir":
      return filtered(join(places.scratch, text("path")), last);
    case "filter":
      return filtered(folderOf(above, places), last);
    case "withNewDirectory": {
      const folder = copyOf(folderOf(above, places));
      mkdirSync(join(folder, text("path")), { recursive: true });
      return folder;
    }
    case "withTimestamps": {
      const folder = copyOf(folderOf(above, places));
      for (const path of readdirSync(folder, { recursive: true, encoding: "utf8" }).reverse())
        utimesSync(join(folder, path), Number(last.args["timestamp"]), Number(last.args["timestamp"]));
      return folder;
    }
    case "withNewFile": {
      const folder = copyOf(folderOf(above, places));
      mkdirSync(dirname(join(folder, text("path"))), { recursive: true });
      writeFileSync(join(folder, text("path")), text("contents"));
      return folder;
    }
    default:
      throw new EngineError(`this session keeps no directory for ${chain.map(({ field }) => field).join(".")}`);
  }
};

const workspaceOf = (chain: readonly Call[], { workspaces }: Places): Workspace =>
  workspaces![String(chain.at(-1)!.args["name"])]!;

const inWorkspace = (path: string, { root, cwd }: Workspace): string => join(path.startsWith("/") ? root : cwd, path);

const fresh = (): string => mkdtempSync(join(tmpdir(), "dagger-session-"));

const copyOf = (folder: string): string => {
  const copy = fresh();
  cpSync(folder, copy, { recursive: true, verbatimSymlinks: true });
  return copy;
};

const list = (value: Value | undefined): string[] => (Array.isArray(value) ? value.map(String) : []);

/** `include` and `exclude` as moby/patternmatcher takes them, which is what select.ts is held against. */
const filtered = (folder: string, { args }: Call): string => {
  if (!existsSync(folder)) throw new EngineError(`stat ${folder}: no such file or directory`);
  const include = list(args["include"]);
  const exclude = compileIgnore(list(args["exclude"]));
  const included = compileIgnore(include);
  const copy = fresh();
  for (const path of readdirSync(folder, { recursive: true, encoding: "utf8" }).sort()) {
    if (include.length > 0 && !included.ignores(path)) continue;
    if (exclude.ignores(path)) continue;
    const from = join(folder, path);
    mkdirSync(dirname(join(copy, path)), { recursive: true });
    if (statSync(from, { throwIfNoEntry: false })?.isDirectory() === true && !isLink(from))
      mkdirSync(join(copy, path), { recursive: true });
    else cpSync(from, join(copy, path), { verbatimSymlinks: true });
  }
  return copy;
};

const isLink = (path: string): boolean =>
  readdirSync(dirname(path), { withFileTypes: true }).some(
    (one) => one.name === path.slice(path.lastIndexOf("/") + 1) && one.isSymbolicLink(),
  );

/** The last field of directories, files and workspaces: exports are real. */
export const treeAnswers =
  (places: Places) =>
  (chain: readonly Call[]): unknown => {
    const last = chain.at(-1)!;
    const above = chain.slice(0, -1);
    const kind = above.at(-1)?.field;
    if (last.field === "findUp" && kind === "testWorkspace") {
      const { root, cwd } = workspaceOf(above, places);
      const name = String(last.args["name"]);
      for (let at = cwd; ; at = dirname(at)) {
        if (existsSync(join(at, name))) return `/${join(relative(root, at), name)}`;
        if (at === root) return null;
      }
    }
    if (
      last.field === "export" &&
      kind !== undefined &&
      ["directory", "filter", "workdir", "testDirectory", "withNewFile"].includes(kind)
    ) {
      const to = String(last.args["path"]);
      cpSync(folderOf(above, places), to, { recursive: true, verbatimSymlinks: true, force: true });
      return to;
    }
    return undefined;
  };
