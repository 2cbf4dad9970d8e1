/**
 * # dagger/src/filesystem
 *
 * A folder of the machine as a snapshot: which files it holds and their hashes. Files are opened below the folder, without following links,
 * and within limits.
 */
import { isUtf8 } from "node:buffer";
import { lstatSync, readlinkSync, type Stats } from "node:fs";
import { changed, type HashCache, type Hashed, hashFile, isGone, isLarge } from "./hash-file.js";
import { type ListedPath, listRoot, rootKind, rootPath, twice } from "./list-files.js";
import { FactoryError } from "../pipeline/common/error.js";
import { type FoldersInside, foldersInside } from "./folders-inside.js";
import { type Entry, type ContextSnapshot, sizesOf, type ContextInputs } from "../pipeline/context/snapshot.js";
import { type Ignore, compileIgnore, selectPaths } from "../pipeline/context/dockerignore.js";
import { limits, readInside } from "./read-inside.js";

/** Large files that are read at the same time. */
const concurrency = 4;

/**
 * The snapshot of a folder: the wanted roots without what is ignored, each path once, and the wanted texts.
 * Reads no ignored tree and follows no symlink. A directory is an entry when BuildKit would send it: when it is not
 * ignored itself, or when something below it is sent.
 * @throws FactoryError INPUT_MISSING for a root that is not there, is ignored, or changes while it is read
 * @throws FactoryError CONFIG_INVALID for an ignore line that cannot be read, and for what no image can hold
 */
export async function takeSnapshot(
  folder: string,
  wanted: ContextInputs,
  { cache, ignore = compileIgnore(wanted.ignore) }: { cache?: HashCache; ignore?: Ignore } = {},
): Promise<ContextSnapshot> {
  const folders = foldersInside(folder);
  try {
    const entries = await entriesOf(folder, folders, wanted, ignore, cache);
    return { entries, texts: readTexts(folder, wanted.texts) };
  } finally {
    folders.close();
  }
}

async function entriesOf(
  folder: string,
  folders: FoldersInside,
  wanted: ContextInputs,
  ignore: Ignore,
  cache: HashCache | undefined,
): Promise<Entry[]> {
  const found = twice(() => wanted.roots.flatMap((root) => listRoot(folder, folders, root, ignore)));
  const entries: Entry[] = [];
  const slots: { at: number; path: string; stat: Stats }[] = [];
  const inPlace =
    (path: string) =>
    <T>(work: (name: string) => T): T => {
      const slash = path.lastIndexOf("/");
      return folders.within(slash < 0 ? "" : path.slice(0, slash), (at) => work(`${at}/${path.slice(slash + 1)}`));
    };
  // Both are clean: join would take them apart and put them together again, ten thousand times.
  const hash = (path: string, stat: Stats) => hashFile(`${folder}/${path}`, path, stat, cache, inPlace(path));
  const enter = (at: number, path: string, { stat, sha256 }: Hashed) => {
    entries[at] = { kind: "file", path, executable: (stat.mode & 0o100) !== 0, size: stat.size, sha256 };
  };
  for (const [at, { path, kind }] of selectPaths(found, ignore).entries()) {
    refuse(path, kind);
    if (kind === "directory") entries[at] = { kind, path };
    else if (kind === "symlink")
      entries[at] = { kind, path, target: unlessGone(path, () => inPlace(path)((name) => linkTarget(name, path))) };
    else {
      // By its path, which is faster: what is read must be this very file, and a remembered hash is of this very file.
      const stat = lstatSync(`${folder}/${path}`, { throwIfNoEntry: false });
      if (stat === undefined || !stat.isFile()) return changed(path);
      const hashed = isLarge(stat) ? null : hash(path, stat);
      if (hashed === null) slots.push({ at, path, stat });
      else enter(at, path, hashed instanceof Promise ? await hashed : hashed);
    }
  }
  const work = async () => {
    for (let slot = slots.pop(); slot !== undefined; slot = slots.pop())
      enter(slot.at, slot.path, await hash(slot.path, slot.stat));
  };
  await Promise.all(Array.from({ length: concurrency }, work));
  return entries;
}

/** @throws FactoryError INPUT_MISSING where the file or a folder on the way to it is no longer there */
function unlessGone<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (isGone(error)) return changed(path, error);
    throw error;
  }
}

/**
 * How much of a whole context is sent when nothing narrows it down: number and bytes of the regular files that are not ignored.
 * Looks at sizes only, and not at all into roots whose entries are known.
 */
export function measureContext(
  folder: string,
  ignore: Ignore,
  known: { roots: readonly string[]; entries: ContextSnapshot["entries"] } = { roots: [], entries: [] },
): { files: number; bytes: number } {
  const sizes = sizesOf(known);
  let files = sizes.size;
  let bytes = [...sizes.values()].reduce((sum, size) => sum + size, 0);
  const folders = foldersInside(folder);
  try {
    for (const { path, kind } of listRoot(folder, folders, ".", ignore, new Set(known.roots.map(rootPath)))) {
      if (kind !== "file" || sizes.has(path) || ignore.ignores(path)) continue;
      const size = lstatSync(`${folder}/${path}`, { throwIfNoEntry: false })?.size;
      if (size === undefined) continue;
      files += 1;
      bytes += size;
    }
  } finally {
    folders.close();
  }
  return { files, bytes };
}

function refuse(path: string, kind: ListedPath["kind"]): void {
  const name = path.slice(path.lastIndexOf("/") + 1);
  const why =
    kind === "other"
      ? "it is a socket, a pipe or a device"
      : kind === "unreadable name"
        ? "its name is not valid UTF-8, so it has no one spelling in an image"
        : name.startsWith(".wh.")
          ? "in a layer a name that starts with .wh. deletes another file"
          : null;
  if (why === null) return;
  const fix = "rename or remove it, or ignore it in .dockerignore";
  throw new FactoryError("CONFIG_INVALID", { what: `cannot take ${path} into an image`, why, fix });
}

function linkTarget(file: string, path: string): string {
  const target = readlinkSync(file, { encoding: "buffer" });
  if (isUtf8(target)) return target.toString();
  throw new FactoryError("CONFIG_INVALID", {
    what: `cannot take ${path} into an image`,
    why: "the target of the symbolic link is not valid UTF-8",
    fix: "point the link elsewhere, or ignore it in .dockerignore",
  });
}

/** The texts that exist as regular files; for any other the planner knows what it was wanted for. */
function readTexts(folder: string, wanted: readonly string[]): Map<string, string> {
  const texts = new Map<string, string>();
  for (const path of wanted) {
    try {
      if (rootKind(folder, rootPath(path)) !== "file") continue;
      const bytes = readInside(folder, path, limits.text);
      if (bytes === null) continue;
      if (isUtf8(bytes)) texts.set(path, bytes.toString());
      else throw notText(path);
    } catch (error) {
      if (isGone(error) || (error instanceof FactoryError && error.code === "INPUT_MISSING")) continue;
      throw error;
    }
  }
  return texts;
}

const notText = (path: string) =>
  new FactoryError("CONFIG_INVALID", {
    what: `cannot read ${path}`,
    why: "it is not valid UTF-8",
    fix: `save ${path} as UTF-8`,
  });
