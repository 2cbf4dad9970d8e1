import { join } from "node:path";
import { isErrno } from "../../dagger/src/filesystem/errno.js";
import { enter, type LockOptions, untilNobody, withLock } from "../host/process-lock.js";
import type { State } from "./state.js";

/** What of the world waiting takes: when to stop, and where to say what is waited for. */
type Around = { signal: AbortSignal; stderr: (text: string) => void };

const gateOf = ({ root }: State): string => join(root, "users", "gate");
const marksOf = ({ root }: State): string => join(root, "users", "at-work");

const waiting = ({ signal, stderr }: Around, what: string): LockOptions => ({
  signal,
  onWait: (pid) => stderr(`note: waiting for ${what} (process ${pid})\n`),
});

/**
 * Does work that uses what a state folder keeps: many may at a time, and meanwhile nothing of it is removed. Where the folder cannot be
 * written, nobody is kept from reading it.
 * @throws FactoryError INTERRUPTED, and whatever the work throws
 */
export const usingState = async <T>(state: State, around: Around, work: () => Promise<T>): Promise<T> => {
  let mark: { release: () => void } | null = null;
  try {
    // Through the gate one by one: who wants the folder alone holds it until it is done.
    mark = await withLock(gateOf(state), async () => enter(marksOf(state)), waiting(around, "./task clean"));
  } catch (error) {
    if (!isErrno(error, "EROFS", "EACCES", "EPERM", "ENOSPC", "ENOTDIR", "EEXIST", "ENOENT")) throw error;
  }
  try {
    return await work();
  } finally {
    mark?.release();
  }
};

/**
 * Does work that removes what others may be using: waits until nobody uses the state folder, and lets nobody in meanwhile.
 * @throws FactoryError INTERRUPTED, and whatever the work throws
 */
export const aloneInState = <T>(state: State, around: Around, work: () => Promise<T>): Promise<T> =>
  withLock(
    gateOf(state),
    async () => {
      await untilNobody(marksOf(state), waiting(around, "a command that uses the state folder"));
      return work();
    },
    waiting(around, "another ./task clean"),
  );
