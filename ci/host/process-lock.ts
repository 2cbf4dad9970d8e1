import { createHash, randomBytes } from "node:crypto";
import { lutimesSync, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, symlinkSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { isErrno } from "../../dagger/src/filesystem/errno.js";
import { interrupted } from "../../dagger/src/pipeline/common/error.js";

/**
 * Names of processes that stay true: `<pid>-<start>-<place>`, where `start` is the kernel's start time of the process (field 22 of
 * /proc/<pid>/stat, in clock ticks since boot), because the kernel gives a pid out again, and `place` names this boot and this PID
 * namespace: in another container the same pid is another process. Outside Linux `start` is 0.
 */
export function nameOfProcess(pid: number): string {
  return `${pid}-${startOf(pid) ?? "0"}-${placeHere()}`;
}

/** Whether a process lives, as far as can be told. One of another PID namespace of this boot cannot be looked at: it counts as alive. */
export function isAlive(name: string): boolean {
  const { pid, start, place } = partsOf(name);
  if (pid === undefined || start === undefined) return false;
  if (place !== undefined && place !== placeHere()) return place.slice(0, boot) === placeHere().slice(0, boot);
  try {
    process.kill(Number(pid), 0);
  } catch (error) {
    // EPERM: it is there, and someone else's.
    if (!(error instanceof Error && "code" in error && error.code === "EPERM")) return false;
  }
  return start === "0" || startOf(Number(pid)) === start;
}

/** A name of before places were told has none: it is of this one. */
const partsOf = (name: string) => {
  const [, pid, start, place] = /^(\d+)-(\d+)(?:-([0-9a-f]{16})(?![0-9a-f]))?/.exec(name) ?? [];
  return { pid, start, place };
};

/** Digits of a place that name the boot. */
const boot = 8;
let place: string | null = null;
const placeHere = (): string => {
  const digits = (text: string) => createHash("sha256").update(text).digest("hex").slice(0, boot);
  const read = (get: () => string): string => {
    try {
      return get();
    } catch {
      return "";
    }
  };
  place ??= [read(() => readFileSync("/proc/sys/kernel/random/boot_id", "utf8")), read(() => readlinkSync("/proc/self/ns/pid"))]
    .map(digits)
    .join("");
  return place;
};

function startOf(pid: number): string | null {
  const stat = statOf(pid);
  if (stat === null) return null;
  // The program's name stands in parentheses and may hold anything: fields are counted after the last one.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  // A zombie has ended; only its parent has not asked yet.
  return fields[0] === "Z" ? null : (fields[19] ?? null);
}

const statOf = (pid: number): string | null => {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return null;
  }
};

export type LockOptions = {
  signal?: AbortSignal | undefined;
  /** Called once, with the pid of the holder. */
  onWait?: (holder: string) => void;
  /** How many looks a lock of a process that cannot be seen may show no sign of life. */
  looks?: number;
};

/** Milliseconds between two looks at a lock that another process holds, and between two signs of life of a holder. */
const lookAgain = 50;
const signOfLife = 2_000;
/** Half a minute of looks. What counts is how often a waiter looked, not the clock: a machine that slept has not looked. */
const looksAtMost = 600;

/**
 * Runs `work` while no other process does the same under the same path, on this machine or in another container that has the folder.
 * The lock of a process that died is taken over. It is a symbolic link to its holder's name: made at once with what it says, and
 * without room for a byte on a full disk.
 * @throws FactoryError INTERRUPTED when the signal fires while it waits
 */
export async function withLock<T>(path: string, work: () => Promise<T>, options: LockOptions = {}): Promise<T> {
  const isGone = watcher(options.looks);
  let told = false;
  let held = hold(path);
  for (; held === null; held = hold(path)) {
    if (options.signal?.aborted) throw interrupted(`stopped on request while waiting for ${path}`);
    const holder = holderOf(path);
    if (holder === null) continue;
    if (isGone(path, holder)) {
      if (!takeAway(path, holder, isGone)) await pause(lookAgain);
      continue;
    }
    if (!told) options.onWait?.(holder.split("-")[0] ?? holder);
    told = true;
    await pause(lookAgain);
  }
  try {
    return await work();
  } finally {
    held.release();
  }
}

