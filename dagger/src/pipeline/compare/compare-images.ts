/**
 * # dagger/src/pipeline/compare
 *
 * The differences between two images, file by file and field by field. Only what is allowed by name is passed over.
 */
import { configDifferences } from "./compare-config.js";
import { type Allowance, allowances, buildMounts, runtimeMounts } from "./allowances.js";
import { hardlinkGroups } from "../contents/hardlinks.js";
import type { FileIndex, StageEntry } from "../contents/file-entry.js";
import type { Content, ImageDifference, ImageValue } from "./image-difference.js";

/** Everything that may be left out; what a comparison leaves out unless it is told otherwise. */
export const allAllowances: ReadonlySet<Allowance> = new Set(Object.keys(allowances) as Allowance[]);

/**
 * The one differ: what B has, lacks or has otherwise than A, config first, then paths in order. Pure; equal images give none.
 * Not seen at all, because an index does not hold them: times of files, device numbers, and in which layer a path stands.
 */
export const compareImages = (
  a: ImageValue,
  b: ImageValue,
  ignore: ReadonlySet<Allowance> = allAllowances,
): ImageDifference[] => [
  ...(a.config === null || b.config === null ? [] : configDifferences(a.config, b.config, ignore)),
  ...fileDifferences(visible(a.index, ignore), visible(b.index, ignore)),
];

type Files = ReadonlyMap<string, StageEntry>;

const fileDifferences = (a: Files, b: Files): ImageDifference[] => {
  const found: ImageDifference[] = [...onlyIn("a", a, b), ...onlyIn("b", b, a)];
  for (const [path, was] of a) {
    const now = b.get(path);
    if (now !== undefined) found.push(...entryDifferences(was, now));
  }
  found.push(...linkDifferences(a, b));
  return found.sort(byPath);
};

const byPath = (one: ImageDifference, other: ImageDifference): number => {
  const [first, second] = [one, other].map((each) => (each.differs === "config" ? "" : each.path)) as [string, string];
  return first === second ? 0 : first < second ? -1 : 1;
};

/** What is on one side only, told by the topmost directory. */
const onlyIn = (side: "a" | "b", here: Files, there: Files): ImageDifference[] => {
  const tops = new Map<string, { entry: StageEntry; below: number }>();
  for (const entry of here.values()) {
    if (there.has(entry.path)) continue;
    let top = entry.path;
    for (let up = parent(top); up !== null && !there.has(up); up = parent(up)) if (here.has(up)) top = up;
    const seen = tops.get(top);
    if (seen === undefined) tops.set(top, { entry: here.get(top)!, below: top === entry.path ? 0 : 1 });
    else if (top !== entry.path) seen.below += 1;
  }
  return [...tops].map(([path, { entry, below }]) => ({ differs: "presence", path, only: side, type: entry.type, below }));
};

const parent = (path: string): string | null => (path === "/" ? null : path.slice(0, path.lastIndexOf("/")) || "/");

const entryDifferences = (a: StageEntry, b: StageEntry): ImageDifference[] => {
  const { path } = a;
  const found: ImageDifference[] = [];
  if (a.type !== b.type) found.push({ differs: "type", path, a: a.type, b: b.type });
  else {
    if (a.sha256 !== b.sha256) found.push({ differs: "content", path, a: contentOf(a), b: contentOf(b) });
    if (a.target !== b.target) found.push({ differs: "target", path, a: a.target ?? "", b: b.target ?? "" });
    if (a.mode !== b.mode) found.push({ differs: "mode", path, a: a.mode, b: b.mode });
  }
  const [was, now] = [`${a.uid}:${a.gid}`, `${b.uid}:${b.gid}`];
  if (was !== now) found.push({ differs: "owner", path, a: was, b: now });
  for (const name of new Set([...Object.keys(a.xattrs ?? {}), ...Object.keys(b.xattrs ?? {})].sort())) {
    const values = { a: a.xattrs?.[name] ?? null, b: b.xattrs?.[name] ?? null };
    if (values.a !== values.b) found.push({ differs: "xattr", path, name, ...values });
  }
  return found;
};

const contentOf = ({ size, sha256 }: StageEntry): Content => ({ size: size ?? 0, sha256: sha256 ?? "" });

/** Of paths that both have: what shares an inode in one image and not in the other. Told once for all names of an inode. */
const linkDifferences = (a: Files, b: Files): ImageDifference[] => {
  const inBoth = (group: readonly string[] | undefined, path: string) =>
    (group ?? [path]).filter((name) => a.has(name) && b.has(name));
  const [first, second] = [hardlinkGroups(a), hardlinkGroups(b)];
  return [...new Set([...first.keys(), ...second.keys()])].flatMap((path): ImageDifference[] => {
    const [was, now] = [inBoth(first.get(path), path), inBoth(second.get(path), path)];
    const told = path === [...was, ...now].sort()[0];
    return told && was.join("\0") !== now.join("\0") ? [{ differs: "hardlinks", path, a: was, b: now }] : [];
  });
};

const visible = ({ entries }: FileIndex, ignore: ReadonlySet<Allowance>): Files => {
  const mounts = [...(ignore.has("mount-points") ? [runtimeMounts] : []), ...(ignore.has("build-mounts") ? [buildMounts] : [])];
  const counts = (entry: StageEntry) => !isEmpty(entry) || !mounts.some((mount) => mount.test(entry.path));
  return new Map(entries.filter(counts).map((entry) => [entry.path, entry]));
};

/** Without content of its own: what a directory holds counts by itself. */
const isEmpty = ({ type, size }: StageEntry): boolean => type === "directory" || (type === "file" && size === 0);
