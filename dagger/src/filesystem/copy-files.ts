import { constants, copyFileSync, existsSync, lutimesSync, mkdirSync, statSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import type { ContextSnapshot } from "../pipeline/context/snapshot.js";

/** Copies the entries of a context's snapshot to another folder, and nothing beside them. */
export const copyEntries = (from: string, to: string, { entries }: ContextSnapshot): void => {
  for (const entry of entries) {
    const target = join(to, entry.path);
    if (entry.kind === "directory") mkdirSync(target, { recursive: true });
    else if (entry.kind === "file") copyFile(from, to, entry.path);
    else {
      mkdirSync(dirname(target), { recursive: true });
      symlinkSync(entry.target, target);
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
