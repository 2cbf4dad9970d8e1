import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { remembered } from "../../../ci/state/parsed-files.js";
import { parseLock, parseSpec } from "../../../dagger/src/pipeline/config/parse.js";

let folder = "";
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), "remembered-"))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Makes a value and counts how often. */
const counted = () => {
  const made: string[] = [];
  const make = async (text: string) => {
    made.push(text);
    return { text, length: text.length };
  };
  return { made, of: (text: string, where: string | null = folder) => remembered("spec", text, make, where) };
};

describe("what was made from a text", () => {
  test("is made once for a text, and again for another", async () => {
    const { made, of } = counted();
    const first = await of("a: 1");
    expect(await of("a: 1")).toEqual(first);
    expect(await of("a: 2")).toEqual({ text: "a: 2", length: 4 });
    expect(await of("a: 1")).toEqual(first);
    expect(made).toEqual(["a: 1", "a: 2", "a: 1"]);
    expect(readdirSync(folder)).toEqual(["spec.json"]);
  });

  test.each(["", "{", "null", "[]", '{"sha256":1,"value":2}'])("is made again when its note reads %j", async (damage) => {
    const { made, of } = counted();
    await of("a: 1");
    writeFileSync(join(folder, "spec.json"), damage);
    expect(await of("a: 1")).toEqual({ text: "a: 1", length: 4 });
    expect(made).toHaveLength(2);
  });

  test("is made each time where nothing can be kept", async () => {
    const { made, of } = counted();
    writeFileSync(join(folder, "file"), "");
    for (const where of [null, join(folder, "file", "below")]) {
      expect(await of("a: 1", where)).toEqual({ text: "a: 1", length: 4 });
    }
    expect(made).toHaveLength(2);
  });

  test("is not kept when making it fails", async () => {
    const fail = () => Promise.reject(new Error("bad text"));
    await expect(remembered("spec", "a: 1", fail, folder)).rejects.toThrow("bad text");
    expect(readdirSync(folder)).toEqual([]);
  });
});

test("images.yaml and images.lock lose nothing in JSON", () => {
  const root = fileURLToPath(new URL("../../../", import.meta.url));
  const read = (name: string) => readFileSync(join(root, name), "utf8");
  for (const { value } of [parseSpec(read("images.yaml")), parseLock(read("images.lock"))]) {
    expect(value).not.toBeNull();
    expect(JSON.parse(JSON.stringify(value))).toStrictEqual(value);
  }
});
