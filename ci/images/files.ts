import { createHash } from "node:crypto";
import { createReadStream, statSync } from "node:fs";
import { open } from "node:fs/promises";
import { join, posix } from "node:path";
import { Readable } from "node:stream";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import { blockSize, type TarHeader } from "../../dagger/src/pipeline/archive/tar-header.js";
import { TarReader } from "../../dagger/src/pipeline/archive/tar-reader.js";

/** The files that an image is kept in, by path: a folder, or a tar that is read where it lies, never unpacked. */
export type Files = {
  /** As the person named it. */
  name: string;
  has(path: string): boolean;
  stream(path: string): Readable;
};

/** @throws FactoryError INPUT_MISSING */
export const filesOfFolder = (folder: string, name: string): Files => {
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true) throw missing(name, `no folder ${folder}`);
  return {
    name,
    // A pipe would keep the one who reads it waiting.
    has: (path) => statSync(join(folder, path), { throwIfNoEntry: false })?.isFile() === true,
    stream: (path) => createReadStream(join(folder, path), { highWaterMark: 1 << 18 }),
  };
};

type FileSection = { start: number; size: number };

/**
 * Reads the headers of a tar and notes where each file begins: an archive of gigabytes opens in milliseconds.
 * @throws FactoryError INPUT_MISSING, IMAGE_INVALID for what is no tar
 */
export const filesOfTar = async (file: string, name: string): Promise<Files> => {
  if (statSync(file, { throwIfNoEntry: false })?.isFile() !== true) throw missing(name, `no file ${file}`);
  const { places, links } = await placesIn(file, name);
  const placeOf = (path: string): FileSection | undefined => {
    // Older `docker save` links a layer that it has twice.
    let at = posix.normalize(path);
    for (let hops = 0; hops < 40 && links.has(at); hops += 1) at = links.get(at)!;
    return places.get(at);
  };
  return {
    name,
    has: (path) => placeOf(path) !== undefined,
    stream: (path) => {
      const place = placeOf(path);
      if (place === undefined) return failing(new Error(`no ${path} in the archive`));
      if (place.size === 0) return Readable.from([]);
      return createReadStream(file, { start: place.start, end: place.start + place.size - 1, highWaterMark: 1 << 18 });
    },
  };
};

const failing = (error: Error): Readable => new Readable({ read: (): void => void 0 }).destroy(error);

const placesIn = async (file: string, name: string) => {
  const places = new Map<string, FileSection>();
  const links = new Map<string, string>();
  const told: TarHeader[] = [];
  const reader = new TarReader({ entry: (header) => void told.push(header), data: () => undefined, end: () => undefined });
  const handle = await open(file);
  const block = new Uint8Array(blockSize);
  try {
    for (let at = 0; ;) {
      const { bytesRead } = await handle.read(block, 0, blockSize, at);
      if (bytesRead < blockSize) break;
      reader.push(block);
      at += blockSize;
      const header = told.pop();
      if (header === undefined) continue;
      const path = posix.normalize(header.path);
      if (header.type === "symlink") links.set(path, posix.join(posix.dirname(path), header.target));
      else if (header.type === "hardlink") links.set(path, posix.normalize(header.target));
      else places.set(path, { start: at, size: header.size });
      at += reader.skip();
    }
  } catch (cause) {
    throw notAnImage(name, wordsFor(cause, block), "name an uncompressed tar", cause);
  } finally {
    await handle.close();
  }
  return { places, links };
};

const wordsFor = (cause: unknown, block: Uint8Array): string => {
  if (block[0] === 0x1f && block[1] === 0x8b) return "it is compressed with gzip; unpack it first";
  return cause instanceof Error ? cause.message : String(cause);
};

/** Bytes of a manifest or a config; registries take 4 MiB. */
const longestJson = 32 << 20;

/** @throws FactoryError IMAGE_INVALID when it cannot be read, is no JSON, is far too large, or has another shape */
export const readJson = async <T>(
  files: Files,
  path: string,
  hasShape: (value: unknown) => value is T,
): Promise<{ value: T; sha256: string }> => {
  try {
    if (!files.has(path)) throw new Error("no such file");
    const parts: Uint8Array[] = [];
    let size = 0;
    for await (const part of files.stream(path) as AsyncIterable<Uint8Array>) {
      size += part.length;
      if (size > longestJson) throw new Error("larger than 32 MiB");
      parts.push(part);
    }
    const bytes = Buffer.concat(parts);
    const value: unknown = JSON.parse(bytes.toString("utf8"));
    if (!hasShape(value)) throw new Error("not of the shape that the format has");
    return { value, sha256: createHash("sha256").update(bytes).digest("hex") };
  } catch (cause) {
    const why = `${path}: ${cause instanceof Error ? cause.message : String(cause)}`;
    throw notAnImage(files.name, why, "make it again, or name another image", cause);
  }
};

const missing = (name: string, why: string): FactoryError =>
  new FactoryError("INPUT_MISSING", {
    what: `cannot read ${name}`,
    why,
    fix: "fix the path; it is taken from the project's folder",
  });

export const notAnImage = (name: string, why: string, fix: string, cause?: unknown): FactoryError =>
  new FactoryError("IMAGE_INVALID", { what: `${name} is not such an image`, why, fix, cause });
