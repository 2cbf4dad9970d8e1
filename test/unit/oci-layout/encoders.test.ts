import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { gunzipSync, zstdDecompressSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { encoderOf } from "../../../dagger/src/oci-layout/encoders.js";

/** Text that repeats itself and noise that does not, the same on every run. */
const sample = (): Uint8Array => {
  const bytes = Buffer.alloc(300_000, "def main():\n    return 0\n");
  for (let at = 100_000, state = 1; at < 200_000; at += 1) {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    bytes[at] = state >>> 16;
  }
  return bytes;
};
const hashOf = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

const require = createRequire(import.meta.url);
const isInstalled = (name: string): boolean => {
  try {
    require.resolve(name);
    return true;
  } catch {
    return false;
  }
};

// A layer's digest is these bytes: another version of a compressor, or another machine, must not change them unseen.
describe.each([
  ["zstd", "@bokuweb/zstd-wasm", "0e05580df626d59bf1d85ac89456cc4fb6635258584b0c04775f3439f53d44a5", zstdDecompressSync],
  ["gzip", "fflate", "7bea9b154c74b76609db993ef48b13c2308c13f09cdbe54f76a092c6313740dd", gunzipSync],
] as const)("%s", (compression, packageName, golden, unpack) => {
  test("gives these bytes and no others", async ({ skip }) => {
    skip(!isInstalled(packageName), `the package ${packageName} is not installed`);
    expect(hashOf((await encoderOf(compression))(sample()))).toBe(golden);
    const [one, two] = await Promise.all([encoderOf(compression), encoderOf(compression)]);
    // Asked for again, it must not start anew under the one that works: that gave bytes that nobody could unpack.
    await new Promise((done) => setImmediate(done));
    for (const encode of [one, two, one]) expect(hashOf(encode(sample()))).toBe(golden);
  });

  test("gives what unpacks to the same, from one byte to a frame", async ({ skip }) => {
    skip(!isInstalled(packageName), `the package ${packageName} is not installed`);
    const encode = await encoderOf(compression);
    for (const length of [0, 1, 300_000]) {
      const bytes = sample().subarray(0, length);
      expect(hashOf(unpack(encode(bytes)))).toBe(hashOf(bytes));
    }
  });
});
