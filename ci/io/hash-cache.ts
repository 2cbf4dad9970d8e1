import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { HashCache } from "../../dagger/src/hash-file.js";

/** Times in milliseconds, with their fractions. */
type Row = readonly [path: string, size: number, mtimeMs: number, ctimeMs: number, ino: number, sha256: string];

/** Hashes of earlier runs, by absolute path. */
export type KeptHashes = HashCache & {
  /** What is worth keeping: JSON, or null when nothing is new. */
  toJson: () => string | null;
};

/**
 * A file can change twice within one tick of its file system's clock. A hash is kept only when the file had been at rest
 * this long before it was read; two seconds is the coarsest clock in use (FAT).
 */
const restMs = 2_000;

/** Above this many paths only those of the current run are kept. */
const limit = 200_000;

const format = 2;

/** The cache behind a JSON text; an unreadable text is an empty cache, since all of it can be found out again. */
export function parseHashes(text: string | null): KeptHashes {
  const rows = new Map<string, Row>(rowsOf(text).map((row) => [row[0], row]));
  const used = new Set<string>();
  let fresh = false;
  return {
    get(path, stat) {
      const row = rows.get(path);
      if (row === undefined) return undefined;
      const [, size, mtimeMs, ctimeMs, ino, sha256] = row;
      const same = size === stat.size && mtimeMs === stat.mtimeMs && ctimeMs === stat.ctimeMs && ino === stat.ino;
      if (same) used.add(path);
      return same ? sha256 : undefined;
    },
    set(path, stat, sha256, readAt) {
      fresh = rows.delete(path) || fresh;
      if (Math.max(stat.mtimeMs, stat.ctimeMs) + restMs >= readAt) return;
      rows.set(path, [path, stat.size, stat.mtimeMs, stat.ctimeMs, stat.ino, sha256]);
      used.add(path);
      fresh = true;
    },
    toJson() {
      if (!fresh) return null;
      const all = [...rows.values()];
      const files = all.length > limit ? all.filter(([path]) => used.has(path)) : all;
      return JSON.stringify({ format, files });
    },
  };
}

function rowsOf(text: string | null): Row[] {
  try {
    const value: unknown = JSON.parse(text ?? "null");
    if (typeof value !== "object" || value === null || !("format" in value) || value.format !== format) return [];
    if (!("files" in value) || !Array.isArray(value.files)) return [];
    return value.files.filter(isRow);
  } catch {
    return [];
  }
}

const isRow = (value: unknown): value is Row =>
  Array.isArray(value) &&
  value.length === 6 &&
  value.every((part, at) => typeof part === (at === 0 || at === 5 ? "string" : "number"));

export function loadHashes(file: string): KeptHashes {
  try {
    return parseHashes(readFileSync(file, "utf8"));
  } catch {
    return parseHashes(null);
  }
}

/** Written beside its place and renamed, so that a reader sees the old file or the new one. Failing costs only time. */
export function saveHashes(file: string, hashes: KeptHashes): void {
  const text = hashes.toJson();
  if (text === null) return;
  const draft = `${file}.${process.pid}.${randomBytes(4).toString("hex")}`;
  try {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(draft, text);
    renameSync(draft, file);
  } catch {
    try {
      rmSync(draft, { force: true });
    } catch {
      // Where nothing can be written there is nothing to remove either.
    }
  }
}
