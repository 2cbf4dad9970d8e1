import { spawnSync } from "node:child_process";
import { mkdir, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { built, command } from "../support/command.js";
import { type Ended, factory } from "../support/factory.js";
import { openToolbox, type Toolbox } from "../support/toolbox.js";

/** A state folder or a checkout that cannot be written: reading goes on, and what must write says where the way out is. */
let box: Toolbox;
let project: string;
let state: string;
beforeAll(async () => void (box = await openToolbox()));
afterAll(() => box.close());
beforeEach(async () => {
  project = await box.checkout();
  state = await box.machine("executed");
});

/** Root writes where modes forbid it: only a mount does not let it. */
const readOnly = (folder: string, cwd: string) => [
  "unshare",
  "--mount",
  "sh",
  "-c",
  'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && cd "$2" && shift 2 && exec "$@"',
  "sh",
  folder,
  cwd,
];
/** A file system of four kilobytes, all taken. */
const full = (folder: string, cwd: string) => [
  "unshare",
  "--mount",
  "sh",
  "-c",
  'mount -t tmpfs -o size=4k tmpfs "$1" && echo full >"$1/file" && cd "$2" && shift 2 && exec "$@"',
  "sh",
  folder,
  cwd,
];
const why = spawnSync("unshare", ["--mount", "true"]).status === 0 ? null : "no mount namespace can be made here";

const run = (words: readonly string[], prefix: readonly string[], folder = state): Promise<Ended> =>
  factory(
    project,
    words,
    { FACTORY_STATE: folder, FACTORY_REMOTE: "off", FACTORY_BUILDKIT: "none", FACTORY_SCOPE: "protected" },
    prefix,
  );
const refused = (code: number, name: string, ended: Ended) => {
  expect(ended.stderr).toContain(`error ${name}: `);
  expect(ended.stderr).toContain("FACTORY_STATE=DIR");
  expect(ended.code).toBe(code);
};

describe.skipIf(why !== null)(`a read-only place${why === null ? "" : ` (skipped: ${why})`}`, () => {
  test.each(["the state folder", "the checkout"])(
    "%s: plan, explain and report answer as elsewhere; build, clean and publish are refused",
    async (which) => {
      await built(project, state);
      // A change, so that there is something new to remember.
      await writeFile(join(project, "app/main.sh"), "echo changed\n");
      const folder = which === "the checkout" ? join(project, ".factory") : state;
      if (which === "the checkout") await rm(folder, { recursive: true, force: true });
      const prefix = readOnly(which === "the checkout" ? project : state, project);
      for (const words of [["plan"], ["plan", "--json"], ["explain"], ["report"]]) {
        const there = await run(words, prefix, folder);
        if (which === "the state folder") expect(there).toEqual(await run(words, [], folder));
        else expect(there.code).toBe(words[0] === "report" ? 66 : 0);
      }
      for (const words of [
        ["build"],
        ["clean"],
        ["clean", "--all"],
        ["publish"],
        ["verify:cache", "--fast"],
        ["engine", "start"],
      ])
        refused(77, "PERMISSION", await run(words, prefix, folder));
    },
  );

  test("a full disk: plan and explain answer, build says so, and clean makes room", async () => {
    const place = join(box.root, "full");
    await mkdir(place, { recursive: true });
    const prefix = full(place, project);
    for (const words of [["plan"], ["explain"]]) expect((await run(words, prefix, join(place, "state"))).code).toBe(0);
    refused(74, "DISK_FULL", await run(["build"], prefix, join(place, "state")));
    const cleaned = await run(["clean"], prefix, join(place, "state"));
    expect(cleaned.code, cleaned.stderr).toBe(0);
  });
});

describe("a state folder that is none", () => {
  test.each<[string, (path: string) => Promise<void>]>([
    ["a file", (path) => writeFile(path, "")],
    ["below a file", async (path) => writeFile(path.slice(0, path.lastIndexOf("/")), "")],
    ["a link to nowhere", (path) => symlink("/nowhere/at/all", path)],
    ["a link to itself", (path) => symlink(path, path)],
  ])("%s: plan and explain answer, the others say so", async (name, make) => {
    const path = name === "below a file" ? join(project, "file/state") : join(project, "state-folder");
    await make(path);
    for (const words of [["plan"], ["plan", "--json"], ["explain"]] as const)
      expect((await command(project, path, words[0], words.slice(1))).code, words.join(" ")).toBe(0);
    for (const words of [["build"], ["clean"], ["clean", "--all"], ["publish"]] as const)
      expect(await command(project, path, words[0], words.slice(1)), words.join(" ")).toMatchObject({
        code: 77,
        error: { code: "PERMISSION" },
      });
    expect(await readdir(project)).toContain(name === "below a file" ? "file" : "state-folder");
  });
});
