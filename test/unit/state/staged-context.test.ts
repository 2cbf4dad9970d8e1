import { chmodSync, existsSync, lstatSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { stageContext } from "../../../ci/state/staged-context.js";
import { takeSnapshot } from "../../../dagger/src/filesystem/take-snapshot.js";
import { failure, paths, scratchFolder } from "../../fixtures/scratch.js";

const { at, put, gather } = scratchFolder();

describe("a staged context", () => {
  const mode = (path: string) => (lstatSync(path).mode & 0o7777).toString(8);
  const store = () => at(".store");

  test("holds exactly the entries, with plain modes, under a name that follows the content", async () => {
    chmodSync(put("app/run", "x"), 0o4711);
    chmodSync(put("app/sub/data", "y"), 0o664);
    put("app/not-this");
    mkdirSync(at("app/empty"), { mode: 0o700 });
    symlinkSync("/run/secret", at("app/link"));
    const entries = await gather(["app/run", "app/sub", "app/empty", "app/link"]);
    const staged = await stageContext(at(""), entries, store());
    expect(
      paths(await takeSnapshot(staged, { roots: ["."], texts: [], ignore: [] }).then((snapshot) => snapshot.entries)),
    ).toEqual(["app", ...paths(entries)]);
    expect(["", "app", "app/empty", "app/run", "app/sub/data"].map((path) => mode(join(staged, path)))).toEqual([
      "755",
      "755",
      "755",
      "755",
      "644",
    ]);
    put("app/sub/data", "z");
    expect(await stageContext(at(""), await gather(["app/sub"]), store())).not.toBe(staged);
  });

  test("is made once, and fixed when it was damaged", async () => {
    const entries = (put("a", "one"), put("b", "two"), await gather(["a", "b"]));
    const staged = await stageContext(at(""), entries, store());
    const made = lstatSync(join(staged, "a")).ino;
    expect(await stageContext(at(""), entries.toReversed(), store())).toBe(staged);
    expect(lstatSync(join(staged, "a")).ino).toBe(made);
    writeFileSync(join(staged, "extra"), "");
    expect(await stageContext(at(""), entries, store())).toBe(staged);
    expect(readdirSync(staged)).toEqual(["a", "b"]);
  });

  test("several at once give one folder", async () => {
    const entries = (put("a"), put("b"), await gather(["a", "b"]));
    const all = await Promise.all(Array.from({ length: 5 }, () => stageContext(at(""), entries, store())));
    expect(new Set(all).size).toBe(1);
    expect(readdirSync(store()).length).toBe(1);
  });

  test.each([
    ["changed", () => put("a", "ONE")],
    ["gone", () => rmSync(at("a"))],
    ["a folder by now", () => (rmSync(at("a")), mkdirSync(at("a")))],
  ])("a file that is %s is not sent, and nothing is left behind", async (_, change) => {
    const entries = (put("a", "one"), put("b", "two"), await gather(["a", "b"]));
    change();
    expect(await failure(stageContext(at(""), entries, store()))).toMatchObject({
      code: "INPUT_MISSING",
      what: "a changed while it was being sent",
    });
    expect(existsSync(store()) ? readdirSync(store()) : []).toEqual([]);
  });
});
