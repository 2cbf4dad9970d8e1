import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { run } from "../../../ci/host/process.js";
import { openProject } from "../../../ci/project/project.js";
import { neededKeys } from "../../../ci/prune/needed-keys.js";
import { quietWorld } from "../../fixtures/quiet-world.js";
import { errorOf } from "../support/client.js";
import { openPublished, type PublishedProject } from "../support/published.js";

/** What a commit's plan is made from is what a clean checkout of it holds: then nothing differs, whatever git is told to do on the way. */
describe("the project as it was at a commit", () => {
  let project: PublishedProject;
  let other = "";
  beforeEach(async () => {
    project = await openPublished("registry.example");
    other = await mkdtemp(join(tmpdir(), "factory-other-"));
  });
  afterEach(async () => {
    await project.close();
    await rm(other, { recursive: true, force: true });
  });

  const gitIn = async (folder: string, ...words: string[]) => {
    const who = ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "protocol.file.allow=always"];
    const done = await run("git", ["-C", folder, ...who, ...words]);
    if (done.exitCode !== 0) throw new Error(done.stderr);
    return done.stdout.trim();
  };
  const git = (...words: string[]) => gitIn(project.folder, ...words);
  /** All files of the newest commit written again, as a clone has them. */
  const checkOutAgain = async () => {
    await git("rm", "-r", "--quiet", "--cached", ".");
    await git("reset", "--quiet", "--hard");
  };
  const since = async (commit: string): Promise<string[]> => {
    const { stdout } = await project.factory("explain", ["--since", commit, "--json"]);
    return (JSON.parse(stdout) as { stages: { action: string }[] }).stages.map(({ action }) => action);
  };
  const nothing = ["reuse", "reuse", "reuse", "reuse"];
  /** A repository with one file, and another one in it as `inner`, where one is given. */
  const library = async (name: string, inner?: string) => {
    const folder = join(other, name);
    await run("git", ["init", "--quiet", "--initial-branch=main", folder]);
    await writeFile(join(folder, "file"), `${name}\n`);
    if (inner !== undefined) await gitIn(folder, "submodule", "--quiet", "add", inner, "inner");
    await gitIn(folder, "add", ".");
    await gitIn(folder, "commit", "--quiet", "--message", "library");
    return folder;
  };

  test.each<[string, Record<string, string>]>([
    ["export-ignore", { ".gitattributes": "app/hidden export-ignore\n", "app/hidden": "1\n" }],
    ["export-ignore of a folder", { ".gitattributes": "/app export-ignore\n" }],
    ["export-subst", { ".gitattributes": "app/version export-subst\n", "app/version": "$Format:%H$\n" }],
    ["ident", { ".gitattributes": "app/ident ident\n", "app/ident": "$Id$\n" }],
    ["line ends", { ".gitattributes": "*.txt text eol=crlf\n", "app/lines.txt": "one\ntwo\n" }],
    ["line ends of a folder's own", { "app/.gitattributes": "*.txt text eol=crlf\n", "app/lines.txt": "one\n" }],
    ["another encoding", { ".gitattributes": "*.txt text working-tree-encoding=UTF-16LE\n", "app/utf16.txt": "o\0n\0e\0" }],
    ["names that git quotes", { 'app/na"me\twith\nall ü': "1\n", "app/ -x": "1\n" }],
    [
      "a large file pointer",
      { ".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n", "app/a.bin": "version https://git-lfs…\n" },
    ],
  ])("a clean checkout differs in nothing: %s", async (_, files) => {
    await project.commit(files);
    await checkOutAgain();
    expect(await since("HEAD")).toEqual(nothing);
    await project.commit({ "app/a": "3\n" });
    expect((await since("HEAD~1"))[2]).toBe("assemble");
  });

  test("with line ends as the user's own configuration has them", async () => {
    await git("config", "core.autocrlf", "true");
    await checkOutAgain();
    expect(await since("HEAD")).toEqual(nothing);
  });

  test("a context that is the whole folder holds no state of ours", async () => {
    const yaml = (await run("cat", [join(project.folder, "images.yaml")])).stdout;
    await project.commit({
      "images.yaml": `${yaml}  second: { repository: second, platforms: [linux/amd64], base: { bootstrap: debian, suite: bookworm, packages: apt }, stages: { base-tools: {}, dependencies: {}, application: { to: /all, copy: [.] }, runtime: {} } }\n`,
    });
    const { stdout } = await project.factory("explain", ["--image", "second", "--since", "HEAD", "--json"]);
    expect((JSON.parse(stdout) as { stages: { action: string }[] }).stages.map(({ action }) => action)).toEqual(nothing);
  });

  test("submodules, with those in them", async () => {
    await git("submodule", "--quiet", "add", await library("outer", await library("inner")), "app/lib");
    await git("submodule", "--quiet", "update", "--init", "--recursive");
    await git("commit", "--quiet", "--message", "a submodule");
    expect(await since("HEAD")).toEqual(nothing);
    // The objects of one that is not checked out any more are still here.
    await git("rm", "--quiet", "-f", "app/lib");
    await git("commit", "--quiet", "--message", "without it");
    const { stdout } = await project.factory("explain", ["--since", "HEAD~1"]);
    expect(stdout).toContain("app/lib/inner/file");
  });

  test("a submodule that is not here makes the plan unknown, where an image reads it", async () => {
    const url = await library("outer");
    await git("submodule", "--quiet", "add", url, "docs");
    await git("commit", "--quiet", "--message", "a submodule that no image reads");
    await git("submodule", "--quiet", "add", url, "app/lib");
    await git("commit", "--quiet", "--message", "one that the image reads");
    const clone = join(other, "clone");
    await run("git", ["clone", "--quiet", `file://${project.folder}`, clone]);
    const { world } = quietWorld({ cwd: clone, env: { ...process.env, FACTORY_STATE: join(other, "state") } });
    const { unknown } = await neededKeys(await openProject(world), world, [], 2);
    expect(unknown).toEqual([
      {
        commit: 0,
        why: expect.stringMatching(
          /is unknown: .*app\/lib cannot be read.*the submodule is not here; type: git submodule update --init -- app\/lib/s,
        ),
      },
    ]);
  });

  test("no hook and no filter of a configuration runs, and what a filter would write is unknown", async () => {
    const trace = join(other, "trace");
    const program = join(other, "program");
    await writeFile(program, `#!/bin/sh\necho "$0 $*" >> ${trace}\ncat\n`, { mode: 0o755 });
    await project.commit({ ".gitattributes": "*.secret filter=own\n", "app/b": "1\n", "other.secret": "1\n" });
    for (const [key, value] of [
      ["filter.own.smudge", program],
      ["core.fsmonitor", program],
      ["core.hooksPath", other],
    ])
      await git("config", key!, value!);
    for (const hook of ["post-index-change", "post-checkout"])
      await writeFile(join(other, hook), `#!/bin/sh\necho ${hook} >> ${trace}\n`, { mode: 0o755 });
    // No image reads the filtered file.
    expect(await since("HEAD")).toEqual(nothing);
    expect(existsSync(trace)).toBe(false);
    await git("config", "--unset", "core.fsmonitor");
    await git("config", "--unset", "core.hooksPath");
    await project.commit({ "app/b.secret": "1\n" });
    await rm(trace, { force: true });
    expect(await errorOf(project.factory("explain", ["--since", "HEAD"]))).toMatchObject({
      code: "PLAN_UNKNOWN",
      explanation: { what: expect.stringContaining("unknown: app/b.secret"), why: expect.stringContaining("filter own") },
    });
    expect(existsSync(trace)).toBe(false);
  });

  test("what is no commit is told, and never an option of git", async () => {
    for (const word of ["no-such", "--output=/tmp/x", "-h", "HEAD:app", ""])
      expect(await errorOf(project.factory("explain", ["--since", word]))).toMatchObject({ code: "USAGE" });
  });

  test("a commit that cannot be planned is unknown, and prune deletes nothing; one from before the project needs nothing", async () => {
    const yaml = (await run("cat", [join(project.folder, "images.yaml")])).stdout;
    const { world } = quietWorld({ cwd: project.folder, env: { ...process.env, FACTORY_STATE: join(other, "state") } });
    const unknownOf = async (count: number) => (await neededKeys(await openProject(world), world, ["box"], count)).unknown;
    await project.commit({ "images.yaml": "images: broken\n" });
    await project.commit({ "images.yaml": yaml });
    expect(await unknownOf(3)).toEqual([{ commit: 1, why: expect.stringContaining("is unknown: the plan at") }]);
    expect(await errorOf(project.factory("explain", ["--since", "HEAD~1"]))).toMatchObject({
      code: "CONFIG_INVALID",
      explanation: { what: expect.stringContaining("the plan at HEAD~1 is unknown") },
    });
    const refused = await errorOf(project.factory("prune", ["--yes", "--keep", "3"]));
    expect(refused).toMatchObject({ code: "PLAN_UNKNOWN", explanation: { fix: expect.stringContaining("KEEP=1") } });
    await git("rm", "--quiet", "images.yaml");
    await git("commit", "--quiet", "--message", "no project");
    await project.commit({ "images.yaml": yaml });
    expect(await unknownOf(2)).toEqual([]);
    await git("mv", "images.yaml", "app/images.yaml");
    await git("commit", "--quiet", "--message", "elsewhere");
    await git("mv", "app/images.yaml", "images.yaml");
    await git("commit", "--quiet", "--message", "back");
    expect(await unknownOf(2)).toEqual([{ commit: 1, why: expect.stringContaining("stood at app/images.yaml") }]);
  });
});
