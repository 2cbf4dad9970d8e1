import { createRequire } from "node:module";
import type { Encode } from "../pipeline/archive/compress.js";

/**
 * The compressors, pinned as packages: WebAssembly and plain JavaScript compute the same everywhere, which node:zlib does not
 * promise from one Node version to the next. Part of every layer key, so that a new compressor never passes for the old one.
 */
export const encoderNames = {
  zstd: "zstd 1.5.7 (@bokuweb/zstd-wasm 0.0.27), level 3, frames of 4 MiB, large files apart",
  gzip: "fflate 0.8.3, level 6, members of 4 MiB, large files apart",
} as const;

/** Out of a bundler's sight, so that the packages stay where they are: zstd's .wasm file lies beside its code. Faster than import(), too. */
const load = createRequire(import.meta.url);

type ZstdPackage = { init: () => Promise<void>; compress: (bytes: Uint8Array, level: number) => Uint8Array };
type GzipPackage = { gzipSync: (bytes: Uint8Array, options: { level: number; mtime: number }) => Uint8Array };

const loaded: { zstd?: Promise<Encode>; gzip?: Promise<Encode> } = {};

/** Loaded only when a layer must be compressed (10 ms), and once: a second `init` of the zstd package swaps its memory while it works. */
export const encoderOf = (compression: keyof typeof encoderNames): Promise<Encode> =>
  (loaded[compression] ??= compression === "gzip" ? loadGzip() : loadZstd());

const loadGzip = async (): Promise<Encode> => {
  const { gzipSync } = load("fflate") as GzipPackage;
  return (piece) => gzipSync(piece, { level: 6, mtime: 0 });
};

const loadZstd = async (): Promise<Encode> => {
  const { init, compress } = load("@bokuweb/zstd-wasm") as ZstdPackage;
  await init();
  return (piece) => compress(piece, 3);
};
