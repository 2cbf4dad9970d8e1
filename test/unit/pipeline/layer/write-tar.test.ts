import { createHash } from "node:crypto";
import { gunzipSync, gzipSync } from "node:zlib";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { frameSize, inFrames } from "../../../../dagger/src/pipeline/archive/compress.js";
import type { LayerEntry } from "../../../../dagger/src/pipeline/layer/layer-entry.js";
import { layerTar, tarHeader } from "../../../../dagger/src/pipeline/layer/write-tar.js";
import { type TarHeader, textOf } from "../../../../dagger/src/pipeline/archive/tar-header.js";
import { TarReader } from "../../../../dagger/src/pipeline/archive/tar-reader.js";

const epoch = 315_619_200;
const hashOf = (bytes: Uint8Array | string) => createHash("sha256").update(bytes).digest("hex");
const file = (path: string, text: string, more: Partial<LayerEntry> = {}): LayerEntry =>
  ({
    path,
    type: "file",
    mode: "644",
    uid: 0,
    gid: 0,
    size: Buffer.byteLength(text),
    sha256: hashOf(text),
    content: { text },
    ...more,
  }) as LayerEntry;

const gathered = async (pieces: AsyncIterable<Uint8Array>): Promise<Buffer> => {
  const parts: Uint8Array[] = [];
  for await (const piece of pieces) parts.push(piece.slice());
  return Buffer.concat(parts);
};
const none = () => {
  throw new Error("no file is read here");
};
const tarOf = (entries: readonly LayerEntry[]) => gathered(layerTar(entries, epoch, none));

const readBack = (tar: Uint8Array) => {
  const found: { header: TarHeader; text: string }[] = [];
  let parts: Uint8Array[] = [];
  const reader = new TarReader({
    entry: (header) => void found.push({ header, text: "" }),
    data: (bytes) => void parts.push(bytes.slice()),
    end: () => {
      found.at(-1)!.text = Buffer.concat(parts).toString();
      parts = [];
    },
  });
  reader.push(tar);
  reader.finish();
  return found;
};

const name = fc
  .string({ unit: "grapheme", minLength: 1, maxLength: 60 })
  .filter((text) => !/[/\0]/.test(text) && Buffer.from(text).toString() === text && text !== "." && text !== "..");
const path = fc.array(name, { minLength: 1, maxLength: 5 }).map((words) => `/${words.join("/")}`);
const mode = fc.integer({ min: 0, max: 0o7777 }).map((value) => value.toString(8));
const id = fc.integer({ min: 0, max: 2 ** 31 - 1 });
const entry: fc.Arbitrary<LayerEntry> = fc.oneof(
  fc.record({ path, mode, uid: id, gid: id, type: fc.constant("directory" as const) }),
  fc.record({ path, mode, uid: id, gid: id, type: fc.constant("symlink" as const), target: path }),
  fc
    .tuple(path, mode, id, id, fc.string({ maxLength: 1500 }))
    .map(([at, bits, uid, gid, text]) => file(at, text, { mode: bits, uid, gid })),
);

describe("the tar of a layer", () => {
  test("law: what is written is read back", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(entry, { maxLength: 12 }), async (entries) => {
        const tar = await tarOf(entries);
        expect(tar.length % 512).toBe(0);
        expect(
          readBack(tar).map(({ header, text }) => ({ ...header, path: `/${header.path.replace(/\/$/, "")}`, text })),
        ).toEqual(
          entries.map((one) => ({
            path: one.path,
            type: one.type,
            mode: Number.parseInt(one.mode, 8),
            uid: one.uid,
            gid: one.gid,
            size: one.type === "file" ? one.size : 0,
            mtime: epoch,
            target: one.type === "symlink" ? one.target : "",
            xattrs: {},
            text: one.type === "file" && "text" in one.content ? one.content.text : "",
          })),
        );
      }),
      { numRuns: 200 },
    );
  });

  test("these bytes and no others", async () => {
    const entries: LayerEntry[] = [
      { path: "/a", type: "directory", mode: "2775", uid: 1001, gid: 0 },
      { path: "/a/l", type: "symlink", mode: "777", uid: 0, gid: 0, target: "../ä" },
      file("/a/x", "hello"),
      file(`/${"n".repeat(120)}`, ""),
    ];
    expect(hashOf(await tarOf(entries))).toBe("a3ea84ecc22a887b2e675a731fca223e222c38f0da5fff687fe1c32dc58c93b7");
  });

  test("a size above 8 GiB, and attributes", () => {
    const big: LayerEntry = {
      ...file("/big", ""),
      type: "file",
      size: 2 ** 33 + 5,
      xattrs: { "security.capability": "AAH/Cg==" },
    } as LayerEntry;
    const headers: TarHeader[] = [];
    const reader = new TarReader({ entry: (header) => void headers.push(header), data: none, end: none });
    reader.push(tarHeader(big, epoch));
    expect(headers).toMatchObject([{ path: "big", size: 2 ** 33 + 5, xattrs: { "security.capability": "AAH/Cg==" } }]);
  });

  test("ustar where it is enough: one block for a plain entry", () => {
    expect(tarHeader(file("/usr/bin/x", ""), epoch)).toHaveLength(512);
    expect(tarHeader(file("/ä", ""), epoch).length).toBeGreaterThan(512);
  });

  test.each(["longer than it was", "short", "othe"])("a file that is now %j is refused", async (now) => {
    const wanted: LayerEntry = { ...file("/x", "this"), type: "file", content: { from: "src/x" } } as LayerEntry;
    await expect(gathered(layerTar([wanted], epoch, () => Buffer.from(now)))).rejects.toMatchObject({
      code: "INPUT_MISSING",
      explanation: { what: expect.stringContaining("src/x") as string },
    });
  });
});

describe("frames", () => {
  async function* cut(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
    let at = 0;
    for (let turn = 0; at < bytes.length; turn += 1) {
      const size = sizes[turn % sizes.length]!;
      yield bytes.subarray(at, at + size);
      at += size;
    }
  }

  test("law: the result does not depend on how the bytes arrive, and in a row they are one stream", async () => {
    const bytes = Buffer.alloc(frameSize * 2 + 1234, "some text that repeats itself ");
    const whole = await gathered(inFrames(cut(bytes, [bytes.length]), (piece) => gzipSync(piece, { level: 1 })));
    expect(gunzipSync(whole).equals(bytes)).toBe(true);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 50_000, max: frameSize + 1 }), { minLength: 1, maxLength: 4 }),
        async (sizes) => {
          expect((await gathered(inFrames(cut(bytes, sizes), (piece) => gzipSync(piece, { level: 1 })))).equals(whole)).toBe(
            true,
          );
        },
      ),
      { numRuns: 8 },
    );
  });

  test("nothing is a frame of nothing", async () => {
    const encoded = await gathered(inFrames(cut(new Uint8Array(0), [1]), (piece) => gzipSync(piece)));
    expect(gunzipSync(encoded)).toHaveLength(0);
  });
});

test("bytes that are no UTF-8 stay two names", () => {
  expect(textOf(Uint8Array.of(0x61, 0xff))).not.toBe(textOf(Uint8Array.of(0x61, 0xfe)));
  expect(JSON.parse(JSON.stringify(textOf(Uint8Array.of(0xff))))).toBe("\udcff");
});
