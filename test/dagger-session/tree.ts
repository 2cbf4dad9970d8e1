import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { compileIgnore } from "../../dagger/src/pipeline/select.js";
import type { Call, Value } from "./query.js";
import { EngineError, type Session } from "./session.js";

/** Directories and files of a session that stand for folders of this machine, as an engine gives them out. */
export type Places = {
  /** The caller's repository and where in it the function is called. */
  workspace?: { root: string; cwd: string };
  /** Folders of this machine by what a test calls them: `testDirectory(name: "…")`. */
  folders?: Readonly<Record<string, string>>;
  /** The working directory of the module's container. */
  scratch: string;
};

/** A folder of this machine that holds what a chain of directory fields describes. */
export const folderOf = (chain: readonly Call[], session: Session, places: Places): string => {
  const last = chain.at(-1)!;
  const above = chain.slice(0, -1);
  const text = (name: string) => String(last.args[name] ?? "");
  switch (last.field) {
    case "testDirectory":
      return places.folders![text("name")]!;
    case "directory": {
      if (above.length === 0) return fresh();
      const { field } = above.at(-1)!;
      if (field === "testWorkspace") return filtered(join(places.workspace!.root, inWorkspace(text("path"), places)), last);
      if (field === "host") return filtered(text("path"), last);
      const folder = join(folderOf(above, session, places), text("path"));
      if (!existsSync(folder) || !statSync(folder).isDirectory())
        throw new EngineError(`lstat ${text("path")}: no such file or directory`);
      return folder;
    }
    case "workdir":
      return filtered(join(places.scratch, text("path")), last);
    case "filter":
      return filtered(folderOf(above, session, places), last);
    case "withNewFile": {
      const folder = copyOf(folderOf(above, session, places));
      mkdirSync(dirname(join(folder, text("path"))), { recursive: true });
      writeFileSync(join(folder, text("path")), text("contents"));
      return folder;
    }
    default:
      throw new EngineError(`this session keeps no directory for ${chain.map(({ field }) => field).join(".")}`);
  }
};

const inWorkspace = (path: string, { workspace }: Places): string =>
  path.startsWith("/") ? path : join(relative(workspace!.root, workspace!.cwd), path);

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
  (chain: readonly Call[], session: Session): unknown => {
    const last = chain.at(-1)!;
    const above = chain.slice(0, -1);
    const kind = above.at(-1)?.field;
    if (last.field === "findUp" && kind === "testWorkspace") {
      for (let at = places.workspace!.cwd; ; at = dirname(at)) {
        if (existsSync(join(at, String(last.args["name"]))))
          return `/${join(relative(places.workspace!.root, at), String(last.args["name"]))}`;
        if (at === places.workspace!.root) return null;
      }
    }
    if (
      last.field === "export" &&
      kind !== undefined &&
      ["directory", "filter", "workdir", "testDirectory", "withNewFile"].includes(kind)
    ) {
      const to = String(last.args["path"]);
      cpSync(folderOf(above, session, places), to, { recursive: true, verbatimSymlinks: true, force: true });
      return to;
    }
    return undefined;
  };
