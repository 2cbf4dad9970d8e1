import { setTimeout as pause } from "node:timers/promises";

/**
 * What `work` gives, or after so many milliseconds what stands for no answer. A program that hangs is ended by run() itself, but what it has
 * started may hold its streams open for ever.
 */
export const inTime = async <T>(work: Promise<T>, milliseconds: number, late: () => T): Promise<T> => {
  const stop = new AbortController();
  const timer = pause(milliseconds, null, { signal: stop.signal }).then(late);
  timer.catch(() => undefined);
  work.catch(() => undefined);
  try {
    return await Promise.race([work, timer]);
  } finally {
    stop.abort();
  }
};
