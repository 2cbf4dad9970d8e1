import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { hostToolsFile } from "../../../ci/host/pinned-tools.js";
import { stateOf } from "../../../ci/state/state.js";
import { findUv } from "../../../ci/lock/python/uv.js";
import { FactoryError } from "../../../dagger/src/pipeline/common/error.js";
import { images, lockOf, project, pyproject, scratch, typed } from "../support/lock-command.js";

/** What `factory lock` keeps, and when it answers images.yaml. */
const noUv = await findUv(hostToolsFile, stateOf(scratch, process.env).cache, { env: process.env }).then(
  () => null,
  (error: unknown) => {
    if (error instanceof FactoryError && ["HOST_TOOL_MISSING", "MIRROR_UNREACHABLE"].includes(error.code))
      return error.explanation.why;
    throw error;
  },
);

describe.skipIf(noUv !== null)(`Python requirements in other words${noUv === null ? "" : ` (skipped: ${noUv})`}`, () => {
  const python = (...requires: string[]) =>
    project({ "images.yaml": images("{ python: [pyproject.toml] }"), "pyproject.toml": pyproject(...requires) });
  const set = (folder: string) => lockOf(folder).images.box.python["linux/amd64"];

  test("keep the pins that satisfy them, and the lock answers images.yaml again", async () => {
    const folder = python("attrs==23.1.0");
    expect((await typed(folder, "lock")).code).toBe(0);
    const before = set(folder);
    writeFileSync(join(folder, "pyproject.toml"), pyproject("attrs>=22"));
    expect((await typed(folder, "lock", "--check")).code).toBe(2);
    const { code, stdout } = await typed(folder, "lock");
    expect(code).toBe(0);
    expect(stdout).toContain("box python linux/amd64: the requirements changed (+attrs>=22 -attrs==23.1.0), the pins are kept\n");
    expect(set(folder)).toEqual({ ...before, requested: ["attrs>=22"] });
    expect((await typed(folder, "lock", "--check")).code).toBe(0);
    const plan = JSON.parse((await typed(folder, "plan", "--json")).stdout);
    expect(JSON.stringify(plan)).not.toContain('"pins":null');
    // A second run has nothing to write.
    const { mtimeMs } = statSync(join(folder, "images.lock"));
    expect((await typed(folder, "lock")).stdout).toBe("images.lock: nothing moved\n");
    expect(statSync(join(folder, "images.lock")).mtimeMs).toBe(mtimeMs);
  });

  test("a requirement beside them leaves their pins; --update moves them", async () => {
    const folder = python("attrs==23.1.0");
    await typed(folder, "lock");
    writeFileSync(join(folder, "pyproject.toml"), pyproject("attrs>=22", "idna==3.7"));
    expect((await typed(folder, "lock")).stdout).toMatch(/idna +\+ 3\.7/);
    expect(set(folder).packages.map(({ pin }: { pin: string }) => pin)).toEqual(["attrs==23.1.0", "idna==3.7"]);
    await typed(folder, "lock", "--update");
    expect(set(folder).packages[0].pin).not.toBe("attrs==23.1.0");
  });

  test("pins that no longer satisfy them move", async () => {
    const folder = python("attrs==22.1.0");
    await typed(folder, "lock");
    writeFileSync(join(folder, "pyproject.toml"), pyproject("attrs>=23,<24"));
    expect((await typed(folder, "lock")).stdout).toMatch(/attrs +22\.1\.0 → 23\./);
    expect((await typed(folder, "lock", "--check")).code).toBe(0);
  });

  test("another Python asks for other pins: a condition that did not hold may hold now", async () => {
    const requires = 'tomli==2.0.1; python_version < "3.11"';
    const at = (version: string) => images(`{ python: { version: "${version}", venv: /opt/venv, projects: [pyproject.toml] } }`);
    const folder = project({ "images.yaml": at("3.11"), "pyproject.toml": pyproject(requires) });
    await typed(folder, "lock");
    expect(set(folder).packages).toEqual([]);
    writeFileSync(join(folder, "images.yaml"), at("3.10"));
    const check = await typed(folder, "lock", "--check");
    expect([check.code, check.stdout]).toEqual([
      2,
      "base-tools: images.lock is out of date in Python requirements: +Python 3.10 -Python 3.11; lock it again\n",
    ]);
    expect(await typed(folder, "lock")).toMatchObject({ code: 0, stdout: expect.stringMatching(/tomli +\+ 2\.0\.1/) });
    expect((await typed(folder, "lock", "--check")).code).toBe(0);
  });

  test("an interrupted lock leaves the old one", async () => {
    const folder = python("attrs==22.1.0");
    await typed(folder, "lock");
    const before = readFileSync(join(folder, "images.lock"));
    writeFileSync(join(folder, "pyproject.toml"), pyproject("attrs>=23"));
    const { code } = await typed(folder, "lock", AbortSignal.abort());
    expect(code).toBe(130);
    expect(readFileSync(join(folder, "images.lock"))).toEqual(before);
    expect(readdirSync(folder).sort()).toEqual(["images.lock", "images.yaml", "pyproject.toml"]);
  });

  test("nothing locked at all is behind, too", async () => {
    const { code, stdout } = await typed(python("attrs==23.1.0"), "lock", "--check");
    expect(stdout).toContain("images.lock holds no Python requirements");
    expect(code).toBe(2);
  });
});

