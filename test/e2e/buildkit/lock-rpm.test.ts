import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { run } from "../../../ci/host/process.js";
import { readRpmAnswer, rpmResolverScript } from "../../../ci/lock/dnf/dnf-script.js";
import { makeRpmRepository, rpmSpec } from "../support/rpm-repository.js";

const works = async (program: string, args: string[]) =>
  run(program, args).then(
    (done) => done.exitCode === 0,
    () => false,
  );
const python = "/usr/bin/python3";
const missing = [
  (await works(python, ["-c", "import dnf"])) ? null : "dnf for Python",
  (await works("rpmbuild", ["--version"])) ? null : "rpmbuild",
  (await works("createrepo_c", ["--version"])) ? null : "createrepo_c",
].filter((name) => name !== null);

describe.skipIf(missing.length > 0)(`dnf's answer${missing.length > 0 ? ` (skipped: no ${missing.join(", ")})` : ""}`, () => {
  let folder = "";
  let baseurl = "";
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "lock-rpm-"));
    await mkdir(join(folder, "root"));
    const names = ["factory-hello", "factory-greeting", "factory-words", "factory-extras", "factory-broken"];
    baseurl = await makeRpmRepository(join(folder, "repository"), names.map(rpmSpec));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const answer = async (names: string[], address = baseurl, modules: string[] = []) => {
    const repositories = [{ id: "fixture", baseurl: address }];
    const script = rpmResolverScript({
      names,
      repositories,
      modules,
      installRoot: join(folder, "root"),
      releaseVersion: "9",
    });
    const done = await run(python, ["-"], { input: script });
    expect(done.exitCode, done.stderr).toBe(0);
    return () => readRpmAnswer(done.stdout, names, "the fixture");
  };

  test("holds the whole chain with epochs, without what is only recommended", async () => {
    expect((await answer(["factory-hello"]))()).toEqual({
      requested: ["factory-hello"],
      packages: ["factory-greeting-0:1.0-1.noarch", "factory-hello-0:1.0-1.noarch", "factory-words-1:2.5-3.noarch"],
    });
  });

  test("names every unknown package and the likely one", async () => {
    const read = await answer(["factory-helo", "nothing-like-it-at-all", "factory-words"]);
    expect(read).toThrow(/CONFIG_INVALID: no package factory-helo, nothing-like-it-at-all/);
    expect(read).toThrow(
      expect.objectContaining({
        explanation: expect.objectContaining({
          fix: expect.stringContaining("did you mean factory-hello"),
        }),
      }),
    );
  });

  test("says why there is no solution", async () => {
    expect(await answer(["factory-broken"])).toThrow(/CONFIG_INVALID.*factory-nowhere/s);
  });

  test("tells an outage from a wrong name", async () => {
    expect(await answer(["factory-hello"], `file://${folder}/nowhere`)).toThrow(/MIRROR_UNREACHABLE/);
  });

  test("takes a name for data, whatever it holds", async () => {
    expect(await answer([`x"); raise SystemExit(3) #'\\`])).toThrow(/CONFIG_INVALID: no package x"\)/);
  });

  test("offers a module's packages only when its stream is enabled, and names an unknown stream", async () => {
    const other = join(folder, "modular");
    const address = await makeRpmRepository(other, [rpmSpec("factory-words")]);
    const packages = address.slice("file://".length);
    await writeFile(join(other, "modules.yaml"), moduleOf("factory", "1", "factory-words-1:2.5-3.noarch"));
    const added = await run("modifyrepo_c", ["--mdtype=modules", join(other, "modules.yaml"), join(packages, "repodata")]);
    expect(added.exitCode, added.stderr).toBe(0);
    expect(await answer(["factory-words"], address)).toThrow(/CONFIG_INVALID/);
    expect((await answer(["factory-words"], address, ["factory:1"]))().packages).toEqual(["factory-words-1:2.5-3.noarch"]);
    expect(await answer(["factory-words"], address, ["factory:9"])).toThrow(/CONFIG_INVALID.*factory:9/s);
  });

  test("moves when the repository gets an update", async () => {
    await makeRpmRepository(join(folder, "repository"), [rpmSpec("factory-greeting-update")]);
    expect((await answer(["factory-hello"]))().packages).toEqual([
      "factory-greeting-0:1.1-1.noarch",
      "factory-hello-0:1.0-1.noarch",
      "factory-words-1:2.5-3.noarch",
    ]);
  });
});

const moduleOf = (name: string, stream: string, nevra: string) => `---
document: modulemd
version: 2
data:
  name: ${name}
  stream: "${stream}"
  version: 1
  context: 00000000
  arch: noarch
  summary: A fixture
  description: A fixture
  license:
    module: [MIT]
  artifacts:
    rpms: [${nevra}]
...
`;

test("an answer that broke off is no answer", () => {
  expect(() => readRpmAnswer('{"package": "a-0:1-1.noarch"}\n', ["a"], "x")).toThrow(/STEP_FAILED/);
});

test("lines that dnf's plugins print are passed over", () => {
  const text = 'Updating Subscription Management repositories.\n{"package": "a-0:1-1.noarch"}\n{"done": true}\n';
  expect(readRpmAnswer(text, ["a", "a"], "x")).toEqual({
    requested: ["a"],
    packages: ["a-0:1-1.noarch"],
  });
});
