import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { replaceInside } from "../../../ci/host/replace-inside.js";
import { openImage, openProject } from "../../../ci/project/project.js";
import { textInside } from "../../../dagger/src/filesystem/read-inside.js";

const spec = (context: string) => `registry: registry.example
images:
  box:
    repository: box
    context: ${context}
    platforms: [linux/amd64]
    base: { image: "debian:12@sha256:${"0".repeat(64)}", packages: apt }
    stages: { base-tools: {}, dependencies: {}, application: {}, runtime: {} }
`;

let root = "";
let outside = "";
beforeEach(() => {
  const folder = mkdtempSync(join(tmpdir(), "inside-"));
  [root, outside] = [join(folder, "project"), join(folder, "outside")];
  mkdirSync(join(root, "app"), { recursive: true });
  mkdirSync(outside);
  for (const name of ["images.yaml", "images.lock", ".dockerignore"])
    writeFileSync(join(outside, name), "the-host's-own: words\n");
  writeFileSync(join(root, "images.yaml"), spec("app"));
});

/** What a command that reads the project ends with. */
const open = async () => {
  const project = await openProject({ cwd: root, env: { FACTORY_STATE: join(root, ".factory") } });
  return openImage(project, undefined);
};

const refused = async (words: string) => {
  const error: unknown = await open().catch((caught: unknown) => caught);
  expect(error).toMatchObject({ code: "CONFIG_INVALID", message: expect.stringContaining(words) });
  expect(JSON.stringify(error)).not.toContain("the-host's-own");
};

const kinds: Record<string, [make: (path: string) => void, words: string]> = {
  "a symbolic link": [(path) => symlinkSync(join(outside, path.split("/").at(-1)!), path), "it is a symbolic link"],
  "a link to nothing": [(path) => symlinkSync(join(outside, "nothing"), path), "it is a symbolic link"],
  "a link to the process": [(path) => symlinkSync("/proc/self/environ", path), "it is a symbolic link"],
  "a link to a device": [(path) => symlinkSync("/dev/zero", path), "it is a symbolic link"],
  "a pipe": [(path) => execFileSync("mkfifo", [path]), "a pipe, a socket or a device"],
  "a folder": [(path) => mkdirSync(path), "it is a folder"],
  "a huge file": [
    (path) => {
      writeFileSync(path, "");
      truncateSync(path, 65 << 20);
    },
    "it is larger than",
  ],
};

describe.each(["images.yaml", "images.lock", "app/.dockerignore"])("%s", (name) => {
  test.each(Object.entries(kinds))("is not read where it is %s", async (_, [make, words]) => {
    execFileSync("rm", ["-f", join(root, name)]);
    make(join(root, name));
    await refused(words);
  });
});

describe("a context", () => {
  test("is not a link", async () => {
    symlinkSync(outside, join(root, "link"));
    writeFileSync(join(root, "images.yaml"), spec("link"));
    await refused("link");
  });
  test("is not behind a link", async () => {
    mkdirSync(join(outside, "deep"));
    symlinkSync(outside, join(root, "link"));
    writeFileSync(join(root, "images.yaml"), spec("link/deep"));
    await refused("link");
  });
  test("that is a folder of the project is read", async () => {
    await expect(open()).resolves.toMatchObject({ folder: join(root, "app") });
  });
});

test("a path does not lead out by ..", () => {
  expect(() => textInside(root, "../outside/images.yaml", 100)).toThrow("it leads out of the project");
});

test("what is not there is null, what is as large as it may be is read whole", () => {
  writeFileSync(join(root, "text"), "1234567890");
  expect(textInside(root, "absent", 10)).toBeNull();
  expect(textInside(root, "app/absent/deep", 10)).toBeNull();
  expect(textInside(root, "text", 10)).toBe("1234567890");
  expect(() => textInside(root, "text", 9)).toThrow("it is larger than");
});

test("what is rendered is not written through a linked folder", () => {
  symlinkSync(outside, join(root, "builder"));
  for (const path of ["builder/Dockerfile", "builder/new/Dockerfile", "../outside/Dockerfile"]) {
    expect(() => replaceInside(root, path, "FROM scratch\n")).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
  }
  for (const name of ["Dockerfile", "new/Dockerfile"]) expect(existsSync(join(outside, name))).toBe(false);
  replaceInside(root, "a/b/Dockerfile", "FROM scratch\n");
  expect(readFileSync(join(root, "a/b/Dockerfile"), "utf8")).toBe("FROM scratch\n");
});
