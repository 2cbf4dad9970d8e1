import { constants, copyFileSync, existsSync, lutimesSync, mkdirSync, readlinkSync, statSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import type { ContextSnapshot } from "../pipeline/context/snapshot.js";

/** Copies the entries of a context's snapshot to another folder, and nothing beside them. */
export const copyEntries = (from: string, to: string, { entries }: ContextSnapshot): void => {
  for (const { kind, path } of entries) {
    if (kind === "directory") mkdirSync(join(to, path), { recursive: true });
    else if (kind === "file") copyFile(from, to, path);
    else {
      mkdirSync(dirname(join(to, path)), { recursive: true });
      symlinkSync(readlinkSync(join(from, path)), join(to, path));
    }
  }
};

/** With mode and time, as a checkout would have it. A file that is not there is not copied. */
export const copyFile = (from: string, to: string, path: string): void => {
  const [source, target] = [join(from, path), join(to, path)];
  if (!existsSync(source) || existsSync(target)) return;
  mkdirSync(dirname(target), { recursive: true });
  copyFileSync(source, target, constants.COPYFILE_FICLONE);
  const { atime, mtime } = statSync(source);
  lutimesSync(target, atime, mtime);
};
