import { zstdDecompressSync } from "node:zlib";
import { createHash } from "node:crypto";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encoderOf } from "../../../../dagger/src/oci-layout/encoders.js";
import { frameParts } from "../../../../dagger/src/pipeline/archive/zstd-frames.js";

const encode = await encoderOf("zstd");

/** A frame that no decoder reads: its magic number, its length, and that many bytes. */
const skippable = (length: number): Buffer => {
  const bytes = Buffer.alloc(8 + length, 0xfd);
  bytes.writeUInt32LE(0x184d2a53, 0);
  bytes.writeUInt32LE(length, 4);
  return bytes;
};

/** The bytes of each frame that the parts make, cut as they arrive. */
const framesOf = async (stream: Buffer, sizes: readonly number[]): Promise<Buffer[]> => {
  async function* pieces() {
    for (let at = 0, turn = 0; at < stream.length; turn++) {
      const size = sizes[turn % sizes.length]!;
      yield stream.subarray(at, at + size);
      at += size;
    }
  }
  const frames: Buffer[][] = [[]];
  for await (const { bytes, end } of frameParts(pieces())) {
    frames.at(-1)!.push(Buffer.from(bytes));
    if (end) frames.push([]);
  }
  return frames.filter((parts) => parts.length > 0).map((parts) => Buffer.concat(parts));
};

/** Stands for the bytes where two lists are compared: toEqual looks at large buffers byte by byte, which took nearly all of this test's time. */
const mark = (bytes: Uint8Array): string => `${bytes.length} bytes, sha256 ${createHash("sha256").update(bytes).digest("hex")}`;

const contents = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  // Blocks of a run of one byte, of noise that stays as it is, and more than one block of both.
  fc.integer({ min: 0, max: 400_000 }).map((length) => new Uint8Array(length).fill(7)),
  fc.integer({ min: 0, max: 300_000 }).map((length) => Uint8Array.from({ length }, (_, at) => (at * at * 2_654_435_761) >>> 24)),
);

describe("the frames of a zstd stream", () => {
  test("law: are told apart, however the stream is cut, and what no decoder reads is left out", async () => {
    const stream = fc.array(fc.oneof(contents, fc.nat(40)), { minLength: 1, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(
        stream,
        fc.array(fc.integer({ min: 1, max: 70_000 }), { minLength: 1, maxLength: 4 }),
        async (parts, sizes) => {
          const written = parts.map((part) => (typeof part === "number" ? skippable(part) : Buffer.from(encode(part))));
          const frames = await framesOf(Buffer.concat(written), sizes);
          expect(frames.map(mark)).toEqual(written.filter((_, at) => typeof parts[at] !== "number").map(mark));
          expect(frames.map((frame) => mark(zstdDecompressSync(frame)))).toEqual(
            parts.filter((part) => typeof part !== "number").map(mark),
          );
        },
      ),
      { numRuns: 40 },
    );
  });

  test("byte by byte", async () => {
    const [one, two] = [Buffer.from(encode(Buffer.from("one"))), Buffer.from(encode(Buffer.alloc(0)))];
    expect(await framesOf(Buffer.concat([skippable(3), one, skippable(0), two, one]), [1])).toEqual([one, two, one]);
  });

  test("something else is no frame", async () => {
    await expect(framesOf(Buffer.from("something else"), [5])).rejects.toThrow("not a zstd frame");
  });
});
