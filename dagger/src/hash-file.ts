import { createHash } from "node:crypto";
import { type BigIntStats, closeSync, constants, fstatSync, lstatSync, openSync, readSync } from "node:fs";
import { open } from "node:fs/promises";
import { isErrno } from "./errno.js";
import { FactoryError } from "./pipeline/error.js";

/** Remembered hashes of unchanged files. The implementation decides how long and where; see ci/io/context.ts. */
export type HashCache = {
  get: (path: string, stat: BigIntStats) => string | undefined;
  /** @param readAt milliseconds since the Unix epoch, from before the file was read */
  set: (path: string, stat: BigIntStats, sha256: string, readAt: number) => void;
};

/** A regular file as it was while it was hashed. */
export type Hashed = { stat: BigIntStats; sha256: string };

/** From here on a file is read piece by piece, so that several can be under way without filling the memory. */
const large = 1 << 20;
const piece = Buffer.allocUnsafeSlow(large);
const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

export const isLarge = (stat: BigIntStats): boolean => stat.size >= BigInt(large);

/** What tells that a file is still the one that was looked at. ctime moves with every change, even when mtime is put back. */
const sameFile = (a: BigIntStats, b: BigIntStats): boolean =>
  a.size === b.size && a.mtimeNs === b.mtimeNs && a.ctimeNs === b.ctimeNs && a.ino === b.ino && a.mode === b.mode;

/** Errors that mean "it was here a moment ago". ELOOP: a symlink took the file's place. */
export const isGone = (error: unknown): boolean => isErrno(error, "ENOENT", "ENOTDIR", "ELOOP");

/**
 * SHA-256 of a small file. Synchronous calls, because for many small files they cost a third of asynchronous ones.
 * @returns null when the file changed or vanished meanwhile
 */
function hashSmall(file: string, stat: BigIntStats): string | null {
  const handle = openSync(file, flags);
  try {
    const hash = createHash("sha256");
    for (let length = readSync(handle, piece); length > 0; length = readSync(handle, piece))
      hash.update(piece.subarray(0, length));
    return sameFile(stat, fstatSync(handle, { bigint: true })) ? hash.digest("hex") : null;
  } finally {
    closeSync(handle);
  }
}

async function hashLarge(file: string, stat: BigIntStats): Promise<string | null> {
  const handle = await open(file, flags);
  try {
    const hash = createHash("sha256");
    const own = Buffer.allocUnsafeSlow(large);
    for (let { bytesRead } = await handle.read(own); bytesRead > 0; { bytesRead } = await handle.read(own))
      hash.update(own.subarray(0, bytesRead));
    return sameFile(stat, await handle.stat({ bigint: true })) ? hash.digest("hex") : null;
  } finally {
    await handle.close();
  }
}

/**
 * @param path how messages call the file
 * @throws FactoryError INPUT_MISSING when the file changes or vanishes while it is read, twice in a row
 */
export async function hashFile(file: string, path: string, first: BigIntStats, cache?: HashCache): Promise<Hashed> {
  const attempt = async (stat: BigIntStats): Promise<Hashed | null> => {
    const known = cache?.get(file, stat);
    if (known !== undefined) return { stat, sha256: known };
    const readAt = Date.now();
    const sha256 = isLarge(stat) ? await hashLarge(file, stat) : hashSmall(file, stat);
    if (sha256 === null) return null;
    cache?.set(file, stat, sha256, readAt);
    return { stat, sha256 };
  };
  try {
    return (await unlessGone(() => attempt(first))) ?? (await attempt(regular(file))) ?? changed(path);
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

const regular = (file: string): BigIntStats => {
  const stat = lstatSync(file, { bigint: true });
  if (stat.isFile()) return stat;
  throw Object.assign(new Error("no regular file any more"), { code: "ENOENT" });
};

/** @throws FactoryError INPUT_MISSING */
export function changed(path: string, cause?: unknown): never {
  throw new FactoryError(
    "INPUT_MISSING",
    {
      what: `${path} changed while it was read`,
      why: "another program writes or removes it at this moment",
      fix: "run the command again when that program is done; if the image does not need the file, ignore it in .dockerignore",
    },
    { cause },
  );
}
