import { createHash } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import { blobPath } from "./blobs.js";
import type { Encode } from "../pipeline/archive/compress.js";
import type { TarPiece } from "../pipeline/layer/write-tar.js";

/** A compressed frame of a layer: what it holds (`frameNames`), the sha256 of what that became, and its length in bytes. */
export type Frame = { holds: string; packed: string; size: number };

/** The frames of a layer that was written before, in their order. */
export type KnownFrames = { layer: string; frames: readonly Frame[] };

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/**
 * Names frames by what they are made of, and hashes none of their content once more: a file's sha256 is known, and is held against the
 * bytes as they pass (layer-tar.ts): should they differ, nothing of the layer stays. What stands between files is short and taken as it is.
 */
export const frameNames = () => {
  const parts: { name: string; length: number }[] = [];
  /** Bytes of the first part that belong to the frame before. */
  let skip = 0;
  return {
    add({ bytes, of }: TarPiece): void {
      if (bytes.length === 0) return;
      const name = of === null ? `:${Buffer.from(bytes).toString("latin1")}` : `${of.sha256} ${of.at}`;
      parts.push({ name, length: bytes.length });
    },
    /** The name of the next so many bytes. */
    take(length: number): string {
      const hash = createHash("sha256");
      for (let left = length; left > 0;) {
        const part = parts[0]!;
        const used = Math.min(left, part.length - skip);
        hash.update(`${part.name.length} ${part.name} ${skip} ${used}\n`);
        left -= used;
        skip = skip + used === part.length ? 0 : skip + used;
        if (skip === 0) parts.shift();
      }
      return hash.digest("hex");
    },
  };
};

/**
 * Compresses frames, and copies those that an earlier layer has: after a change of one file most of a large application is not
 * compressed again. A copy is held against its hash, so that a damaged blob never spreads. `done` gets what each frame became.
 * @param nameOf the name of the next so many bytes
 * @param load gives the compressor; asked for when the first frame needs it
 */
export const frameEncoder = (
  layout: string,
  known: KnownFrames | null,
  nameOf: (length: number) => string,
  load: () => Promise<Encode>,
  done: Frame[],
): ((piece: Uint8Array) => Promise<Uint8Array>) => {
  const places = new Map<string, Frame & { at: number }>();
  let at = 0;
  for (const frame of known?.frames ?? []) {
    places.set(frame.holds, { ...frame, at });
    at += frame.size;
  }
  return async (piece) => {
    const holds = nameOf(piece.length);
    const place = places.get(holds);
    const copied = place === undefined || known === null ? null : readFrame(layout, known.layer, place);
    const bytes = copied ?? (await load())(piece);
    done.push({ holds, packed: place !== undefined && copied !== null ? place.packed : sha256(bytes), size: bytes.length });
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
