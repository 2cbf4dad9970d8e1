import { randomBytes } from "node:crypto";
import { fstatSync, readdirSync, realpathSync, rmSync, type Stats, statSync } from "node:fs";
import { lstat, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { isErrno } from "../../dagger/src/filesystem/errno.js";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import { isAlive, nameOfProcess } from "../host/process-lock.js";

/**
 * How an output is written, by what stands at its place. `new`: nothing. `file`: a file that is replaced whole. `folder`: one that may
 * hold a layout. `stream`: a pipe or a device that takes bytes, and is never replaced. Paths hold no link.
 */
export type OutputPlace = { is: "new" | "file" | "folder" | "stream" | "standard output"; path: string };

/** @throws FactoryError OUTPUT_FAILED for what can be neither replaced nor written into */
export const placeOf = async (target: string): Promise<OutputPlace> => {
  const there = await absentAsNull(stat(target));
  if (there === null) {
    if ((await absentAsNull(lstat(target))) !== null)
      throw refused(target, "it is a link that leads nowhere", "remove it, or name what it should lead to");
    return { is: "new", path: realPlace(target) };
  }
  if (there.isFile()) return { is: "file", path: await realpath(target) };
  if (there.isDirectory()) return { is: "folder", path: await realpath(target) };
  if (isSame(there, 1)) return { is: "standard output", path: target };
  if (there.isFIFO() || there.isCharacterDevice()) return { is: "stream", path: target };
  throw refused(target, `it is a ${there.isSocket() ? "socket" : "disk"}`, "name a file, a pipe, or a place where nothing is");
};

/** Whether an output goes where results are printed: then those go elsewhere. */
export const isStandardOutput = (target: string): boolean => {
  try {
    return isSame(statSync(target), 1);
  } catch {
    return false;
  }
};

const isSame = (there: Stats, handle: number): boolean => {
  try {
    const own = fstatSync(handle);
    return own.dev === there.dev && own.ino === there.ino;
  } catch {
    return false;
  }
};

/**
 * Nothing is written into what image-factory keeps itself, nor in place of a folder that holds it.
 * @param kept folders: the state folder, the user's cache
 * @throws FactoryError OUTPUT_FAILED
 */
export const refuseKept = (target: string, kept: readonly string[]): void => {
  const path = realPlace(target);
  for (const folder of kept.map(realPlace)) {
    if (`${path}/`.startsWith(`${folder}/`) || `${folder}/`.startsWith(`${path}/`))
      throw refused(target, `image-factory keeps what it built in ${folder}`, "name a place outside of it");
  }
};

/** A path as the kernel finds it, whether or not its last parts are there. */
const realPlace = (path: string): string => {
  const whole = resolve(path);
  try {
    return realpathSync(whole);
  } catch (error) {
    if (!isErrno(error, "ENOENT") || dirname(whole) === whole) throw error;
    return join(realPlace(dirname(whole)), basename(whole));
  }
};

/** A new name beside a path, for what is renamed to it when it is whole. What a process that died left there is removed. */
export const draftOf = (path: string): string => {
  const [folder, start] = [dirname(path), `${basename(path)}.`];
  for (const name of readdirSync(folder)) {
    const owner = name.startsWith(start) ? draftName.exec(name.slice(start.length))?.[1] : undefined;
    if (owner !== undefined && !isAlive(owner)) rmSync(join(folder, name), { recursive: true, force: true });
  }
  return join(folder, `${start}${nameOfProcess(process.pid)}-${randomBytes(6).toString("hex")}.draft`);
};
const draftName = /^(\d+-\d+(?:-[0-9a-f]{16})?)-[0-9a-f]{12}\.draft$/;

export const refused = (target: string, why: string, fix: string): FactoryError =>
  new FactoryError("OUTPUT_FAILED", { what: `will not replace ${target}`, why, fix });

const absentAsNull = async <T>(look: Promise<T>): Promise<T | null> => {
  try {
    return await look;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return null;
    throw error;
  }
};
