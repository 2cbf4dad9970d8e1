import { readFileSync } from "node:fs";
import type { HashCache } from "../../dagger/src/filesystem/hash-file.js";
import { textChecksum } from "../host/note.js";
import { replaceFile } from "../host/atomic-write.js";

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

/** The first line of the file is the checksum of the rest: a hash in which a digit has changed would make a wrong image. */
export function loadHashes(file: string): KeptHashes {
  try {
    const text = readFileSync(file, "utf8");
    const at = text.indexOf("\n") + 1;
    const rest = text.slice(at);
    return parseHashes(text.slice(0, at) === `${textChecksum(rest)}\n` ? rest : null);
  } catch {
    return parseHashes(null);
  }
}

/** Failing costs only time: where nothing can be written a plan is made all the same. */
export function saveHashes(file: string, hashes: KeptHashes): void {
  const text = hashes.toJson();
  if (text === null) return;
  try {
    replaceFile(file, `${textChecksum(text)}\n${text}`);
  } catch {
    return;
  }
}
