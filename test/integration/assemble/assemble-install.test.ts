import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { getuid } from "node:process";
import { afterEach, beforeEach, expect, test } from "vitest";
import { run } from "../../../ci/host/process.js";
import { parentIndexOf } from "../../../dagger/src/pipeline/contents/parent-index.js";
import { assembleLayer } from "../../../dagger/src/pipeline/layer/plan-layer.js";
import type { FileIndex, StageEntry } from "../../../dagger/src/pipeline/contents/file-entry.js";
import type { Step } from "../../../dagger/src/pipeline/steps/step.js";
import { walk } from "./walk-folder.js";

let folder = "";
beforeEach(({ skip }) => {
  skip(getuid?.() !== 0, "only root can give files to others, which is what these tests look at");
  folder = mkdtempSync(join(tmpdir(), "factory-unpack-"));
});
afterEach(() => {
  if (folder !== "") rmSync(folder, { recursive: true, force: true });
});

const succeed = async (program: string, args: readonly string[]) => {
  const { exitCode, stdout, stderr } = await run(program, args);
  expect(`${exitCode} ${stderr}`).toMatch(/^0 /);
  return stdout;
};

test.each([
  [
    "install -d of a new directory",
    ["install", "-d", "-m", "2750", "-o", "7", "-g", "8", "/a/b/c"],
    { do: "directory", path: "/a/b/c", owner: "7:8", mode: "2750" },
  ],
  [
    "install -d of one that is there",
    ["install", "-d", "-m", "700", "-o", "7", "-g", "8", "/plain"],
    { do: "directory", path: "/plain", owner: "7:8", mode: "700" },
  ],
  [
    "install -d of one with sticky bit",
    ["install", "-d", "-m", "755", "-o", "0", "-g", "0", "/tmp"],
    { do: "directory", path: "/tmp", owner: "0:0", mode: "755" },
  ],
  [
    "install -d below setgid",
    ["install", "-d", "-m", "755", "-o", "7", "-g", "8", "/shared/a/b"],
    { do: "directory", path: "/shared/a/b", owner: "7:8", mode: "755" },
  ],
  [
    "install -D of a file",
    ["install", "-D", "-m", "4751", "-o", "7", "-g", "8", "/dev/null", "/a/b/f"],
    { do: "file", path: "/a/b/f", owner: "7:8", mode: "4751", source: { text: "" } },
  ],
  [
    "install -D below setgid",
    ["install", "-D", "-m", "644", "-o", "0", "-g", "0", "/dev/null", "/shared/a/f"],
    { do: "file", path: "/shared/a/f", owner: "0:0", mode: "644", source: { text: "" } },
  ],
] as [string, string[], Step][])("%s leaves what the assembler leaves", async (_name, [program, ...args], step) => {
  const root = join(folder, "root");
  for (const path of ["plain", "tmp", "shared"]) mkdirSync(join(root, path), { recursive: true });
  chmodSync(join(root, "tmp"), 0o1777);
  chownSync(join(root, "shared"), 0, 50);
  chmodSync(join(root, "shared"), 0o2775);
  const index = (list: StageEntry[]): FileIndex => ({ format: 1, entries: list, accounts: {}, packages: { manager: "none" } });
  const before = index(walk(root));
  const { next } = assembleLayer([step], parentIndexOf(before), new Map());
  // The last word is the path; -o and -g and modes have no slash in front.
  await succeed(
    program!,
    args.map((word, at) => (at === args.length - 1 ? join(root, word) : word)),
  );
  expect(parentIndexOf(index(walk(root)))).toEqual(next);
});
