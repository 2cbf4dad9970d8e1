import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { execFileSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { takeSnapshot, measureContext } from "../../../dagger/src/filesystem/take-snapshot.js";
import { compileIgnore } from "../../../dagger/src/pipeline/context/dockerignore.js";
import { failure, paths, sha256, scratchFolder } from "../../fixtures/scratch.js";

const { at, put, gather } = scratchFolder();

describe("entries", () => {
  test("files, links and folders, sorted by code unit, each once", async () => {
    put("app/b.txt", "bee");
    chmodSync(put("app/a-run", "#!/bin/sh\n"), 0o700);
    put("app/a/x");
    put("app/ä");
    put("other/file");
    mkdirSync(at("app/empty"));
    symlinkSync("../other", at("app/link"));
    expect(await gather(["app", "./app/a/", "app/b.txt"])).toEqual([
      { kind: "directory", path: "app" },
      { kind: "directory", path: "app/a" },
      {
        kind: "file",
        path: "app/a-run",
        executable: true,
        size: 10,
        sha256: sha256("#!/bin/sh\n"),
      },
      { kind: "file", path: "app/a/x", executable: false, size: 7, sha256: sha256("app/a/x") },
      { kind: "file", path: "app/b.txt", executable: false, size: 3, sha256: sha256("bee") },
      { kind: "directory", path: "app/empty" },
      { kind: "symlink", path: "app/link", target: "../other" },
      { kind: "file", path: "app/ä", executable: false, size: 6, sha256: sha256("app/ä") },
    ]);
  });

  test("a root can be a file, a link, or the whole context", async () => {
    put("one");
    symlinkSync("nowhere", at("two"));
    expect(paths(await gather(["one"]))).toEqual(["one"]);
    expect(paths(await gather(["two"]))).toEqual(["two"]);
    expect(paths(await gather(["."]))).toEqual(["one", "two"]);
  });

  test("large files are hashed whole", async () => {
    const bytes = Buffer.alloc(3_500_000, "0123456789");
    for (const name of ["a", "b", "c", "d", "e", "f"]) writeFileSync(at(name), Buffer.concat([bytes, Buffer.from(name)]));
    const hashes = (await gather(["."])).map((entry) => (entry.kind === "file" ? entry.sha256 : ""));
    expect(hashes).toEqual(["a", "b", "c", "d", "e", "f"].map((name) => sha256(Buffer.concat([bytes, Buffer.from(name)]))));
  });

  test("a folder above an exception comes along, an ignored one without does not", async () => {
    for (const path of ["a/keep/x", "a/drop/x", "b/x"]) put(path);
    expect(paths(await gather(["."], ["a", "b", "!a/keep"]))).toEqual(["a", "a/keep", "a/keep/x"]);
  });

  test("an ignored tree is never read", async () => {
    put("app/x");
    put("app/.venv/deep/y");
    execFileSync("mkfifo", [at("app/.venv/pipe")]);
    expect(paths(await gather(["app"], ["**/.venv"]))).toEqual(["app", "app/x"]);
  });
});

describe("roots that cannot be sent", () => {
  test("missing", async () => {
    expect(await failure(gather(["app"]))).toMatchObject({
      code: "INPUT_MISSING",
      what: "app is not in the context",
    });
    put("app/x");
    expect((await failure(gather(["app/src/y"]))).why).toBe("app holds no src");
    expect((await failure(gather(["app/x/y"]))).why).toBe("app/x is not a folder");
    expect((await failure(takeSnapshot(at("no"), { roots: ["a"], texts: [], ignore: [] }))).code).toBe("INPUT_MISSING");
  });
  test("ignored: the line that wins is named", async () => {
    put("app/docs/x.md");
    const error = await failure(gather(["app/docs"], ["**/*.md", "app/d*"]));
    expect(error).toMatchObject({ code: "INPUT_MISSING", what: "app/docs is not in the context" });
    expect(error.why).toContain('the ignore line "app/d*"');
    expect(paths(await gather(["app/docs"], ["app/d*", "!app/docs/x.md"]))).toEqual(["app/docs", "app/docs/x.md"]);
  });
  test("outside, or behind a link", async () => {
    put("real/x");
    symlinkSync("real", at("link"));
    expect((await failure(gather(["../x"]))).code).toBe("CONFIG_INVALID");
    expect((await failure(gather(["/etc"]))).code).toBe("CONFIG_INVALID");
    expect((await failure(gather(["link/x"]))).why).toContain("link is a symbolic link");
  });
});

describe("what no image can hold", () => {
  test.each([
    ["a pipe", () => execFileSync("mkfifo", [at("app/pipe")]), "app/pipe"],
    ["a whiteout", () => put("app/.wh.x"), "app/.wh.x"],
    ["a folder named like a whiteout", () => put("app/.wh..wh..opq/x"), "app/.wh..wh..opq"],
    [
      "a name that is not UTF-8",
      () => writeFileSync(Buffer.concat([Buffer.from(`${at("app")}/`), Buffer.from([0xff, 0x61])]), ""),
      "app/\uFFFDa",
    ],
  ])("%s", async (_, make, path) => {
    put("app/x");
    make();
    const error = await failure(gather(["app"]));
    expect(error).toMatchObject({
      code: "CONFIG_INVALID",
      what: `cannot take ${path} into an image`,
    });
    expect(paths(await gather(["app"], [path.includes("\uFFFD") ? "app/?a" : path]))).toEqual(["app", "app/x"]);
  });
  test("a name may hold U+FFFD itself", async () => {
    put("app/\uFFFD");
    expect(paths(await gather(["app"]))).toEqual(["app", "app/\uFFFD"]);
  });
});

test("texts are read where they exist", async () => {
  put("app/pyproject.toml", "[project]\n");
  const { texts } = await takeSnapshot(at(""), {
    roots: ["app"],
    texts: ["app/pyproject.toml", "app/setup.py", "no/x"],
    ignore: [],
  });
  expect([...texts]).toEqual([["app/pyproject.toml", "[project]\n"]]);
  writeFileSync(at("app/latin"), Buffer.from([0xe4]));
  expect((await failure(takeSnapshot(at(""), { roots: [], texts: ["app/latin"], ignore: [] }))).code).toBe("CONFIG_INVALID");
});

test("a context is measured without what is ignored, and the same whatever of it is known already", async () => {
  put("a", "123");
  put("b/c", "12345");
  put("b/d.log", "1234567");
  symlinkSync("a", at("link"));
  const ignore = ["**/*.log"];
  expect(measureContext(at(""), compileIgnore(ignore))).toEqual({ files: 2, bytes: 8 });
  for (const roots of [["b"], ["./b/"], ["a"], ["a", "b/c"], ["b", "b/c"], ["."]]) {
    const { entries } = await takeSnapshot(at(""), { roots, texts: [], ignore });
    expect(measureContext(at(""), compileIgnore(ignore), { roots, entries })).toEqual({ files: 2, bytes: 8 });
  }
});
