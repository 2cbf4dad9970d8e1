import { readFileSync } from "node:fs";

/** Ids of a container: enough for a user that no file knows (strangerId) and for subordinate ids. */
const width = 1 << 30;

/**
 * How far the ids of a container are shifted, so that its root is nobody on this machine; 0 where that cannot be: this process has not all
 * ids itself (it runs in a container that maps them), or the kernel makes no user namespaces.
 */
export const idShift = (read: (path: string) => string = (path) => readFileSync(path, "utf8")): number => {
  try {
    const hasAll = ["uid", "gid"].every((kind) => {
      const rows = read(`/proc/self/${kind}_map`)
        .trim()
        .split("\n")
        .map((row) => row.trim().split(/\s+/).map(Number));
      return rows.some(([inside = 1, , count = 0]) => inside === 0 && count >= 2 * width);
    });
    return hasAll && Number(read("/proc/sys/user/max_user_namespaces")) > 0 ? width : 0;
  } catch {
    return 0;
  }
};
