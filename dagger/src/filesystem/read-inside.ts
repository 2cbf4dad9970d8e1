import { closeSync, constants, existsSync, fstatSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { isErrno } from "./errno.js";
import { FactoryError } from "../pipeline/common/error.js";

/** Bytes that files of a project may have which are read whole. The largest images.lock seen has 1 MB. */
export const limits = { spec: 1 << 20, ignore: 1 << 20, text: 8 << 20, lock: 64 << 20 } as const;

const step = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** What keeps a path from being read; `null` where nothing is there. */
type Refusal = { part: string; why: string } | null;

/**
 * Opens what stands below a folder part by part, each from the one before it, so that no symbolic link is followed at any moment. A pipe
 * does not keep it waiting. The folder itself is what the caller chose: links to it are followed.
 */
const openInside = (root: string, path: string): { file: number } | { refused: Refusal } => {
  let at = openSync(root, constants.O_RDONLY | constants.O_DIRECTORY);
  let shown = root;
  const parts = path.split("/").filter((part) => part !== "" && part !== ".");
  for (const [index, part] of parts.entries()) {
    const isLast = index === parts.length - 1;
    // Below a descriptor's own name a part is looked up in that folder, whatever stands in its place by now.
    const from = existsSync("/proc/self/fd") ? `/proc/self/fd/${at}` : shown;
    shown = join(shown, part);
    const here = parts.slice(0, index + 1).join("/");
    try {
      if (part === "..") return { refused: { part: here, why: "it leads out of the project" } };
      const next = openSync(`${from}/${part}`, isLast ? step : step | constants.O_DIRECTORY);
      closeSync(at);
      at = next;
    } catch (error) {
      closeSync(at);
      if (isErrno(error, "ENOENT")) return { refused: null };
      // With O_DIRECTORY a link is "not a folder".
      if (isErrno(error, "ELOOP", "ENOTDIR"))
        return { refused: { part: here, why: isLast ? "it is a symbolic link" : "it is a symbolic link, or no folder" } };
      // A socket.
      if (isErrno(error, "ENXIO", "EOPNOTSUPP")) return { refused: { part: here, why: "it is no regular file" } };
      throw error;
    }
  }
  return { file: at };
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
