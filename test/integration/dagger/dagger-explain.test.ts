import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { callModule, type Told } from "../../dagger-session/module.js";
import { openSession, type Session } from "../../dagger-session/session.js";
import { treeAnswers } from "../../dagger-session/tree.js";

/** `explain` and `verify` as the module's runtime runs them, on folders that a recorded session gives out. */
const fixture = fileURLToPath(new URL("../fixtures/module", import.meta.url));
let folder: string;
let session: Session;
let told: Told[];

const rewrite = (path: string, from: string, to: string) => {
  const text = readFileSync(path, "utf8");
  expect(text).toContain(from);
  writeFileSync(path, text.replaceAll(from, to));
};

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "dagger-explain-"));
  const at = (name: string) => join(folder, name);
  for (const name of ["project", "older", "unlike", "broken"]) cpSync(fixture, at(name), { recursive: true });
  mkdirSync(at("stranger"));
  rewrite(at("older/app/pyproject.toml"), "pyyaml>=6", "pyyaml>=5");
  rewrite(at("older/images.lock"), "pyyaml>=6", "pyyaml>=5");
  rewrite(at("unlike/images.yaml"), "  bootstrapped:", "  other:");
  rewrite(at("broken/images.yaml"), "repository: box", "repositry: box");
  session = await openSession(
    treeAnswers({
      workspaces: { here: { root: at("project"), cwd: at("project/app") } },
      folders: {
        project: at("project"),
        older: at("older"),
        unlike: at("unlike"),
        broken: at("broken"),
        stranger: at("stranger"),
      },
      scratch: at("scratch"),
    }),
    (chain) => (chain.at(-1)?.field === "defaultPlatform" ? "linux/arm64/v8" : undefined),
  );
  const workspace = session.idOf([{ field: "testWorkspace", args: { name: "here" } }]);
  const given = (name: string) => session.idOf([{ field: "testDirectory", args: { name } }]);
  told = await callModule(session, at("scratch"), [
    { name: "explain", args: { workspace, since: given("older") } },
    { name: "explain", args: { workspace, since: given("project"), stage: "application", all: true } },
    { name: "explain", args: { workspace, stage: "runtime" } },
    { name: "verify", args: { workspace } },
    { name: "verify", args: { workspace: null, source: given("older"), platform: "amd64" } },
    { name: "explain", args: { workspace, stage: "runtme" } },
    { name: "explain", args: { workspace, platform: "all" } },
    { name: "explain", args: { workspace, since: given("stranger") } },
    { name: "explain", args: { workspace, since: given("broken") } },
    { name: "explain", args: { workspace, since: given("unlike"), image: "bootstrapped" } },
    { name: "verify", args: { workspace: null, source: given("stranger") } },
    { name: "verify", args: { workspace, image: "bx" } },
    { name: "verify", args: { workspace, platform: "all" } },
  ]);
});
afterAll(async () => {
  await session.close();
  rmSync(folder, { recursive: true, force: true });
});

const resultOf = (at: number): string => {
  const one = told[at]!;
  if (one.error !== undefined) throw new Error(`${one.name}: ${one.error}`);
  return String(one.result);
};

describe("explain", () => {
  test("beside another state names what changed, and shows nothing else", async () => {
    expect(resultOf(0)).toMatch(
      /\ndependencies \w+: execute\n {2}app\/pyproject\.toml: dependency pyyaml changed: "pyyaml>=5" → "pyyaml>=6"\n/,
    );
    await expect(resultOf(0)).toMatchFileSnapshot("../fixtures/module.explain.txt");
  });

  test("of one stage, with what did not change", () => {
    expect(resultOf(1)).toMatch(/^application \w+: reuse\n {2}the same in that folder\n/);
    expect(resultOf(1)).toMatch(/\n {4}input app\/src\/box\/cli\.py +644 (sha256:\w+) +644 \1\n/);
  });

  test("without another state shows what is, as of a stage that was never built", () => {
    expect(resultOf(2)).toMatch(/^runtime \w+: assemble\n {2}never built: nothing is known of this stage\n {4}ingredient +now\n/);
    expect(resultOf(2)).not.toContain("base-tools");
  });
});

describe("verify", () => {
  test.each([
    ["the nearest project, for what the engine executes", 3, "linux/arm64"],
    ["a directory that is handed over, for a platform that is named", 4, "linux/amd64"],
  ])("proves that every kind of change of %s moves the keys that it must, and no other", (_, at, platform) => {
    const text = resultOf(at);
    expect(text).toContain(`box for ${platform}\n`);
    expect(text).toMatch(/\n {2}a line of code +reuse +reuse +assemble +assemble +plan +2 of 4 keys moved +PASS\n/);
    expect(text).toMatch(/\n {2}a dependency's bounds +reuse +execute +assemble +assemble +plan +3 of 4 keys moved +PASS\n/);
    expect(text).toMatch(/\n\d+ passed \(0 by building, \d+ on plans\), 0 failed, \d+ n\/a; /);
  });
});

test("neither asks for what is not declared", () => {
  const asked = session.asked.filter((chain) => chain.at(-1)?.field === "export");
  const patterns = new Set(asked.map((chain) => JSON.stringify(chain.at(-2)!.args["include"])));
  expect([...patterns].sort()).toEqual([
    '["app","conf/box.conf"]',
    '["app/pyproject.toml","app/setup.cfg","app/setup.py"]',
    '["images.yaml","images.lock",".dockerignore"]',
  ]);
});

test("what they throw is our message", async () => {
  const errors = told.flatMap(({ name, error }) => (error === undefined ? [] : [`${name}\n${error}\n`]));
  await expect(errors.join("\n")).toMatchFileSnapshot("../fixtures/module.explain-errors.txt");
});
