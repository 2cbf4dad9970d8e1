import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { KnownFrames } from "../../../dagger/src/oci-layout/frames.js";
import { blobPath } from "../../../dagger/src/oci-layout/blobs.js";
import { frameEnd, frameSize, inFrames } from "../../../dagger/src/pipeline/archive/compress.js";
import type { LayerEntry } from "../../../dagger/src/pipeline/layer/layer-entry.js";
import { writeLayer } from "../../../dagger/src/oci-layout/write-layer.js";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "frames-"));
  mkdirSync(join(folder, "context"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const noise = (size: number, seed: number): Buffer => {
  const bytes = Buffer.alloc(size);
  for (let at = 0, state = seed; at < size; at += 1) {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    bytes[at] = state >>> 16;
  }
  return bytes;
};

const put = (name: string, bytes: Buffer): LayerEntry => {
  writeFileSync(join(folder, "context", name), bytes);
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  return { type: "file", path: `/${name}`, mode: "644", uid: 0, gid: 0, size: bytes.length, sha256, content: { from: name } };
};

/** Writes a layer, and tells the lengths of what was compressed. */
const write = async (layout: string, entries: readonly LayerEntry[], known: KnownFrames | null) => {
  const compressed: number[] = [];
  const load = async () => (piece: Uint8Array) => {
    compressed.push(piece.length);
    return gzipSync(piece, { level: 1 });
  };
  const options = { epoch: 0, context: join(folder, "context"), compression: "gzip", load, known } as const;
  const { layer, frames } = await writeLayer(join(folder, layout), entries, options);
  return { layer, compressed, known: { layer: layer.digest, frames } };
};

/** A large file between small ones, the first of which grows across a block of the tar. */
const application = (text: string) => [
  put("a", Buffer.from(text)),
  put("b", noise(frameSize + 100_000, 1)),
  put("c", Buffer.from("last")),
];

describe("a layer after a change", () => {
  test("compresses the frames that changed and no others, and is the layer that is written from nothing", async () => {
    const before = await write("here", application("short"), null);
    expect(before.compressed).toHaveLength(4);
    const changed = application("longer".repeat(1_000));
    const after = await write("here", changed, before.known);
    expect(after.compressed).toEqual([512 + 6_144]);
    const anew = await write("elsewhere", changed, null);
    expect(anew.compressed).toHaveLength(4);
    expect(after.layer).toEqual(anew.layer);
    expect(after.known).toEqual(anew.known);
    const bytes = readFileSync(blobPath(join(folder, "here"), after.layer.digest));
    expect(`sha256:${createHash("sha256").update(gunzipSync(bytes)).digest("hex")}`).toBe(after.layer.diffId);
  });

  test("compresses nothing where every frame is known", async () => {
    const before = await write("here", application("short"), null);
    const again = await write("here", application("short"), before.known);
    expect(again.compressed).toEqual([]);
    expect(again.layer).toEqual(before.layer);
  });

  test.each([
    ["is damaged", (blob: string) => writeFileSync(blob, readFileSync(blob).fill(0, 5_000, 5_010))],
    ["is cut off", (blob: string) => writeFileSync(blob, readFileSync(blob).subarray(0, 5_000))],
    ["is gone", (blob: string) => rmSync(blob)],
  ])("takes nothing from a blob that %s", async (_, harm) => {
    const before = await write("here", application("short"), null);
    harm(blobPath(join(folder, "here"), before.layer.digest));
    const after = await write("here", application("other"), before.known);
    expect(after.compressed.length).toBeGreaterThan(1);
    expect(after.layer).toEqual((await write("elsewhere", application("other"), null)).layer);
  });
});

test("law: whatever changes between two layers, frames of the first one make the second no other than it is", async () => {
  const file = fc.record({
    size: fc.constantFrom(0, 1, 511, 512, 513, 700_000, 1_500_000, frameSize - 700, frameSize + 10),
    seed: fc.constantFrom(1, 2),
    mode: fc.constantFrom("644", "755"),
  });
  const files = fc.array(file, { minLength: 1, maxLength: 6 });
  const entriesOf = (list: readonly { size: number; seed: number; mode: string }[]) =>
    list.map(({ size, seed, mode }, at): LayerEntry => ({ ...put(`f${at}`, made(size, seed)), mode }));
  const contents = new Map<string, Buffer>();
  const made = (size: number, seed: number) => {
    const id = `${size} ${seed}`;
    const bytes = contents.get(id) ?? noise(size, seed);
    contents.set(id, bytes);
    return bytes;
  };
  await fc.assert(
    fc.asyncProperty(files, files, async (first, second) => {
      const before = await write("here", entriesOf(first), null);
      const entries = entriesOf(second);
      const after = await write("here", entries, before.known);
      const anew = await write("elsewhere", entries, null);
      expect(after.layer).toEqual(anew.layer);
      expect(after.known).toEqual(anew.known);
      expect(after.compressed.length).toBeLessThanOrEqual(anew.compressed.length);
    }),
    { numRuns: 25 },
  );
});

test("an empty piece ends a frame, and two of them no empty one", async () => {
  async function* pieces() {
    for (const text of ["a", "bc", "", "", "def", ""]) yield text === "" ? frameEnd : Buffer.from(text);
  }
  const frames: string[] = [];
  const whole = inFrames(pieces(), (piece) => {
    frames.push(Buffer.from(piece).toString());
    return piece.slice();
  });
  const bytes: Uint8Array[] = [];
  for await (const piece of whole) bytes.push(piece);
  expect(frames).toEqual(["abc", "def"]);
  expect(Buffer.concat(bytes).toString()).toBe("abcdef");
});
