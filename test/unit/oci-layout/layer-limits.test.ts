import { Readable } from "node:stream";
import { gzipSync } from "node:zlib";
import { compress, init } from "@bokuweb/zstd-wasm";
import { expect, test } from "vitest";
import { gunzip } from "../../../dagger/src/oci-layout/gunzip.js";
import { type LayerBlob, layerBytes } from "../../../dagger/src/oci-layout/read-layer.js";
import { sha256 } from "../../fixtures/scratch.js";

/** Layers that are made to fill a disk or a memory, and such as are cut off. */
const media = { gzip: "application/vnd.oci.image.layer.v1.tar+gzip", zstd: "application/vnd.oci.image.layer.v1.tar+zstd" };
type Kind = keyof typeof media;
const layerOf = (kind: Kind, bytes: Buffer): LayerBlob => ({
  mediaType: media[kind],
  digest: `sha256:${sha256(bytes)}`,
  size: bytes.length,
});

/** How many bytes come out, in pieces as a disk gives them. */
const read = async (kind: Kind, bytes: Buffer, told = bytes): Promise<number> => {
  const pieces = Array.from({ length: Math.ceil(bytes.length / 65_536) }, (_, at) =>
    Buffer.from(bytes.subarray(at * 65_536, (at + 1) * 65_536)),
  );
  let length = 0;
  for await (const piece of layerBytes(Readable.from(pieces), layerOf(kind, told))) length += piece.length;
  return length;
};

/** A frame of blocks that repeat one byte 128 Ki times (RFC 8878, section 3.1.1). @param window its descriptor */
const repeating = (blocks: number, window: number): Buffer => {
  const block = (last: number) => [...[0, 8, 16].map((shift) => (((131_072 << 3) | (1 << 1) | last) >> shift) & 0xff), 0];
  const many = Buffer.alloc((blocks - 1) * 4, Buffer.from(block(0)));
  return Buffer.concat([Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, window]), many, Buffer.from(block(1))]);
};
/** Descriptors of windows: 1 MiB, 128 MiB, 144 MiB, 1 GiB. */
const windows = { small: 10 << 3, largest: 17 << 3, over: (17 << 3) | 1, huge: 20 << 3 };

test("what is mostly one byte is read", async () => {
  expect(await read("gzip", gzipSync(Buffer.alloc(100 << 20), { level: 1 }))).toBe(100 << 20);
  expect(await read("zstd", repeating(800, windows.small))).toBe(800 * 131_072);
  expect(await read("zstd", repeating(3, windows.largest))).toBe(3 * 131_072);
});

test.for([
  [
    "gzip that repeats a megabyte's worth of zeros a thousand times",
    "gzip",
    () => Buffer.concat(Array<Buffer>(70).fill(gzipSync(Buffer.alloc(16 << 20)))),
  ],
  ["zstd of ten thousand repeated bytes", "zstd", () => repeating(10_000, windows.small)],
  ["zstd of many frames", "zstd", () => Buffer.concat(Array<Buffer>(300).fill(repeating(32, windows.small)))],
  [
    "zstd of many frames, each with a large window",
    "zstd",
    () => Buffer.concat(Array<Buffer>(300).fill(repeating(1, windows.largest))),
  ],
] as const)("%s: is no layer of files", async ([, kind, make]) => {
  await expect(read(kind, make())).rejects.toMatchObject({ code: "IMAGE_INVALID" });
});

test.for([
  ["144 MiB", windows.over],
  ["1 GiB", windows.huge],
  ["3.75 TiB", 0xff],
] as const)("a window of %s is refused, and nothing of that size is held", async ([, window]) => {
  const before = process.memoryUsage().arrayBuffers;
  await expect(read("zstd", repeating(2, window))).rejects.toMatchObject({ code: "CHECKSUM_MISMATCH" });
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 << 20);
});

test("a layer that is cut off anywhere is damaged, and ends nothing but its reading", async () => {
  await init();
  const plain = Buffer.from(Array.from({ length: 3000 }, (_, at) => `line ${at * at}\n`).join(""));
  for (const [kind, bytes] of [
    ["gzip", gzipSync(plain)],
    ["zstd", Buffer.from(compress(plain, 3))],
  ] as const) {
    expect(await read(kind, bytes)).toBe(plain.length);
    for (let length = 0; length < bytes.length; length += 97)
      await expect(read(kind, bytes.subarray(0, length), bytes), `${kind} ${length}`).rejects.toMatchObject({
        code: "CHECKSUM_MISMATCH",
      });
  }
});

test("a part of a stage that unpacks to more than memory should hold is refused", () => {
  expect(gunzip(gzipSync("text")).toString()).toBe("text");
  const member = gzipSync(Buffer.alloc(64 << 20));
  expect(() => gunzip(Buffer.concat([member, member, member, member, member]))).toThrow(/larger than/);
});
