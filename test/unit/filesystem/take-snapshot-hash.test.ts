import {
  chmodSync,
  lstatSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";
import { describe, expect, test } from "vitest";
import { loadHashes, parseHashes, saveHashes } from "../../../ci/state/hash-cache.js";
import type { HashCache } from "../../../dagger/src/filesystem/hash-file.js";
import type { Entry } from "../../../dagger/src/pipeline/context/snapshot.js";
import { failure, sha256, scratchFolder } from "../../fixtures/scratch.js";

const { at, put, gather } = scratchFolder();

describe("a file that changes while it is read", () => {
  /** A cache is asked between the look at a file and its reading: the moment in which to change it. */
  const between = (change: (asked: number) => void): HashCache => {
    let asked = 0;
    return { get: () => (change(asked++), undefined), set: () => undefined };
  };
  test("once: the new content counts, with its size and mode", async () => {
    const file = put("x", "old");
    const cache = between((asked) => asked === 0 && (writeFileSync(file, "newer"), chmodSync(file, 0o755)));
    expect(await gather(["x"], [], cache)).toEqual([
      { kind: "file", path: "x", executable: true, size: 5, sha256: sha256("newer") },
    ]);
  });
  test("again and again: an error", async () => {
    const file = put("x");
    const error = await failure(
      gather(
        ["x"],
        [],
        between((asked) => writeFileSync(file, "y".repeat(asked + 5))),
      ),
    );
    expect(error).toMatchObject({ code: "INPUT_MISSING", what: "x changed while it was read" });
  });
  test("gone, or a link in its place: an error", async () => {
    const file = put("x");
    expect(
      (
        await failure(
          gather(
            ["x"],
            [],
            between(() => rmSync(file, { force: true })),
          ),
        )
      ).what,
    ).toContain("x changed");
    const other = put("y");
    const cache = between((asked) => asked === 0 && (unlinkSync(other), symlinkSync("/etc/passwd", other)));
    expect((await failure(gather(["y"], [], cache))).what).toContain("y changed");
  });
});

describe("remembered hashes", () => {
  /** Seen from a later hour, every file is at rest. */
  const rested = (text: string | null) => {
    const hashes = parseHashes(text);
    return {
      ...hashes,
      set: (path, stat, hash) => hashes.set(path, stat, hash, Date.now() + 3_600_000),
    } satisfies typeof hashes;
  };
  const hashOf = (entries: readonly Entry[]) => entries.flatMap((entry) => (entry.kind === "file" ? [entry.sha256] : []));

  test("an untouched file is not read again", async () => {
    put("x", "one");
    const first = rested(null);
    await gather(["x"], [], first);
    const lying = rested(first.toJson()?.replace(sha256("one"), "f".repeat(64)) ?? null);
    expect(hashOf(await gather(["x"], [], lying))).toEqual(["f".repeat(64)]);
    expect(lying.toJson()).toBe(null);
  });

  test("a change of equal size with its time put back is noticed", async () => {
    const file = put("x", "one");
    const hashes = rested(null);
    await gather(["x"], [], hashes);
    const before = statSync(file);
    do {
      writeFileSync(file, "two");
      utimesSync(file, before.atime, before.mtime);
    } while (statSync(file).ctimeMs === before.ctimeMs);
    expect(hashOf(await gather(["x"], [], hashes))).toEqual([sha256("two")]);
  });

  test("a file that was not at rest is not remembered: it may change within the same tick of the clock", async () => {
    put("x", "one");
    const hashes = parseHashes(null);
    await gather(["x"], [], hashes);
    expect(hashes.toJson()).toBe(null);
  });

  test("they are kept in a file; a broken one counts as none", async () => {
    put("x", "one");
    const kept = at("state/deep/hashes.json");
    const hashes = rested(null);
    await gather(["x"], [], hashes);
    saveHashes(kept, hashes);
    expect(readdirSync(dirname(kept))).toEqual(["hashes.json"]);
    const stat = lstatSync(at("x"));
    expect(loadHashes(kept).get(at("x"), stat)).toBe(sha256("one"));
    writeFileSync(kept, readFileSync(kept, "utf8").slice(0, -5));
    expect(loadHashes(kept).get(at("x"), stat)).toBe(undefined);
    expect(loadHashes(at("none")).toJson()).toBe(null);
  });
});
