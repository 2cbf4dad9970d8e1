import { isUtf8 } from "node:buffer";
import { lstatSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { isErrno } from "./errno.js";
import { changed, isGone } from "./hash-file.js";
import { FactoryError } from "../pipeline/common/error.js";
import type { FoldersInside } from "./folders-inside.js";
import type { Ignore } from "../pipeline/context/dockerignore.js";

/** A path as a folder's listing tells it. "other": a socket, a pipe, a device; "unreadable name": not valid UTF-8. */
export type ListedPath = {
  path: string;
  kind: "file" | "directory" | "symlink" | "other" | "unreadable name";
};

/**
 * A root and everything below it that may be sent; files that are ignored are listed, trees that are ignored are not.
 * @param closed folders that are not entered
 */
export function listRoot(
  folder: string,
  folders: FoldersInside,
  wanted: string,
  ignore: Ignore,
  closed: ReadonlySet<string> = new Set(),
): ListedPath[] {
  const root = rootPath(wanted);
  const found: ListedPath[] = [];
  const enter = (directory: string) => {
    for (const { name, kind } of listFolder(folders, directory, ignore)) {
      const path = directory === "" ? name : `${directory}/${name}`;
      found.push({ path, kind });
      if (kind === "directory" && !closed.has(path) && !ignore.canSkip(path)) enter(path);
    }
  };
  const kind = rootKind(folder, root);
  if (root !== "") found.push({ path: root, kind });
  if (kind === "directory" && (root === "" || !ignore.canSkip(root))) enter(root);
  if (root !== "" && !found.some(({ path }) => !ignore.ignores(path))) throw ignored(folder, root, ignore.decidedBy(root));
  return found;
}

type PathKind = ListedPath["kind"];

type Dirent = { isFile(): boolean; isDirectory(): boolean; isSymbolicLink(): boolean };

const kindOf = (entry: Dirent): PathKind =>
  entry.isFile() ? "file" : entry.isDirectory() ? "directory" : entry.isSymbolicLink() ? "symlink" : "other";

function listFolder(folders: FoldersInside, directory: string, ignore: Ignore): { name: string; kind: PathKind }[] {
  try {
    const list = folders
      .within(directory, (at) => readdirSync(at, { withFileTypes: true }))
      .map((entry) => ({
        name: entry.name,
        kind: kindOf(entry),
      }));
    // Node puts U+FFFD where a name is not UTF-8; only the bytes tell whether the name really holds that character.
    if (!list.some(({ name }) => name.includes("\uFFFD"))) return list;
    const broken = new Set(
      folders
        .within(directory, (at) => readdirSync(at, { encoding: "buffer" }))
        .filter((name) => !isUtf8(name))
        .map(String),
    );
    return list.map(({ name, kind }) => ({
      name,
      kind: broken.has(name) ? "unreadable name" : kind,
    }));
  } catch (error) {
    // BuildKit, too, goes into an ignored folder only in search of an exception.
    if (isErrno(error, "EACCES") && directory !== "" && ignore.ignores(directory)) return [];
    throw error;
  }
}

/** A folder that vanishes between the listing of its parent and its own is looked for once more. */
export function twice<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!isGone(error)) throw error;
  }
  try {
    return work();
  } catch (error) {
    if (!isGone(error)) throw error;
    return changed(error instanceof Error && "path" in error ? String(error.path) : "a folder", error);
  }
}

export function rootPath(root: string): string {
  const parts = root.split("/").filter((part) => part !== "" && part !== ".");
  if (!root.startsWith("/") && !parts.includes("..")) return parts.join("/");
  throw new FactoryError("CONFIG_INVALID", {
    what: `cannot take ${root} into an image`,
    why: "it leads out of the context; only what lies in the context can be sent",
    fix: "name a path relative to the context, or choose a context that holds it",
  });
}

/** What a root is, looked up part by part, so that no symlink on the way is followed. */
export function rootKind(folder: string, root: string): PathKind {
  const parts = root === "" ? [] : root.split("/");
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) throw missing(folder, "", "there is no such folder");
  let kind: PathKind = "directory";
  for (const [index, name] of parts.entries()) {
    const above = parts.slice(0, index).join("/") || ".";
    if (kind === "symlink") throw missing(folder, root, `${above} is a symbolic link; what it points to is not looked at`);
    if (kind !== "directory") throw missing(folder, root, `${above} is not a folder`);
    const stat = lstatSync(join(folder, ...parts.slice(0, index), name), { throwIfNoEntry: false });
    if (stat === undefined) throw missing(folder, root, `${above === "." ? folder : above} holds no ${name}`);
    kind = kindOf(stat);
  }
  return kind;
}

const missing = (folder: string, root: string, why: string) =>
  new FactoryError("INPUT_MISSING", {
    what: root === "" ? `cannot read the context ${folder}` : `${root} is not in the context`,
    why,
    fix: root === "" ? "name an existing folder as the context" : `create ${root} in ${folder}, or take it out of images.yaml`,
  });

const ignored = (folder: string, root: string, line: string | null) =>
  new FactoryError("INPUT_MISSING", {
    what: `${root} is not in the context`,
    why: `it exists in ${folder}, but the ignore line ${JSON.stringify(line)} leaves it out`,
    fix: `remove that line, or add the line "!${root}" below it`,
  });