/** One of many that use something at a time: its mark in a folder, until it is released. */
export const enter = (folder: string): { release: () => void } => {
  const held = hold(join(folder, `${nameOfProcess(process.pid)}-${randomBytes(4).toString("hex")}`));
  if (held === null) throw new Error(`two processes of one name in ${folder}`);
  return held;
};

/**
 * Waits until nobody has a mark in a folder; marks of those who died are removed.
 * @throws FactoryError INTERRUPTED when the signal fires while it waits
 */
export const untilNobody = async (folder: string, options: LockOptions = {}): Promise<void> => {
  const isGone = watcher(options.looks);
  let told = false;
  for (;;) {
    const living = marksIn(folder).filter((path) => {
      const holder = holderOf(path);
      if (holder === null || !isGone(path, holder)) return holder !== null;
      // A mark has a name that nobody has after it.
      rmSync(path, { force: true });
      return false;
    });
    if (living.length === 0) return;
    if (options.signal?.aborted) throw interrupted(`stopped on request while waiting for ${folder}`);
    if (!told) options.onWait?.(basename(living[0]!).split("-")[0]!);
    told = true;
    await pause(lookAgain);
  }
};

const marksIn = (folder: string): string[] => {
  try {
    return readdirSync(folder).map((name) => join(folder, name));
  } catch (error) {
    if (isErrno(error, "ENOENT")) return [];
    throw error;
  }
};

/** Makes a link to this process and keeps it fresh; null where there is one already. Synchronous: that takes less time than another thread. */
const hold = (path: string): { release: () => void } | null => {
  const name = `${nameOfProcess(process.pid)}-${randomBytes(4).toString("hex")}`;
  mkdirSync(dirname(path), { recursive: true });
  if (!created(path, name)) return null;
  const beat = setInterval(() => refresh(path), signOfLife);
  beat.unref();
  return {
    release() {
      clearInterval(beat);
      // Who was taken for dead all the same has no right to what is another's now.
      if (holderOf(path) === name) rmSync(path, { force: true });
    },
  };
};

const refresh = (path: string): void => {
  try {
    const now = new Date();
    lutimesSync(path, now, now);
  } catch {
    // Taken away, or on a file system that keeps no times of links.
  }
};

type Watch = (path: string, holder: string) => boolean;

/** Tells whether the holder of a lock is dead. One in another PID namespace cannot be seen: it is, when its lock stays as it is for long. */
const watcher = (looks = looksAtMost): Watch => {
  const seen = new Map<string, { sign: string; times: number }>();
  return (path, holder) => {
    const { place: where } = partsOf(holder);
    if (where === undefined || where === placeHere()) return !isAlive(holder);
    const sign = `${holder} ${lstatSync(path, { throwIfNoEntry: false })?.mtimeMs}`;
    const before = seen.get(path);
    const times = before?.sign === sign ? before.times + 1 : 0;
    seen.set(path, { sign, times });
    return times >= looks;
  };
};

const created = (path: string, name: string): boolean => {
  try {
    symlinkSync(name, path);
    return true;
  } catch (error) {
    // ENOENT: whoever empties the folder above took it away between two calls.
    if (isErrno(error, "EEXIST", "ENOENT")) return false;
    throw error;
  }
};

/** Null when it was given back meanwhile; a file that is no lock is held by nobody. */
const holderOf = (path: string): string | null => {
  try {
    return readlinkSync(path);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return null;
    if (isErrno(error, "EINVAL")) return "";
    throw error;
  }
};

/**
 * Removes a dead holder's lock, and nobody else's. Of all that find it dead one has the claim to remove it: a link of a name that follows
 * from the dead holder's, which is never used again. While the claim stands the lock cannot change: its holder is dead, and nobody
 * else may remove it. A claim whose own holder died is removed in the same way.
 * @returns false where another one has the claim
 */
const takeAway = (path: string, holder: string, isGone: Watch): boolean => {
  const claim = `${path}.${createHash("sha256").update(holder).digest("hex").slice(0, 16)}`;
  if (!created(claim, `${nameOfProcess(process.pid)}-${randomBytes(4).toString("hex")}`)) {
    const other = holderOf(claim);
    return other === null || (isGone(claim, other) && takeAway(claim, other, isGone));
  }
  try {
    if (holderOf(path) === holder) rmSync(path, { force: true });
  } finally {
    rmSync(claim, { force: true });
  }
  return true;
};
