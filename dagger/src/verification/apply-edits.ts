import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  existsSync,
  lchownSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  renameSync,
  rmSync,
  type Stats,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { isErrno } from "../filesystem/errno.js";
import type { Edit } from "../pipeline/verify/case.js";

/**
 * Applies edits to a folder, one after the other.
 * @param aside an empty folder of the same file system; what the edits replace waits there
 * @returns what takes all of it back: bytes, modes, owners and times
 * @throws NoSuchEdit where the file system or a right does not allow one of them; nothing is changed then
 */
export const apply = (root: string, edits: readonly Edit[], aside: string): (() => void) => {
  mkdirSync(aside, { recursive: true });
  const undos: (() => void)[] = [];
  const undo = () => {
    for (const one of undos.reverse()) one();
    rmSync(aside, { recursive: true, force: true });
  };
  try {
    for (const [at, edit] of edits.entries()) undos.push(one(root, edit, join(aside, String(at))));
  } catch (error) {
    undo();
    throw error;
  }
  return undo;
};

const one = (root: string, edit: Edit, aside: string): (() => void) => {
  switch (edit.edit) {
    case "write":
    case "append":
      return rewrite(join(root, edit.path), edit, aside);
    case "times":
      return each(root, edit.paths, "times", {
        change: (path) => lutimesSync(path, edit.seconds, edit.seconds),
        took: ({ mtimeMs }) => mtimeMs === edit.seconds * 1000,
      });
    case "owner":
      return each(root, edit.paths, "owners", {
        change: (path) => lchownSync(path, edit.uid, edit.gid),
        took: ({ uid, gid }) => uid === edit.uid && gid === edit.gid,
      });
    case "mode":
      return each(root, edit.paths, "modes", {
        change: (path, { mode }) => chmodSync(path, modeOf(mode, edit.to)),
        took: ({ mode }, was) => (mode & 0o7777) === modeOf(was.mode, edit.to),
      });
  }
};

/** The file of before is moved away whole, and moved back. */
const rewrite = (path: string, edit: Extract<Edit, { edit: "write" | "append" }>, aside: string): (() => void) => {
  const made = mkdirSync(dirname(path), { recursive: true });
  const stood = existsSync(path);
  if (stood) {
    renameSync(path, aside);
    copyFileSync(aside, path);
  }
  if (edit.edit === "append") appendFileSync(path, edit.text);
  else writeFileSync(path, edit.text);
  return () => {
    rmSync(path);
    if (stood) renameSync(aside, path);
    if (made !== undefined) rmSync(made, { recursive: true });
  };
};

type Metadata = { change: (path: string, stat: Stats) => void; took: (now: Stats, was: Stats) => boolean };

const each = (root: string, paths: readonly string[], what: string, { change, took }: Metadata): (() => void) => {
  const before = paths.map((path) => [join(root, path), lstatSync(join(root, path))] as const);
  const undo = () => {
    for (const [path, { mode, uid, gid, atime, mtime }] of before) {
      const now = lstatSync(path);
      if (now.uid !== uid || now.gid !== gid) lchownSync(path, uid, gid);
      if (now.mode !== mode) chmodSync(path, mode & 0o7777);
      lutimesSync(path, atime, mtime);
    }
  };
  try {
    for (const [path, stat] of before) change(path, stat);
    // Some file systems take the call and keep nothing of it: a proof would then be one of no change.
    if (!before.every(([path, stat]) => took(lstatSync(path), stat))) throw new NoSuchEdit(`this file system keeps no ${what}`);
  } catch (error) {
    undo();
    throw isErrno(error, "EPERM", "EINVAL", "ENOSYS", "EOPNOTSUPP") ? new NoSuchEdit(error.message) : error;
  }
  return undo;
};

/** What an edit asks for cannot be had here. */
export class NoSuchEdit extends Error {}

const modeOf = (mode: number, to: Extract<Edit, { edit: "mode" }>["to"]): number => {
  switch (to) {
    case "executable":
      return (mode & 0o7777) | 0o111;
    case "not executable":
      return mode & 0o7777 & ~0o111;
    case "private":
      return mode & 0o700;
  }
};
