import { createHash, randomBytes } from "node:crypto";
import {
  chmodSync,
  constants,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import { join } from "node:path";
import { hashFile } from "../../dagger/src/filesystem/hash-file.js";
import { isErrno } from "../../dagger/src/filesystem/errno.js";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import type { Entry } from "../../dagger/src/pipeline/context/snapshot.js";

/**
 * A folder that holds exactly these entries (and the folders that lead to them), for an engine to read: files 644 or 755,
 * folders 755. It is named by the hash of its entries, made once, and held against their hashes whenever it is used. Its times are those of its making: BuildKit takes a
 * file of equal size and time for unchanged, so they must never be set to a constant.
 * @param source the folder the entries were gathered from
 * @param store where such folders are kept; may not exist yet
 * @returns the folder's path
 * @throws FactoryError INPUT_MISSING when a file is no longer what was hashed; nothing is left behind then
 */
export async function stageContext(source: string, entries: readonly Entry[], store: string): Promise<string> {
  const wanted = withParents(entries);
  const name = createHash("sha256").update(JSON.stringify(wanted)).digest("hex");
  const folder = join(store, name);
  if (await holds(folder, wanted)) return folder;
  const draft = join(store, `.${name.slice(0, 12)}.${process.pid}.${randomBytes(4).toString("hex")}`);
  try {
    mkdirSync(draft, { recursive: true });
    chmodSync(draft, 0o755);
    await fill(draft, source, wanted);
    // A damaged folder of that name makes way; one that another process finished meanwhile is as good as ours.
    if (existsSync(folder) && !(await holds(folder, wanted))) rmSync(folder, { recursive: true, force: true });
    if (!existsSync(folder)) settle(draft, folder);
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
  return folder;
}

function settle(draft: string, folder: string): void {
  try {
    renameSync(draft, folder);
  } catch (error) {
    if (!isErrno(error, "ENOTEMPTY", "EEXIST")) throw error;
  }
}

/** Sorted, each path once, every folder named before what it holds. */
function withParents(entries: readonly Entry[]): Entry[] {
  const all = new Map<string, Entry>(entries.map((entry) => [entry.path, entry]));
  for (const { path } of entries)
    for (let at = path.lastIndexOf("/"); at > 0; at = path.lastIndexOf("/", at - 1))
      if (!all.has(path.slice(0, at))) all.set(path.slice(0, at), { kind: "directory", path: path.slice(0, at) });
  return [...all.values()].sort((a, b) => (a.path < b.path ? -1 : 1)).map(inOneOrder);
}

/** The same properties in the same order, so that equal entries give equal JSON. */
const inOneOrder = (entry: Entry): Entry => {
  const { kind, path } = entry;
  switch (entry.kind) {
    case "file":
      return {
        kind: entry.kind,
        path,
        executable: entry.executable,
        size: entry.size,
        sha256: entry.sha256,
      };
    case "symlink":
      return { kind: entry.kind, path, target: entry.target };
    case "directory":
      return { kind: entry.kind, path };
    default:
      throw new Error(`unknown entry ${String(kind)} ${path}`);
  }
};

async function fill(draft: string, source: string, entries: readonly Entry[]): Promise<void> {
  for (const { kind, path } of entries) {
    if (kind !== "directory") continue;
    mkdirSync(join(draft, path));
    chmodSync(join(draft, path), 0o755);
  }
  for (const entry of entries) {
    if (entry.kind !== "file") continue;
    const copy = join(draft, entry.path);
    try {
      if (!lstatSync(join(source, entry.path)).isFile()) throw changedSince(entry.path);
      copyFileSync(join(source, entry.path), copy, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL);
    } catch (error) {
      throw isErrno(error, "ENOENT", "ENOTDIR") ? changedSince(entry.path, error) : error;
    }
    chmodSync(copy, entry.executable ? 0o755 : 0o644);
    const { sha256 } = await hashFile(copy, entry.path, lstatSync(copy));
    if (sha256 !== entry.sha256) throw changedSince(entry.path);
  }
  // Links last: nothing is ever written through one.
  for (const entry of entries) if (entry.kind === "symlink") symlinkSync(entry.target, join(draft, entry.path));
}

const changedSince = (path: string, cause?: unknown) =>
  new FactoryError("INPUT_MISSING", {
    what: `${path} changed while it was being sent`,
    why: "it is no longer the file that the plan was made from",
    fix: "run the command again when nothing writes to that file",
    cause,
  });

/** Whether a folder is these entries: names, kinds, modes, link targets and bytes. */
async function holds(folder: string, entries: readonly Entry[]): Promise<boolean> {
  if (!existsSync(folder)) return false;
  const seen = new Set(listAll(folder));
  if (seen.size !== entries.length) return false;
  for (const entry of entries) {
    const file = join(folder, entry.path);
    if (!seen.has(entry.path) || !looksLike(file, entry)) return false;
    if (entry.kind === "file" && (await hashFile(file, entry.path, lstatSync(file))).sha256 !== entry.sha256) return false;
  }
  return true;
}

function listAll(folder: string): string[] {
  const paths: string[] = [];
  const enter = (directory: string) => {
    for (const entry of readdirSync(join(folder, directory), { withFileTypes: true })) {
      const path = directory === "" ? entry.name : `${directory}/${entry.name}`;
      paths.push(path);
      if (entry.isDirectory()) enter(path);
    }
  };
  enter("");
  return paths;
}

function looksLike(file: string, entry: Entry): boolean {
  const stat = lstatSync(file);
  const mode = stat.mode & 0o7777;
  switch (entry.kind) {
    case "directory":
      return stat.isDirectory() && mode === 0o755;
    case "symlink":
      return stat.isSymbolicLink() && readlinkSync(file) === entry.target;
    case "file":
      return stat.isFile() && stat.size === entry.size && mode === (entry.executable ? 0o755 : 0o644);
  }
}
