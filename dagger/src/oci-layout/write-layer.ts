import { createHash } from "node:crypto";
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { type Frame, frameEncoder, frameNames, type KnownFrames } from "./frames.js";
import { changed, isGone } from "../filesystem/hash-file.js";
import { writeBlob } from "./blobs.js";
import { type Encode, inFrames } from "../pipeline/archive/compress.js";
import { interrupted } from "../pipeline/common/error.js";
import type { LayerEntry } from "../pipeline/layer/layer-entry.js";
import { layerPieces, type ReadFile } from "../pipeline/layer/write-tar.js";
import { layerType, type LayerDescriptor } from "../pipeline/oci/manifest.js";

/** A layer in a layout, and the digest of its tar. */
export type WrittenLayer = LayerDescriptor & { diffId: string };

type Options = {
  epoch: number;
  context: string;
  compression: "zstd" | "gzip";
  load: () => Promise<Encode>;
  /** Of a layer written before with the same compressor, whose frames need not be compressed again. */
  known: KnownFrames | null;
  signal?: AbortSignal | undefined;
};

/**
 * Writes the layer of these entries into an OCI layout, reading files of the context as they are needed. Memory: a few frames.
 * @throws FactoryError INPUT_MISSING when a file is no longer what was hashed; nothing is left behind then
 */
export const writeLayer = async (
  layout: string,
  entries: readonly LayerEntry[],
  options: Options,
): Promise<{ layer: WrittenLayer; frames: readonly Frame[] }> => {
  const diff = createHash("sha256");
  const names = frameNames();
  async function* plain(): AsyncGenerator<Uint8Array> {
    for await (const piece of layerPieces(entries, options.epoch, readerOf(options.context))) {
      if (options.signal?.aborted) throw interrupted("writing a layer was stopped on request");
      diff.update(piece.bytes);
      names.add(piece);
      yield piece.bytes;
    }
  }
  const frames: Frame[] = [];
  // It compiles itself on another thread while the first files are read; who needs it hears of a failure.
  options.load().catch(() => undefined);
  const encode = frameEncoder(layout, options.known, names.take, options.load, frames);
  const { digest, size } = await writeBlob(layout, inFrames(plain(), encode));
  const layer = { mediaType: layerType(options.compression), digest, size, diffId: `sha256:${diff.digest("hex")}` };
  return { layer, frames };
};

const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
const piece = 1 << 20;

/** Files below a mebibyte at once and synchronously, which for many small files costs a third; larger ones piece by piece. */
const readerOf = (context: string): ReadFile => {
  const shared = Buffer.allocUnsafeSlow(piece);
  return (from) => {
    const handle = opened(join(context, from), from);
    const size = fstatSync(handle).size;
    if (size >= piece) return piecesOf(handle);
    try {
      // A fresh copy is not needed: each piece is used up before the next file is read.
      const length = readSync(handle, shared, 0, piece, 0);
      return shared.subarray(0, length);
    } finally {
      closeSync(handle);
    }
  };
};

const opened = (file: string, from: string): number => {
  try {
    const handle = openSync(file, flags);
    if (fstatSync(handle).isFile()) return handle;
    closeSync(handle);
  } catch (error) {
    return isGone(error) ? changed(from, error) : rethrow(error);
  }
  return changed(from);
};

const rethrow = (error: unknown): never => {
  throw error;
};

async function* piecesOf(handle: number): AsyncGenerator<Uint8Array> {
  try {
    const own = Buffer.allocUnsafeSlow(piece);
    for (let length = readSync(handle, own); length > 0; length = readSync(handle, own)) yield own.subarray(0, length);
  } finally {
    closeSync(handle);
  }
}
