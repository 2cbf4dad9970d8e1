import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { startWeb, type Web } from "../../e2e/support/web.js";
import { images, lockOf, project, scratch, typed } from "../support/lock-command.js";

describe("a version of a tool", () => {
  let web: Web;
  const pages: Record<string, Buffer | string> = {};
  beforeAll(async () => {
    web = await startWeb((path) => pages[path]);
    const files = join(scratch, "files");
    mkdirSync(join(files, "package/bin"), { recursive: true });
    writeFileSync(join(files, "task"), "#!/bin/sh\n");
    writeFileSync(join(files, "README.md"), "read\n");
    writeFileSync(join(files, "package/bin/cli.js"), "run\n");
    const tar = (...words: string[]) => {
      const done = spawnSync("tar", ["-C", files, ...words, "-cf", join(scratch, "out")]);
      expect(done.status, String(done.stderr)).toBe(0);
      return readFileSync(join(scratch, "out"));
    };
    pages["/task-1.0.tar.gz"] = pages["/task-2.0.tar.gz"] = tar("-z", "task", "README.md");
    pages["/task-1.0.tar.xz"] = tar("-J", "./task");
    mkdirSync(join(files, "bin"));
    writeFileSync(join(files, "bin/task"), "#!/bin/sh\n");
    const zipped = spawnSync("python3", ["-m", "zipfile", "-c", join(scratch, "zip"), "bin/"], { cwd: files });
    expect(zipped.status, String(zipped.stderr)).toBe(0);
    pages["/task-1.0.zip"] = readFileSync(join(scratch, "zip"));
    pages["/page.tar.gz"] = "<html>please log in</html>";
    pages["/npm.tgz"] = tar("-z", "package");
  });
  afterAll(() => web.close());
  afterEach(() => void (web.asked.length = 0));

  const tool = (source: string, version = "1.0") =>
    project({ "images.yaml": images("{ tools: [task] }", `tools:\n  task:\n    version: "${version}"\n    ${source}\n`) });
  const download = (file: string, member: string) => tool(`download: { url: "${web.address}/${file}", member: ${member} }`);

  test("that is locked already is there already: exit 0, nothing is asked, nothing changes", async () => {
    const folder = download("task-{version}.tar.gz", "task");
    expect((await typed(folder, "lock")).code).toBe(0);
    const before = readFileSync(join(folder, "images.lock"));
    web.asked.length = 0;
    const { code, stdout } = await typed(folder, "lock", "--tool", "task", "--version", "1.0");
    expect([code, stdout]).toEqual([0, "images.lock: holds task 1.0 already\n"]);
    expect(web.asked).toEqual([]);
    expect(readFileSync(join(folder, "images.lock"))).toEqual(before);
    expect((await typed(folder, "lock", "--tool", "task", "--version", "2.0")).stdout).toMatch(/2\.0 +\+ [0-9a-f]{12}/);
    expect(Object.keys(lockOf(folder).tools.task.download)).toEqual(["1.0", "2.0"]);
  });

  test("of a tool that no image has, and of one that does not exist, are told apart", async () => {
    const folder = project({
      "images.yaml": images(
        "{}",
        `tools:\n  task: { version: "1.0", download: { url: "${web.address}/task-{version}.tar.gz" } }\n`,
      ),
    });
    expect((await typed(folder, "lock", "--tool", "task", "--version", "1.0")).error).toMatchObject({
      code: "USAGE",
      explanation: { what: "no tool task in box" },
    });
    expect((await typed(folder, "lock", "--tool", "tsk", "--version", "1.0")).error).toMatchObject({
      code: "USAGE",
      explanation: { what: "no tool tsk" },
    });
  });

  test("that is no version is refused before anyone is asked", async () => {
    const folder = download("task-{version}.tar.gz", "task");
    for (const bad of ["v1.0", "../1.0", "1 0", "1\n0"])
      expect((await typed(folder, "lock", "--tool", "task", "--version", bad)).error, bad).toMatchObject({ code: "USAGE" });
    expect(web.asked).toEqual([]);
  });

  test("of a tool that is compiled is what its source says", async () => {
    const folder = tool(`go: { source: src, toolchain: "1.26.4" }`);
    mkdirSync(join(folder, "src"));
    writeFileSync(join(folder, "src/go.mod"), "module x\n");
    writeFileSync(
      join(folder, "images.lock"),
      `format: 1\ntools: { task: { go: { "1.26.4": { linux/amd64: { url: "https://x.example/g.whl", sha256: ${"ab".repeat(32)} } } } } }\n`,
    );
    expect((await typed(folder, "lock", "--tool", "task", "--version", "1.26.4")).stdout).toBe(
      "images.lock: holds task 1.26.4 already\n",
    );
    expect((await typed(folder, "lock", "--tool", "task", "--version", "1.0")).error).toMatchObject({
      code: "USAGE",
      explanation: { why: expect.stringContaining("Go toolchain, 1.26.4") },
    });
  });

  test.each([
    ["task-1.0.tar.gz", "tsk", "tools.task.download.member", ["README.md", "task"], "task"],
    ["task-1.0.tar.gz", "bin/task", "tools.task.download.member", ["README.md", "task"], "task"],
    ["task-1.0.tar.xz", "task", "tools.task.download.member", ["./task"], "./task"],
    ["task-1.0.zip", "task", "tools.task.download.member", ["bin/task"], "bin/task"],
  ])("whose archive %s holds no %s: the place in images.yaml, and what it holds", async (file, member, path, has, near) => {
    const folder = download(file, member);
    const { code, stderr } = await typed(folder, "lock");
    expect(code).toBe(65);
    expect(stderr).toContain("error CONFIG_INVALID: images.yaml names what");
    expect(stderr).toMatch(new RegExp(`images\\.yaml:\\d+:\\d+ +${path}: no file "${member}" in ${file}`));
    for (const name of has) expect(stderr).toContain(name);
    expect(stderr).toContain(`did you mean ${near}?`);
    expect(existsSync(join(folder, "images.lock")) && lockOf(folder).tools.task).toBeFalsy();
  });

  test.each([
    ["task-1.0.tar.gz", "task"],
    ["task-1.0.tar.xz", "./task"],
    ["task-1.0.zip", "bin/task"],
  ])("whose archive %s holds %s is locked", async (file, member) => {
    expect((await typed(download(file, member), "lock")).code).toBe(0);
  });

  test("whose member changes after it was locked is looked at again: by plan without a download, by lock with one", async () => {
    const folder = download("task-1.0.tar.gz", "task");
    expect((await typed(folder, "lock")).code).toBe(0);
    const edit = (member: string) => {
      const path = join(folder, "images.yaml");
      writeFileSync(path, readFileSync(path, "utf8").replace(/member: \S+/, `member: ${member}`));
    };
    edit("tsk");
    web.asked.length = 0;
    expect((await typed(folder, "plan")).error).toMatchObject({
      code: "VERSION_UNKNOWN",
      explanation: { why: expect.stringContaining("of another package, or for other files of it") },
    });
    expect(web.asked).toEqual([]);
    expect((await typed(folder, "lock")).code).toBe(65);
    edit("README.md");
    expect((await typed(folder, "lock")).code).toBe(0);
    expect((await typed(folder, "lock", "--check")).code).toBe(0);
  });

  test("whose archive is a page of a login", async () => {
    const { code, stderr } = await typed(download("page.tar.gz", "task"), "lock");
    expect(code).toBe(76);
    expect(stderr).toContain("error MIRROR_FAILED: page.tar.gz cannot be read as a tar archive");
  });

  test("by npm: a command whose file the package lacks", async () => {
    const sha1 = spawnSync("sha1sum", { input: pages["/npm.tgz"] as Buffer })
      .stdout.toString()
      .slice(0, 40);
    pages["/thing/1.0"] = JSON.stringify({ dist: { tarball: `${web.address}/npm.tgz`, shasum: sha1 } });
    const npm = (file: string) => tool(`npm: { package: thing, bin: { task: ${file} } }`);
    process.env["npm_config_registry"] = web.address;
    try {
      expect((await typed(npm("./bin/cli.js"), "lock")).code).toBe(0);
      // The same version of another package is another file, whatever the lock holds.
      const folder = npm("bin/cli.js");
      expect((await typed(folder, "lock")).code).toBe(0);
      const path = join(folder, "images.yaml");
      writeFileSync(path, readFileSync(path, "utf8").replace("package: thing", "package: other"));
      expect((await typed(folder, "plan")).error).toMatchObject({
        code: "VERSION_UNKNOWN",
        explanation: { why: expect.stringContaining("of another package, or for other files of it") },
      });
      expect((await typed(folder, "lock")).code).toBe(67);
      const { code, stderr } = await typed(npm("cli.js"), "lock");
      expect(code).toBe(65);
      expect(stderr).toMatch(/tools\.task\.npm\.bin: no file "cli\.js" in npm\.tgz .*did you mean bin\/cli\.js\?/);
    } finally {
      delete process.env["npm_config_registry"];
    }
  });
});
