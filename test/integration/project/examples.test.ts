import { cp, readFile } from "node:fs/promises";
import { join } from "node:path";
import dockerignore from "@balena/dockerignore";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readProject, requirementsOf } from "../../../dagger/src/pipeline/python/requirements.js";
import { junk, makeJunk } from "../../../examples/junk.js";
import { call, ended, example, makePython, type Python, repository, walk } from "./python-venv.js";

let host: Python;
beforeAll(async () => {
  host = await makePython();
}, 180_000);
afterAll(() => host.remove());

describe("junk", () => {
  test("each piece is kept out by its line of .dockerignore, and by no other mistake", async () => {
    const text = await readFile(join(repository, ".dockerignore"), "utf8");
    const all = dockerignore.default().add(text);
    const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    for (const { path, ignoredBy } of junk) {
      expect(lines).toContain(ignoredBy);
      expect(all.ignores(path), path).toBe(true);
      expect(dockerignore.default().add(ignoredBy).ignores(path), `${path} by ${ignoredBy}`).toBe(true);
    }
    const covered = new Set(junk.map(({ ignoredBy }) => ignoredBy));
    expect(lines.filter((line) => !line.startsWith("!") && !covered.has(line))).toEqual([]);
  });

  test("fills a copy without touching what is there, twice as well as once", async () => {
    const copy = join(host.scratch, "junk");
    await cp(example, copy, { recursive: true });
    const before = new Map(
      await Promise.all((await walk(copy)).map(async (path) => [path, await readFile(join(copy, path), "utf8")] as const)),
    );
    const made = await makeJunk(copy);
    expect(await makeJunk(copy)).toEqual(made);
    expect(made.filter((path) => before.has(path))).toEqual([]);
    for (const [path, content] of before) expect(await readFile(join(copy, path), "utf8")).toBe(content);
    expect((await walk(copy)).length).toBe(before.size + made.length);
  });
});

describe("the example's own tests", () => {
  test.for(["app", "legacy"])("%s", async (name, { skip }) => {
    if (host.unreachable !== null) skip(host.unreachable);
    const done = await call(host.python, ["-m", "unittest", "discover", "-s", "tests"], join(example, name));
    expect(done.exitCode, ended(done)).toBe(0);
    expect(done.stderr).toMatch(/Ran [1-9]\d* tests? /);
  });

  test("cdk8s writes its manifests with the host's node", { timeout: 180_000 }, async ({ skip }) => {
    if (host.unreachable !== null) skip(host.unreachable);
    const project = readProject("cdk8s/pyproject.toml", await readFile(join(example, "cdk8s/pyproject.toml"), "utf8"));
    if (project.kind !== "static") throw new Error("expected a static project");
    const { requires } = requirementsOf([project]);
    const installed = await call(host.python, ["-m", "pip", "install", "-q", ...requires]);
    expect(installed.exitCode, ended(installed)).toBe(0);
    const tested = await call(host.python, ["-m", "unittest", "discover", "-s", "tests"], join(example, "cdk8s"));
    expect(tested.exitCode, ended(tested)).toBe(0);
    const copy = join(host.scratch, "cdk8s");
    await cp(join(example, "cdk8s"), copy, { recursive: true });
    const image = `registry.example/toolbox@sha256:${"0".repeat(64)}`;
    const written = await call(host.python, ["main.py"], copy, { TOOLBOX_IMAGE: image });
    expect(written.exitCode, ended(written)).toBe(0);
    const manifests = await readFile(join(copy, "dist/toolbox.k8s.yaml"), "utf8");
    expect(manifests.match(/^kind: .*$/gm)).toEqual(["kind: Deployment", "kind: CronJob"]);
    expect(manifests.match(/image: (.*)$/gm)).toEqual([`image: ${image}`, `image: ${image}`]);
  });
});
