import { createHash } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import { blobPath } from "./layout.js";
import type { Encode } from "./pipeline/compress.js";

/** A compressed frame of a layer: the sha256 of what it holds and of what it became, and its length in bytes. */
export type Frame = { plain: string; packed: string; size: number };

/** The frames of a layer that was written before, in their order. */
export type KnownFrames = { layer: string; frames: readonly Frame[] };

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/**
 * Compresses frames, and copies those that an earlier layer has: after a change of one file most of a large application is not
 * compressed again. A copy is held against its hash, so that a damaged blob never spreads. `done` gets what each frame became.
 * @param load loads the compressor, when the first frame needs it
 */
export const frameEncoder = (
  layout: string,
  known: KnownFrames | null,
  load: () => Promise<Encode>,
  done: Frame[],
): ((piece: Uint8Array) => Promise<Uint8Array>) => {
  const places = new Map<string, Frame & { at: number }>();
  let at = 0;
  for (const frame of known?.frames ?? []) {
    places.set(frame.plain, { ...frame, at });
    at += frame.size;
  }
  return async (piece) => {
    const plain = sha256(piece);
    const place = places.get(plain);
    const copied = place === undefined || known === null ? null : readFrame(layout, known.layer, place);
    const bytes = copied ?? (await load())(piece);
    done.push({ plain, packed: place !== undefined && copied !== null ? place.packed : sha256(bytes), size: bytes.length });
    return bytes;
  };
};

const readFrame = (layout: string, layer: string, { at, size, packed }: Frame & { at: number }): Uint8Array | null => {
  try {
    const handle = openSync(blobPath(layout, layer), "r");
    try {
      const bytes = Buffer.allocUnsafeSlow(size);
      const length = readSync(handle, bytes, 0, size, at);
      return length === size && sha256(bytes) === packed ? bytes : null;
    } finally {
      closeSync(handle);
    }
  } catch {
    // The blob is gone: its frames are made again.
    return null;
  }
};