describe("what a locked bootstrapped base holds", () => {
  const base = "{ bootstrap: debian, suite: bookworm, packages: apt }";
  const lock = (packages: string, requested: string) =>
    `format: 1
images:
  box:
    bootstrap: { linux/amd64: { requested: [ca-certificates], packages: [ca-certificates=1, libc6=2] } }
    packages: { base-tools: { linux/amd64: { requested: ${requested}, packages: ${packages} } } }
    python: { linux/amd64: { requested: [], packages: [] } }
`;

  test("names in other words and names that are there already keep the pins, and no mirror is asked", async () => {
    const folder = project({
      "images.yaml": images("{ packages: [libc6, git-man, git, git] }", "", base),
      "images.lock": lock("[git=1, git-man=1]", "[git]"),
    });
    const { code, stdout, stderr } = await typed(folder, "lock");
    expect([code, stderr]).toEqual([0, "resolving apt packages of box base-tools for linux/amd64\n"]);
    expect(stdout).toContain("the pins are kept");
    expect(lockOf(folder).images.box.packages["base-tools"]["linux/amd64"]).toEqual({
      requested: ["git", "git-man", "libc6"],
      packages: ["git=1", "git-man=1"],
    });
    expect((await typed(folder, "lock", "--check")).code).toBe(0);
  });

  test.each([
    ["another suite", "{ bootstrap: debian, suite: trixie, packages: apt }"],
    ["another base", "{ image: debian:13, packages: apt }"],
  ])("on %s they are out of date: lock --check, plan and build say so, and nothing of them is pinned", async (_, other) => {
    const held = lock("[git=1]", "[git]")
      .replace(/requested: \[(ca|git)/g, '"on": debian bookworm, requested: [$1')
      .replace("format: 1", `format: 1\nbases: { debian:13: sha256:${"a".repeat(64)} }`);
    const of = (base: string) => project({ "images.yaml": images("{ packages: [git] }", "", base), "images.lock": held });
    expect((await typed(of(base), "lock", "--check")).code).toBe(0);
    const folder = of(other);
    const checked = await typed(folder, "lock", "--check");
    expect(checked.code).toBe(2);
    expect(checked.stdout).toContain("-debian bookworm");
    const { stdout } = await typed(folder, "plan", "--json", "--remote", "off");
    const [{ step }] = JSON.parse(stdout).plans[0].stages[0].ingredients.steps;
    expect(step).toMatchObject({ do: "install", pins: null });
    expect((await typed(folder, "build")).code).toBe(67);
  });

  test("a package that is included twice is included once", async () => {
    const twice = "{ bootstrap: debian, suite: bookworm, packages: apt, include: [ca-certificates, ca-certificates] }";
    const folder = project({ "images.yaml": images("{ packages: [git] }", "", twice), "images.lock": lock("[git=1]", "[git]") });
    expect((await typed(folder, "lock")).stdout).toBe("images.lock: nothing moved\n");
    expect((await typed(folder, "lock", "--check")).code).toBe(0);
  });

  const needing = (packages: string, requested: string) =>
    project({
      "images.yaml": images(`{ packages: ${requested}, python: [pyproject.toml] }`, "", base),
      "images.lock": lock(packages, requested),
      "pyproject.toml": pyproject(),
    });

  test("python: without pip is refused by lock and build, and told by plan", async () => {
    const folder = needing("[python3.11-minimal=3, python3=3]", "[python3]");
    const words = "stages.base-tools.python of box needs pip, which the image lacks";
    const locked = await typed(folder, "lock");
    expect(locked.error).toMatchObject({ code: "CONFIG_INVALID", explanation: { what: words } });
    expect(locked.error).toMatchObject({
      explanation: { fix: ["add python3-pip to images.box.stages.base-tools.packages, then ", { run: "lock" }] },
    });
    expect((await typed(folder, "build")).error).toMatchObject({ code: "CONFIG_INVALID", explanation: { what: words } });
    expect((await typed(folder, "plan")).stdout).toContain(
      "note: base-tools: python needs pip, which no package before it brings",
    );
  });

  test("python: with pip is not", async () => {
    const folder = needing("[python3-pip=3, python3.11-minimal=3]", "[python3-pip]");
    expect((await typed(folder, "lock")).code).toBe(0);
    expect((await typed(folder, "plan")).stdout).not.toContain("needs pip");
  });
});
