import { createHash } from "node:crypto";
import { closeSync, constants, fstatSync, lstatSync, openSync, read, readSync, type Stats } from "node:fs";
import { promisify } from "node:util";
import { isErrno } from "./errno.js";
import { FactoryError } from "../pipeline/common/error.js";

/** Remembered hashes of unchanged files. The implementation decides how long and where; see ci/state/staged-context.ts. */
export type HashCache = {
  get: (path: string, stat: Stats) => string | undefined;
  /** @param readAt milliseconds since the Unix epoch, from before the file was read */
  set: (path: string, stat: Stats, sha256: string, readAt: number) => void;
};

/** Works on a file under a name that is good until the work returns. */
type At = <T>(work: (name: string) => T) => T;

/** A regular file as it was while it was hashed. */
export type Hashed = { stat: Stats; sha256: string };

/** From here on a file is read piece by piece, so that several can be under way without filling the memory. */
const large = 1 << 20;
const piece = Buffer.allocUnsafeSlow(large);
const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

export const isLarge = (stat: Stats): boolean => stat.size >= large;

/**
 * What tells that a file is still the one that was looked at. ctime moves with every change, even when mtime is put back. A number of
 * milliseconds holds times to a quarter of a microsecond: no two looks at a file follow each other that fast.
 */
const sameFile = (a: Stats, b: Stats): boolean =>
  a.size === b.size && a.mtimeMs === b.mtimeMs && a.ctimeMs === b.ctimeMs && a.ino === b.ino && a.mode === b.mode;

/** Errors that mean "it was here a moment ago". ELOOP: a symlink took the file's place. */
export const isGone = (error: unknown): boolean => isErrno(error, "ENOENT", "ENOTDIR", "ELOOP");

/**
 * SHA-256 of a small file. Synchronous calls, because for many small files they cost a third of asynchronous ones.
 * @returns null when the file changed or vanished meanwhile
 */
function hashSmall(open: () => number, stat: Stats): string | null {
  const handle = open();
  try {
    const hash = createHash("sha256");
    for (let length = readSync(handle, piece); length > 0; length = readSync(handle, piece))
      hash.update(piece.subarray(0, length));
    return sameFile(stat, fstatSync(handle)) ? hash.digest("hex") : null;
  } finally {
    closeSync(handle);
  }
}

const readPiece = promisify(read);

async function hashLarge(open: () => number, stat: Stats): Promise<string | null> {
  // Opened at once: the name of its folder is good for this moment only.
  const handle = open();
  try {
    const hash = createHash("sha256");
    const own = Buffer.allocUnsafeSlow(large);
    const next = () => readPiece(handle, own, 0, own.length, null);
    for (let { bytesRead } = await next(); bytesRead > 0; { bytesRead } = await next()) hash.update(own.subarray(0, bytesRead));
    return sameFile(stat, fstatSync(handle)) ? hash.digest("hex") : null;
  } finally {
    closeSync(handle);
  }
}

/**
 * At once where the hash is remembered: a promise for each of ten thousand files takes longer than all that is looked up.
 * @param file its path, under which its hash is remembered
 * @param path how messages call the file
 * @param at how the file is reached, for one that must not be looked up by its path
 * @throws FactoryError INPUT_MISSING when the file changes or vanishes while it is read, twice in a row
 */
export function hashFile(
  file: string,
  path: string,
  first: Stats,
  cache?: HashCache,
  at: At = (work) => work(file),
): Hashed | Promise<Hashed> {
  return remembered(file, first, cache) ?? hashAnew(file, path, first, cache, at);
}

const remembered = (file: string, stat: Stats, cache: HashCache | undefined): Hashed | null => {
  const sha256 = cache?.get(file, stat);
  return sha256 === undefined ? null : { stat, sha256 };
};

async function hashAnew(file: string, path: string, first: Stats, cache: HashCache | undefined, at: At): Promise<Hashed> {
  const open = () => at((name) => openSync(name, flags));
  const attempt = async (stat: Stats): Promise<Hashed | null> => {
    const readAt = Date.now();
    const sha256 = isLarge(stat) ? await hashLarge(open, stat) : hashSmall(open, stat);
    if (sha256 === null) return null;
    cache?.set(file, stat, sha256, readAt);
    return { stat, sha256 };
  };
  try {
    const once = await unlessGone(() => attempt(first));
    if (once !== null) return once;
    const second = at(regular);
    return remembered(file, second, cache) ?? (await attempt(second)) ?? changed(path);
  } catch (error) {
    return isGone(error) ? changed(path, error) : Promise.reject(error);
  }
}

async function unlessGone<T>(work: () => Promise<T>): Promise<T | null> {
  try {
    return await work();
  } catch (error) {
    if (isGone(error)) return null;
    throw error;
  }
}

const regular = (file: string): Stats => {
  const stat = lstatSync(file);
  if (stat.isFile()) return stat;
  throw Object.assign(new Error("no regular file any more"), { code: "ENOENT" });
};

/** @throws FactoryError INPUT_MISSING */
export function changed(path: string, cause?: unknown): never {
  throw new FactoryError("INPUT_MISSING", {
    what: `${path} changed while it was read`,
    why: "another program writes or removes it at this moment",
    fix: "run the command again when that program is done; if the image does not need the file, ignore it in .dockerignore",
    cause,
  });
}
