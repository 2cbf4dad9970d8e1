import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { readlink, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { isErrno } from "../../dagger/src/errno.js";
import { FactoryError } from "../../dagger/src/pipeline/error.js";

/**
 * Names of processes that stay true: `<pid>-<start>`, where `start` is the kernel's start time of the process
 * (field 22 of /proc/<pid>/stat, in clock ticks since boot), because the kernel gives a pid out again. Outside Linux `start` is 0.
 */
export function nameOfProcess(pid: number): string {
  return `${pid}-${startOf(pid) ?? "0"}`;
}

export function isAlive(name: string): boolean {
  const [, pid, start] = /^(\d+)-(\d+)/.exec(name) ?? [];
  if (pid === undefined || start === undefined) return false;
  try {
    process.kill(Number(pid), 0);
  } catch (error) {
    // EPERM: it is there, and someone else's.
    if (!(error instanceof Error && "code" in error && error.code === "EPERM")) return false;
  }
  return start === "0" || startOf(Number(pid)) === start;
}

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

export type LockOptions = { signal?: AbortSignal | undefined; onWait?: (holder: string) => void };

/** Milliseconds between two looks at a lock that another process holds. */
const lookAgain = 50;

/**
 * Runs `work` while no other process on this machine does the same under the same path.
 * The lock of a process that died is taken over. It is a symbolic link to its holder's name: made at once with what it says, and
 * without room for a byte on a full disk.
 * @throws FactoryError INTERRUPTED when the signal fires while it waits
 */
export async function withLock<T>(path: string, work: () => Promise<T>, options: LockOptions = {}): Promise<T> {
  // Synchronous where nobody else holds it: that takes less time than to hand each call to another thread.
  mkdirSync(dirname(path), { recursive: true });
  const name = `${nameOfProcess(process.pid)}-${randomBytes(4).toString("hex")}`;
  let told = false;
  while (!created(path, name)) {
    if (options.signal?.aborted) throw interrupted(path);
    const holder = await holderOf(path);
    if (holder === null) continue;
    if (!isAlive(holder)) {
      await takeAway(path, holder);
      continue;
    }
    if (!told) options.onWait?.(holder.split("-")[0] ?? holder);
    told = true;
    await pause(lookAgain);
  }
  try {
    return await work();
  } finally {
    rmSync(path, { force: true });
  }
}

const created = (path: string, name: string): boolean => {
  try {
    symlinkSync(name, path);
    return true;
  } catch (error) {
    if (isErrno(error, "EEXIST")) return false;
    throw error;
  }
};

/** Null when it was given back meanwhile; a file that is no lock of ours is held by nobody. */
const holderOf = async (path: string): Promise<string | null> => {
  try {
    return await readlink(path);
  } catch (error) {
    return isErrno(error, "ENOENT") ? null : "";
  }
};

/** Renamed before it is removed: of two processes that find the same dead lock, only one gets it. */
async function takeAway(path: string, holder: string): Promise<void> {
  const aside = `${path}.${randomBytes(4).toString("hex")}`;
  try {
    await rename(path, aside);
  } catch {
    return;
  }
  const taken = await holderOf(aside);
  // The dead lock was gone already and this is a live one: back with it.
  await (taken === holder ? rm(aside, { force: true }) : rename(aside, path).catch(() => undefined));
}

const interrupted = (path: string) =>
  new FactoryError("INTERRUPTED", {
    what: "interrupted",
    why: `stopped on request while waiting for ${path}`,
    fix: "run the same command again; what was finished is kept",
  });
