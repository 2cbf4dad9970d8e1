import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { atCommit, newestCommits } from "../../../ci/project/at-commit.js";
import { run } from "../../../ci/host/process.js";
import { openProject } from "../../../ci/project/project.js";
import { errorOf } from "../support/client.js";
import { openPublished, type PublishedProject } from "../support/published.js";

let project: PublishedProject;
beforeAll(async () => {
  project = await openPublished("registry.example");
  await project.commit({ "app/a": "2\n" });
});
afterAll(() => project.close());

const world = { env: {}, signal: new AbortController().signal };

test("explain --since reads the project as it was at a commit, and says what changed since", async () => {
  const { stdout } = await project.factory("explain", ["--since", "HEAD~1", "--json"]);
  const { stages } = JSON.parse(stdout) as { stages: { stage: string; action: string; reasons: unknown[] }[] };
  expect(stages.map(({ stage, action }) => [stage, action])).toMatchObject([
    ["base-tools", "reuse"],
    ["dependencies", "reuse"],
    ["application", "assemble"],
    ["runtime", expect.anything()],
  ]);
  expect(stages[2]!.reasons).toContainEqual(expect.objectContaining({ why: "file", path: "app/a" }));
  expect(await errorOf(project.factory("explain", ["--since", "no-such"]))).toMatchObject({ code: "USAGE" });
});

test("a project in a subfolder is read from its subfolder, although one stands above it too", async () => {
  const yaml = "images.yaml";
  await project.commit({ [`inner/${yaml}`]: "registry: inner.example\nimages: {}\n" });
  const read = (root: string) => atCommit({ root }, world, "HEAD", (place) => Promise.resolve(place.cwd));
  expect(existsSync(await read(project.folder))).toBe(false);
  const registryAt = (root: string) =>
    atCommit({ root }, world, "HEAD", ({ cwd }) => Promise.resolve(readFileSync(join(cwd, yaml), "utf8").split("\n")[0]));
  expect(await registryAt(project.folder)).toBe("registry: registry.example/acme");
  expect(await registryAt(join(project.folder, "inner"))).toBe("registry: inner.example");
});

test("the newest commits, of merges the side that was merged into", async () => {
  const { root } = await openProject({ cwd: project.folder, env: {} });
  const git = async (...args: string[]) => {
    const done = await run("git", ["-C", root, "-c", "user.name=test", "-c", "user.email=test@example.org", ...args]);
    if (done.exitCode !== 0) throw new Error(done.stderr);
    return done.stdout.trim();
  };
  const base = await git("rev-parse", "HEAD");
  await git("checkout", "--quiet", "-b", "side");
  await project.commit({ side: "1\n" });
  await git("checkout", "--quiet", "main");
  await git("merge", "--quiet", "--no-ff", "--message", "merge", "side");
  expect(await newestCommits({ root }, world, 2)).toEqual([await git("rev-parse", "HEAD"), base]);
  expect(await newestCommits({ root }, world, 100)).toHaveLength(4);
  const bare = await mkdtemp(join(tmpdir(), "factory-no-git-"));
  expect(await errorOf(newestCommits({ root: bare }, world, 1))).toMatchObject({
    code: "USAGE",
    explanation: { fix: expect.stringContaining("KEEP=0") },
  });
  expect(await newestCommits({ root: bare }, world, 0)).toEqual([]);
  await rm(bare, { recursive: true });
});

test("a shallow clone that cannot tell enough commits is refused, with what to type", async () => {
  const clone = await mkdtemp(join(tmpdir(), "factory-shallow-"));
  try {
    await run("git", ["clone", "--quiet", "--depth", "2", `file://${project.folder}`, clone]);
    expect(await newestCommits({ root: clone }, world, 2)).toHaveLength(2);
    expect(await errorOf(newestCommits({ root: clone }, world, 3))).toMatchObject({
      code: "USAGE",
      explanation: { why: "this clone is shallow: it ends after 2", fix: expect.stringContaining("git fetch --deepen=3") },
    });
  } finally {
    await rm(clone, { recursive: true, force: true });
  }
});
