import { closeSync, constants, existsSync, lstatSync, openSync } from "node:fs";
import { join } from "node:path";

/** Folders below a root, for whoever reads or writes files in them. */
export type FoldersInside = {
  /**
   * Works in a folder. No symbolic link is followed to it at any moment: not one that was there, and not one that takes a folder's place
   * meanwhile.
   * @param directory relative to the root, clean; "" is the root
   * @param work gets a name of the folder, good until it returns, under which names are looked up in that very folder
   * @throws ENOENT where it is not there, ENOTDIR where a link or a file stands in its place; paths in errors are the folder's own
   */
  within<T>(directory: string, work: (at: string) => T): T;
  close(): void;
};

const descriptors = "/proc/self/fd";
/** O_PATH of Linux (open(2)), which Node does not name: a folder may be passed through without the right to list it. */
const passThrough = 0o10000000;
const step = passThrough | constants.O_DIRECTORY | constants.O_NOFOLLOW;

/**
 * Opens a root; links to it are followed, for it is what the caller chose. Where a system names no open folders (everywhere but on Linux), each
 * folder is looked at before it is entered, and a link that takes its place at that moment is followed.
 */
export const foldersInside = (root: string): FoldersInside => {
  const isNamed = existsSync(descriptors);
  let top: number | null = null;
  /** The folders that lead to the last one that was entered. */
  const opened: { name: string; handle: number }[] = [];
  let last: string | null = null;
  const nameOfLast = () => `${descriptors}/${opened.at(-1)?.handle ?? top}`;
  const enter = (directory: string): string => {
    if (directory === last) return nameOfLast();
    last = null;
    top ??= openSync(root, passThrough | constants.O_DIRECTORY);
    const parts = directory === "" ? [] : directory.split("/");
    let same = 0;
    while (same < parts.length && opened[same]?.name === parts[same]) same += 1;
    for (const { handle } of opened.splice(same)) closeSync(handle);
    for (const name of parts.slice(same)) {
      const above = join(root, ...opened.map((one) => one.name));
      opened.push({ name, handle: underOwnPath(above, () => openSync(`${nameOfLast()}/${name}`, step)) });
    }
    last = directory;
    return nameOfLast();
  };
  const look = (directory: string): string => {
    let at = root;
    for (const name of directory === "" ? [] : directory.split("/")) {
      at = join(at, name);
      if (!lstatSync(at).isDirectory())
        throw Object.assign(new Error(`ENOTDIR: not a directory, open '${at}'`), { code: "ENOTDIR" });
    }
    return at;
  };
  return {
    within(directory, work) {
      const at = isNamed ? enter(directory) : look(directory);
      return underOwnPath(join(root, directory), () => work(at));
    },
    close() {
      for (const { handle } of opened.splice(0)) closeSync(handle);
      if (top !== null) closeSync(top);
      top = null;
      last = null;
    },
  };
};

/** Names what fails in a folder by the path that a person knows. */
const underOwnPath = <T>(folder: string, work: () => T): T => {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof Error) || !("path" in error) || typeof error.path !== "string") throw error;
    const { path } = error;
    if (!path.startsWith(`${descriptors}/`)) throw error;
    const own = join(
      folder,
      ...path
        .slice(descriptors.length + 1)
        .split("/")
        .slice(1),
    );
    error.message = error.message.replaceAll(path, own);
    throw Object.assign(error, { path: own });
  }
};
