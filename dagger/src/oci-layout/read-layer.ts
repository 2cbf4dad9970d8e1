import { createHash } from "node:crypto";
import { pipeline, Readable, type Transform } from "node:stream";
import * as zlib from "node:zlib";
import { FactoryError, interrupted } from "../pipeline/common/error.js";
import { type FramePart, frameParts } from "../pipeline/archive/zstd-frames.js";

export type LayerBlob = { mediaType: string; digest: string; size: number };

export type ReadOptions = {
  signal?: AbortSignal | undefined;
  /** What to type when a layer is damaged; kept stages are built again unless it says otherwise. */
  fix?: string | undefined;
};

/**
 * The plain bytes of a layer's tar, in pieces, held against the layer's digest while they pass: whoever reads to the end has read
 * what the digest names. Memory: a window of the decompressor (8 MB).
 * @param file the bytes of the blob; closed in the end
 * @throws FactoryError CHECKSUM_MISMATCH for a layer that is damaged, INTERRUPTED
 */
export async function* layerBytes(file: Readable, layer: LayerBlob, options: ReadOptions = {}): AsyncGenerator<Uint8Array> {
  const hash = createHash("sha256");
  const { signal } = options;
  const measure = measureOf(layer);
  try {
    const seen = (bytes: Uint8Array) => {
      hash.update(bytes);
      measure.packed(bytes.length);
    };
    for await (const piece of unpacked(file, layer.mediaType, seen, measure)) {
      measure.plain(piece.length);
      yield piece;
      signal?.throwIfAborted();
    }
    if (`sha256:${hash.digest("hex")}` !== layer.digest) throw new Error("its bytes have another digest");
  } catch (error) {
    if (signal?.aborted) throw interrupted("reading the layers was stopped on request", error);
    throw damaged(layer, error, options.fix);
  } finally {
    file.destroy();
  }
}

/** The plain bytes of a layer, by its media type: tar, tar+gzip, tar+zstd, in OCI's words and in Docker's. */
async function* unpacked(
  file: Readable,
  mediaType: string,
  seen: (bytes: Uint8Array) => void,
  measure: Measure,
): AsyncGenerator<Uint8Array> {
  async function* watched(): AsyncGenerator<Buffer> {
    for await (const piece of file as AsyncIterable<Buffer>) {
      seen(piece);
      yield piece;
    }
  }
  if (/[+.]zstd$/.test(mediaType)) yield* unzstd(watched(), measure);
  else if (/[+.]gzip$/.test(mediaType)) yield* through(watched(), zlib.createGunzip({ chunkSize: 1 << 18 }));
  else yield* watched();
}

/** A decoder for each frame: Node's own stops after the first. */
async function* unzstd(pieces: AsyncIterable<Buffer>, measure: Measure): AsyncGenerator<Uint8Array> {
  const parts = frameParts(pieces, measure.window);
  for (let first = await parts.next(); first.done !== true; first = await parts.next())
    yield* through(oneFrame(first.value, parts), zlib.createZstdDecompress({ chunkSize: 1 << 18 }));
}

async function* oneFrame(first: FramePart, parts: AsyncGenerator<FramePart>): AsyncGenerator<Uint8Array> {
  yield first.bytes;
  if (first.end) return;
  for (let next = await parts.next(); next.done !== true; next = await parts.next()) {
    yield next.value.bytes;
    if (next.value.end) return;
  }
}

/** Not `compose`: with that, what is cut off ends the process instead of this. */
async function* through(pieces: AsyncIterable<Uint8Array>, transform: Transform): AsyncGenerator<Uint8Array> {
  // Whichever part fails, `pipeline` destroys the others with the same error, and the loop throws it.
  pipeline(Readable.from(pieces, { objectMode: false }), transform, () => undefined);
  yield* transform as AsyncIterable<Uint8Array>;
}

/**
 * What is plain may be so many times what is packed, and as much beyond that as a small layer may hold: no layer of files reaches either, and
 * a few megabytes do not become a full disk.
 */
const mostRatio = 250;
const mostFree = 512 << 20;

type Measure = { packed: (bytes: number) => void; plain: (bytes: number) => void; window: (bytes: number) => void };

/** @throws FactoryError IMAGE_INVALID, from `plain` and `window`, as soon as one of them comes to too much */
const measureOf = (layer: LayerBlob): Measure => {
  let limit = mostFree;
  const upTo = () => {
    let sum = 0;
    return (bytes: number) => {
      sum += bytes;
      if (sum > limit) throw bomb(layer);
    };
  };
  return { packed: (bytes) => (limit += mostRatio * bytes), plain: upTo(), window: upTo() };
};

const bomb = ({ digest }: LayerBlob): FactoryError =>
  new FactoryError("IMAGE_INVALID", {
    what: `the layer ${digest} unpacks to far more than it holds`,
    why: `${mostFree >> 20} MiB and ${mostRatio} times its own size are taken, no more`,
    fix: "leave such a file out of the image, and make it where it is used",
  });

/** @param cause an error of reading or unpacking, or one that is a FactoryError already */
export const damaged = ({ digest }: LayerBlob, cause: unknown, fix?: string): FactoryError => {
  if (cause instanceof FactoryError) return cause;
  return new FactoryError("CHECKSUM_MISMATCH", {
    what: `the layer ${digest} cannot be read`,
    why: cause instanceof Error ? cause.message : String(cause),
    fix: fix ?? ["remove what is kept and build it again: ", { run: "clean", flags: "--all" }],
    cause,
  });
};
