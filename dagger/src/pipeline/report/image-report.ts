/**
 * # dagger/src/pipeline/report
 *
 * What an image consists of: sizes by stage, folder and file, and packages. Everything is computed from indexes: no layer is read.
 */
import type { LayerEntry } from "../layer/layer-entry.js";
import type { Platform, StageName } from "../common/stage.js";
import type { FileIndex, PackageList, StageEntry } from "../contents/file-entry.js";

/** A stage as a report takes it: all that is there after an executed one, or what an assembled one adds. No layer is read for either. */
export type StageContent = {
  stage: StageName;
  /** Its own layers; null where nobody has assembled it yet. */
  layers: readonly { size: number }[] | null;
} & ({ kind: "executed"; index: FileIndex } | { kind: "assembled"; entries: readonly LayerEntry[] });

/** What of the image a stage brought, as far as no later stage replaced it. Sizes in bytes; of several hard links one has the size. */
export type StageShare = { stage: StageName; layers: number | null; packed: number | null; files: number; unpacked: number };

export type ImageReport = {
  format: 1;
  image: string;
  platform: Platform;
  stages: readonly StageShare[];
  total: Omit<StageShare, "stage">;
  /** Two levels of folders with all that is below them, largest first. */
  folders: readonly { path: string; files: number; unpacked: number }[];
  /** Largest first. */
  files: readonly { path: string; unpacked: number; stage: StageName }[];
  /** Files of the same content in several places, by what the further copies take, largest first. */
  copies: readonly { paths: readonly string[]; unpacked: number }[];
  packages: PackageList;
};

type ReportedFile = { size: number; sha256: string | undefined; hardlink: string | undefined; stage: StageName };

/**
 * What an image consists of, as a fold over stage indexes and assembled layers.
 * @param top how many folders, files and copies are named
 */
export const reportOf = (
  about: { image: string; platform: Platform },
  contents: readonly StageContent[],
  top: number,
): ImageReport => {
  const files = filesOf(contents);
  const stages = contents.map(({ stage, layers }): StageShare => {
    const own = [...files.values()].filter((file) => file.stage === stage);
    const packed = layers?.reduce((sum, { size }) => sum + size, 0) ?? null;
    return { stage, layers: layers?.length ?? null, packed, files: own.length, unpacked: sizeOf(own) };
  });
  const sum = (of: (share: StageShare) => number | null): number | null =>
    stages.reduce<number | null>((all, share) => (all === null || of(share) === null ? null : all + of(share)!), 0);
  const executed = contents.filter((one) => one.kind === "executed");
  return {
    format: 1,
    ...about,
    stages,
    total: {
      layers: sum(({ layers }) => layers),
      packed: sum(({ packed }) => packed),
      files: files.size,
      unpacked: sizeOf(files.values()),
    },
    folders: foldersOf(files).slice(0, top),
    files: [...files]
      .map(([path, { size, stage }]) => ({ path, unpacked: size, stage }))
      .sort((a, b) => b.unpacked - a.unpacked || order(a.path, b.path))
      .slice(0, top),
    copies: copiesOf(files).slice(0, top),
    packages: executed.at(-1)?.index.packages ?? { manager: "none" },
  };
};

/** The image's files, each with the stage that made it what it is. */
const filesOf = (contents: readonly StageContent[]): ReadonlyMap<string, ReportedFile> => {
  let files = new Map<string, ReportedFile>();
  let below = new Map<string, StageEntry>();
  for (const one of contents) {
    if (one.kind === "assembled") {
      for (const entry of one.entries)
        if (entry.type === "file")
          files.set(entry.path, { size: entry.size, sha256: entry.sha256, hardlink: undefined, stage: one.stage });
      continue;
    }
    const before: ReadonlyMap<string, ReportedFile> = files;
    files = new Map();
    for (const entry of one.index.entries) {
      if (entry.type !== "file") continue;
      const was = before.get(entry.path);
      const stays = was !== undefined && isSame(below.get(entry.path), entry);
      files.set(
        entry.path,
        stays ? was : { size: entry.size ?? 0, sha256: entry.sha256, hardlink: entry.hardlink, stage: one.stage },
      );
    }
    below = new Map(one.index.entries.map((entry) => [entry.path, entry]));
  }
  return files;
};

/** Owner and mode count: a layer holds a file anew when they change. */
const isSame = (was: StageEntry | undefined, is: StageEntry): boolean =>
  was !== undefined && was.sha256 === is.sha256 && was.mode === is.mode && was.uid === is.uid && was.gid === is.gid;

const sizeOf = (files: Iterable<ReportedFile>): number => {
  let sum = 0;
  for (const { size, hardlink } of files) if (hardlink === undefined) sum += size;
  return sum;
};

const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

const foldersOf = (files: ReadonlyMap<string, ReportedFile>) => {
  const folders = new Map<string, ReportedFile[]>();
  for (const [path, file] of files) {
    const [, first = "", second] = path.split("/");
    // A file at the top stands for itself, in "/".
    const folder = second === undefined ? "/" : path.split("/").length > 3 ? `/${first}/${second}` : `/${first}`;
    const held = folders.get(folder);
    if (held === undefined) folders.set(folder, [file]);
    else held.push(file);
  }
  return [...folders]
    .map(([path, held]) => ({ path, files: held.length, unpacked: sizeOf(held) }))
    .sort((a, b) => b.unpacked - a.unpacked || order(a.path, b.path));
};

const copiesOf = (files: ReadonlyMap<string, ReportedFile>) => {
  const same = new Map<string, { size: number; paths: string[] }>();
  for (const [path, { size, sha256, hardlink }] of files) {
    if (sha256 === undefined || size === 0 || hardlink !== undefined) continue;
    const group = same.get(sha256);
    if (group === undefined) same.set(sha256, { size, paths: [path] });
    else group.paths.push(path);
  }
  return [...same.values()]
    .filter(({ paths }) => paths.length > 1)
    .map(({ size, paths }) => ({ paths: paths.sort(order), unpacked: size * (paths.length - 1) }))
    .sort((a, b) => b.unpacked - a.unpacked || order(a.paths[0]!, b.paths[0]!));
};
