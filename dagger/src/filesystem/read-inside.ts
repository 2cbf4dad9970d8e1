import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { join, relative } from "node:path";
import { isErrno } from "./errno.js";
import { foldersInside } from "./folders-inside.js";
import { FactoryError } from "../pipeline/common/error.js";

/** Bytes that files of a project may have which are read whole. The largest images.lock seen has 1 MB. */
export const limits = { spec: 1 << 20, ignore: 1 << 20, text: 8 << 20, lock: 64 << 20 } as const;

const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** What keeps a path from being read; `null` where nothing is there. */
type Refusal = { part: string; why: string } | null;

/**
 * Opens what is below a folder without following a link (folders-inside.ts). A pipe does not keep it waiting. The folder itself is what the
 * caller chose: links to it are followed.
 */
const openInside = (root: string, path: string): { file: number } | { refused: Refusal } => {
  const parts = path.split("/").filter((part) => part !== "" && part !== ".");
  const out = parts.indexOf("..");
  if (out >= 0) return { refused: { part: parts.slice(0, out + 1).join("/"), why: "it leads out of the project" } };
  const folders = foldersInside(root);
  try {
    const last = parts.at(-1) ?? ".";
    return { file: folders.within(parts.slice(0, -1).join("/"), (at) => openSync(`${at}/${last}`, flags)) };
  } catch (error) {
    if (isErrno(error, "ENOENT")) return { refused: null };
    const part = error instanceof Error && "path" in error ? relative(root, String(error.path)) : path;
    // A folder is opened as a folder: then a link is "not a folder".
    if (isErrno(error, "ENOTDIR")) return { refused: { part, why: "it is a symbolic link, or no folder" } };
    if (isErrno(error, "ELOOP")) return { refused: { part, why: "it is a symbolic link" } };
    // A socket.
    if (isErrno(error, "ENXIO", "EOPNOTSUPP")) return { refused: { part, why: "it is no regular file" } };
    throw error;
  } finally {
    folders.close();
  }
};

/**
 * The bytes of a regular file of a project, null where there is none. No link is followed, nothing else than a regular file is read,
 * and no more than `limit` bytes.
 * @throws FactoryError CONFIG_INVALID
 */
export const readInside = (root: string, path: string, limit: number): Buffer | null => {
  const opened = openInside(root, path);
  if ("refused" in opened) {
    if (opened.refused === null) return null;
    throw refused(path, opened.refused.part, opened.refused.why);
  }
  try {
    const stat = fstatSync(opened.file);
    if (!stat.isFile()) throw refused(path, path, `it is ${stat.isDirectory() ? "a folder" : "a pipe, a socket or a device"}`);
    const bytes = Buffer.alloc(Math.min(stat.size, limit) + 1);
    let length = 0;
    for (let read = 1; read > 0 && length < bytes.length; length += read)
      read = readSync(opened.file, bytes, length, bytes.length - length, null);
    if (length > limit) throw refused(path, path, `it is larger than ${limit >> 20} MiB`);
    return bytes.subarray(0, length);
  } finally {
    closeSync(opened.file);
  }
};

/** The text of such a file. @throws FactoryError CONFIG_INVALID */
export const textInside = (root: string, path: string, limit: number): string | null =>
  readInside(root, path, limit)?.toString("utf8") ?? null;

/**
 * A folder of a project.
 * @throws FactoryError CONFIG_INVALID where a link leads to it, INPUT_MISSING where there is none
 */
export const folderInside = (root: string, path: string): string => {
  const opened = openInside(root, path);
  if ("refused" in opened) {
    if (opened.refused !== null) throw refused(path, opened.refused.part, opened.refused.why);
    throw noFolder(path, "there is no such folder");
  }
  try {
    if (!fstatSync(opened.file).isDirectory()) throw noFolder(path, "it is no folder");
  } finally {
    closeSync(opened.file);
  }
  return join(root, path);
};

const noFolder = (path: string, why: string): FactoryError =>
  new FactoryError("INPUT_MISSING", {
    what: `cannot read the context ${path}`,
    why,
    fix: "name an existing folder as the context",
  });

const refused = (path: string, part: string, why: string): FactoryError =>
  new FactoryError("CONFIG_INVALID", {
    what: `cannot read ${path}`,
    why: `${part === path ? "" : `${part}: `}${why}; only regular files inside the project are read`,
    fix: `put a regular file in the place of ${part}`,
  });
