import { mkdirSync, readdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { replaceInside } from "../../../ci/host/replace-inside.js";
import type { HashCache } from "../../../dagger/src/filesystem/hash-file.js";
import { takeSnapshot } from "../../../dagger/src/filesystem/take-snapshot.js";
import { foldersInside } from "../../../dagger/src/filesystem/folders-inside.js";
import { compileIgnore } from "../../../dagger/src/pipeline/context/dockerignore.js";
import { failure, scratchFolder, sha256 } from "../../fixtures/scratch.js";

const scratch = scratchFolder();
const at = (path: string) => scratch.at(join("project", path));
const put = (path: string, text = path) => scratch.put(join("project", path), text);

/** A folder beside the project, as another process puts a link to it in the place of one of the project's. */
const outside = (name: string): string => {
  const folder = scratch.at(`${name}-outside`);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "file"), "a secret of the host");
  return folder;
};
const swap = (path: string, to: string): void => {
  renameSync(at(path), at(`${path}-before`));
  symlinkSync(to, at(path));
};
const wanted = (...roots: readonly string[]) => ({ roots, texts: [], ignore: [] });

describe("a folder that another process replaces by a link while a context is read", () => {
  test("after its parent was listed", async () => {
    put("app/sub/file", "ours");
    const host = outside("listed");
    const ignore = compileIgnore([]);
    const swapping = {
      ...ignore,
      ignores: (path: string) => ignore.ignores(path),
      decidedBy: (path: string) => ignore.decidedBy(path),
      // Asked about each folder between the listing that found it and its own.
      canSkip: (path: string) => {
        if (path === "app/sub" && readdirSync(at("app")).length === 1) swap("app/sub", host);
        return false;
      },
    };
    const { entries } = await takeSnapshot(at("."), wanted("app"), { ignore: swapping });
    expect(entries).toEqual([
      { kind: "directory", path: "app" },
      { kind: "symlink", path: "app/sub", target: host },
      { kind: "directory", path: "app/sub-before" },
      { kind: "file", path: "app/sub-before/file", executable: false, size: 4, sha256: sha256("ours") },
    ]);
  });

  test.each([
    ["small", 4],
    ["large", 2 << 20],
  ])("between the listing and the reading of its files, one that is %s", async (name, size) => {
    put("a/first", "first");
    put("b/file", "x".repeat(size));
    const host = outside(name);
    let swapped = false;
    const cache: HashCache = {
      get: () => {
        if (!swapped) swap("b", host);
        swapped = true;
        return undefined;
      },
      set: () => undefined,
    };
    const found = await failure(takeSnapshot(at("."), wanted("a", "b"), { cache }));
    expect(swapped).toBe(true);
    expect(found).toMatchObject({ code: "INPUT_MISSING", what: "b/file changed while it was read" });
  });
});

test("what is below a deep folder is read from the folder itself, also after others were entered", () => {
  put("a/b/c/file", "c");
  put("a/d/file", "d");
  const folders = foldersInside(at("."));
  const read = (directory: string) => folders.within(directory, (name) => readFileSync(`${name}/file`, "utf8"));
  expect([read("a/b/c"), read("a/d"), read("a/b/c")]).toEqual(["c", "d", "c"]);
  expect(() => read("a/none")).toThrow(expect.objectContaining({ code: "ENOENT", path: at("a/none") }));
  expect(() => read("a")).toThrow(expect.objectContaining({ code: "ENOENT", path: at("a/file") }));
  expect(read("a/d")).toBe("d");
  folders.close();
});

describe("a file of the project that is written", () => {
  beforeEach(() => mkdirSync(at("."), { recursive: true }));

  test("is replaced whole, in folders that are made", () => {
    replaceInside(at("."), "new/folder/file", "one");
    replaceInside(at("."), "new/folder/file", "two");
    replaceInside(at("."), "file", "three");
    expect(readdirSync(at("new/folder"))).toEqual(["file"]);
    expect([readFileSync(at("new/folder/file"), "utf8"), readFileSync(at("file"), "utf8")]).toEqual(["two", "three"]);
  });

  test("takes the place of a link, and leaves what that led to", () => {
    const host = outside("link");
    symlinkSync(join(host, "file"), at("file"));
    replaceInside(at("."), "file", "ours");
    expect(readFileSync(at("file"), "utf8")).toBe("ours");
    expect(readFileSync(join(host, "file"), "utf8")).toBe("a secret of the host");
  });

  test.each([
    ["a link", "linked/file"],
    ["a link that leads nowhere", "dangling/file"],
    ["a way out", "../file"],
  ])("is refused behind %s", (_, path) => {
    const host = outside("refused");
    symlinkSync(host, at("linked"));
    symlinkSync(join(host, "none"), at("dangling"));
    expect(() => replaceInside(at("."), path, "text")).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
    expect(readdirSync(host)).toEqual(["file"]);
  });

  test("stays in the folder that was entered, when a link takes the folder's place meanwhile", () => {
    put("out/kept", "kept");
    const host = outside("written");
    const folders = foldersInside(at("."));
    folders.within("out", (name) => {
      swap("out", host);
      writeFileSync(`${name}/file`, "ours");
    });
    folders.close();
    expect(readFileSync(join(host, "file"), "utf8")).toBe("a secret of the host");
    expect(readFileSync(at("out-before/file"), "utf8")).toBe("ours");
  });
});
