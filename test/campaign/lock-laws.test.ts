import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "yaml";
import { afterAll, beforeAll, expect, test } from "vitest";
import { commands, type CommandName } from "../../ci/commands/index.js";
import { hostToolsFile } from "../../ci/host/pinned-tools.js";
import { stateOf } from "../../ci/state/state.js";
import { findUv } from "../../ci/lock/python/uv.js";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import { worldAt } from "../fixtures/world.js";
import { startWeb, type Web } from "../e2e/support/web.js";
import { type Random, randomOf, rounds, seed, tally } from "./rounds.js";

/**
 * Random edits of a project, each followed by `factory lock`: what it wrote answers images.yaml, nothing floats, what still fits is kept, and
 * what cannot be resolved leaves the lock as it was. The index is one of this machine.
 */
const scratch = mkdtempSync(join(tmpdir(), "factory-lock-laws-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** Prints nothing; leaves wheels of three projects, of which beta needs alpha. */
const wheels = `import sys, zipfile
def wheel(name, version, *needs):
    with zipfile.ZipFile("%s/%s-%s-py3-none-any.whl" % (sys.argv[1], name, version), "w") as z:
        info = "%s-%s.dist-info/" % (name, version)
        needed = "".join("Requires-Dist: %s\\n" % one for one in needs)
        z.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: %s\\nVersion: %s\\n%s" % (name, version, needed))
        z.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        z.writestr(info + "RECORD", "")
for version in ("1.0", "1.1", "2.0"): wheel("alpha", version)
for version in ("1.0", "2.0"): wheel("beta", version, "alpha>=1.1")
wheel("gamma", "3.0")
`;
/** Each requirement with the versions that satisfy it. */
const requirements: Readonly<Record<string, readonly string[]>> = {
  alpha: ["alpha==1.0", "alpha==1.1", "alpha==2.0"],
  "alpha>=1.1": ["alpha==1.1", "alpha==2.0"],
  "alpha<2": ["alpha==1.0", "alpha==1.1"],
  "alpha==1.0": ["alpha==1.0"],
  beta: ["beta==1.0", "beta==2.0"],
  "beta<2": ["beta==1.0"],
  "gamma>=3": ["gamma==3.0"],
  "delta>=1": [],
};

let web: Web;
const noUv = await findUv(hostToolsFile, stateOf(scratch, process.env).cache, { env: process.env }).then(
  () => null,
  (error: unknown) => {
    if (error instanceof FactoryError) return error.explanation.why;
    throw error;
  },
);
beforeAll(async () => {
  const files = join(scratch, "wheels");
  mkdirSync(files);
  const made = spawnSync("python3", ["-c", wheels, files]);
  expect(made.status, String(made.stderr)).toBe(0);
  const tool = spawnSync("tar", ["-C", files, "-czf", join(scratch, "tool.tgz"), "gamma-3.0-py3-none-any.whl"]);
  expect(tool.status, String(tool.stderr)).toBe(0);
  web = await startWeb((path) => {
    const project = /^\/simple\/(\w+)\/$/.exec(path)?.[1];
    const names = readdirSync(files).filter((name) => name.startsWith(`${project}-`));
    if (project !== undefined) {
      const links = names.map((name) => `<a href="/f/${name}">${name}</a>`).join("\n");
      return (_, response) => void response.writeHead(names.length === 0 ? 404 : 200, { "content-type": "text/html" }).end(links);
    }
    if (path.startsWith("/f/")) return readFileSync(join(files, path.slice(3)));
    return path.startsWith("/tool-") ? readFileSync(join(scratch, "tool.tgz")) : undefined;
  });
});
afterAll(() => web.close());

const typed = async (folder: string, name: CommandName, ...flags: string[]) => {
  const env = {
    ...process.env,
    FACTORY_STATE: join(folder, ".factory"),
    FACTORY_REMOTE: "off",
    PIP_INDEX_URL: `${web.address}/simple`,
    UV_DEFAULT_INDEX: undefined,
    UV_INDEX: undefined,
    UV_EXTRA_INDEX_URL: undefined,
    PIP_EXTRA_INDEX_URL: undefined,
    NO_PROXY: "127.0.0.1",
    no_proxy: "127.0.0.1",
  };
  const { world, stdout, stderr } = worldAt(folder, env);
  const code = await (await commands[name]()).run(flags, world).catch((error: unknown) => {
    if (error instanceof FactoryError) return error.exitCode;
    throw error;
  });
  return { code, stdout: stdout(), stderr: stderr() };
};

const some = <T>(random: Random, values: readonly T[]): T[] => values.filter(() => random.below(3) === 0);

const edit = (random: Random, folder: string): string[] => {
  const requires = some(random, Object.keys(requirements).slice(0, random.below(8) === 0 ? 8 : 7));
  const platforms = random.oneOf(["[linux/amd64]", "[linux/amd64, linux/arm64]"]);
  const member = random.below(8) === 0 ? "absent" : "gamma-3.0-py3-none-any.whl";
  const tools = random.oneOf(["", "tools: [task], "]);
  writeFileSync(
    join(folder, "pyproject.toml"),
    `[project]\nname = "app"\nversion = "1"\ndependencies = ${JSON.stringify(requires)}\n`,
  );
  writeFileSync(
    join(folder, "images.yaml"),
    `registry: registry.example/team
images:
  box:
    repository: box
    platforms: ${platforms}
    base: { image: "registry.example/base@sha256:${"b".repeat(64)}", packages: apt }
    stages: { base-tools: { ${tools}python: [pyproject.toml] }, dependencies: {}, application: {}, runtime: {} }
tools:
  task: { version: "${random.oneOf(["1.0", "2.0"])}", download: { url: "${web.address}/tool-{version}-{arch}.tgz", member: ${member} } }
`,
  );
  return requires;
};

type Locked = Record<string, { packages: { pin: string; sha256: string[] }[] }>;
const read = (folder: string): { text: string; python: Locked } => {
  const path = join(folder, "images.lock");
  const text = existsSync(path) ? readFileSync(path, "utf8") : "";
  return { text, python: parse(text)?.images?.box?.python ?? {} };
};
const fit = (pins: readonly string[], requires: readonly string[]): boolean =>
  requires.every((one) => requirements[one]!.some((pin) => pins.includes(pin))) &&
  !(pins.some((pin) => pin.startsWith("beta")) && pins.includes("alpha==1.0"));

test.skipIf(noUv !== null)("lock, then lock --check", async () => {
  const random = randomOf("lock-laws");
  const seen = tally();
  const folder = join(scratch, "project");
  mkdirSync(folder);
  for (let round = rounds({ short: 12, long: 300 }); round > 0; round--) {
    const requires = edit(random, folder);
    const before = read(folder);
    const { code, stderr } = await typed(folder, "lock");
    const after = read(folder);
    const say = `seed ${seed}, ${JSON.stringify(requires)}\n${stderr}\n${after.text}`;
    if (/Python requirements have no solution/.test(stderr)) {
      expect(after.python, say).toEqual(before.python);
      seen.add("no solution");
    }
    if (code !== 0) {
      expect([65, 67], say).toContain(code);
      seen.add("refused");
      continue;
    }
    for (const [platform, { packages }] of Object.entries(after.python)) {
      const pins = packages.map(({ pin }) => pin);
      expect(fit(pins, requires), say).toBe(true);
      const old = before.python[platform]?.packages.map(({ pin }) => pin) ?? [];
      // What fits is kept, of all projects that are still wanted.
      if (fit(old, requires))
        expect(
          pins.filter((pin) => !old.includes(pin)),
          say,
        ).toEqual([]);
    }
    expect((await typed(folder, "lock", "--check")).code, say).toBe(0);
    expect((await typed(folder, "plan", "--json")).stdout, say).not.toContain('"pins":null');
    expect((await typed(folder, "lock")).stdout, say).toBe("images.lock: nothing moved\n");
    expect(read(folder).text, say).toBe(after.text);
    seen.add(before.text === after.text ? "unchanged" : "written");
  }
  seen.print("lock laws");
});
