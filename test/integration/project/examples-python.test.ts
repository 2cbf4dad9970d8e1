import { chmod, cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { run } from "../../../ci/host/process.js";
import { distInfo } from "../../../dagger/src/pipeline/python/dist-info.js";
import { metadataScript, readMetadata } from "../../../dagger/src/pipeline/python/build-backend.js";
import { readRequirement, requirementText } from "../../../dagger/src/pipeline/python/pep508.js";
import { completed, readProject, requirementsOf } from "../../../dagger/src/pipeline/python/requirements.js";
import { call, ended, example, makePython, type Python, walk } from "./python-venv.js";

let host: Python;
beforeAll(async () => {
  host = await makePython();
}, 180_000);
afterAll(() => host.remove());

describe("metadata that only a build backend knows", () => {
  const inputs = ["legacy/setup.py", "legacy/requirements.in", "legacy/image_tags/__init__.py"];

  test("is read from the declared inputs alone, and leaves no trace in them", { timeout: 180_000 }, async ({ skip }) => {
    if (host.unreachable !== null) skip(host.unreachable);
    const root = join(host.scratch, "inputs");
    for (const path of inputs) await cp(join(example, path), join(root, path));
    const done = await call(host.python, ["-c", metadataScript, root, "legacy"]);
    expect(done.exitCode, ended(done)).toBe(0);
    expect((await walk(root)).sort()).toEqual(inputs.toSorted());
    const [metadata] = readMetadata(done.stdout);
    const project = readProject("legacy/setup.py", await readFile(join(example, "legacy/setup.py"), "utf8"));
    if (project.kind !== "dynamic" || metadata === undefined) throw new Error("expected a dynamic project and its metadata");
    expect(completed(project, metadata)).toMatchObject({
      name: { written: "image-tags", normal: "image-tags" },
      version: "0.9.2",
      requiresPython: ">=3.9",
      requires: ["packaging<27,>=23"],
      extras: [{ name: "dev", requires: ["pytest>=8"] }],
      entryPoints: [{ group: "console_scripts", name: "image-tags", value: "image_tags.cli:main" }],
    });
  });

  test("an input that was not declared is an error in the backend's own words", { timeout: 180_000 }, async ({ skip }) => {
    if (host.unreachable !== null) skip(host.unreachable);
    const root = join(host.scratch, "too-few");
    await cp(join(example, "legacy/setup.py"), join(root, "legacy/setup.py"));
    const done = await call(host.python, ["-c", metadataScript, root, "legacy"]);
    expect(done.exitCode).toBe(1);
    expect(() => readMetadata(done.stdout)).toThrow(/STEP_FAILED.*__init__\.py/s);
  });
});

describe("an assembled install", () => {
  test("is what Python and pip take it for", { timeout: 180_000 }, async ({ skip }) => {
    if (host.unreachable !== null) skip(host.unreachable);
    const venv = join(host.scratch, "assembled");
    const made = await call("python3", ["-m", "venv", venv]);
    expect(made.exitCode, ended(made)).toBe(0);
    const bin = (name: string) => join(venv, "bin", name);
    const version = (await call(bin("python"), ["-c", "import sys; print('%d.%d' % sys.version_info[:2])"])).stdout.trim();
    const project = readProject("app/pyproject.toml", await readFile(join(example, "app/pyproject.toml"), "utf8"));
    if (project.kind !== "static") throw new Error("expected a static project");
    const files = distInfo(project, {
      venv,
      python: version,
      project: join(example, "app"),
      files: await walk(join(example, "app")),
    });
    for (const { path, content, executable } of files) {
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, content);
      if (executable) await chmod(path, 0o755);
    }

    const broken = await call(bin("python"), ["-m", "pip", "check"]);
    expect(broken.stdout).toContain("image-factory-app 1.4.0 requires pyyaml, which is not installed");
    const installed = await call(bin("python"), ["-m", "pip", "install", "-q", ...requirementsOf([project]).requires]);
    expect(installed.exitCode, ended(installed)).toBe(0);
    const checked = await call(bin("python"), ["-m", "pip", "check"]);
    expect(checked.exitCode, ended(checked)).toBe(0);

    const listed = await call(bin("python"), ["-m", "pip", "list", "--format", "json"]);
    expect(JSON.parse(listed.stdout)).toContainEqual({
      name: "image-factory-app",
      version: "1.4.0",
      editable_project_location: join(example, "app"),
    });
    const program = [
      "from importlib.metadata import distribution",
      "found = distribution('image-factory-app')",
      "print(found.version, found.requires, found.entry_points.select(group='console_scripts')['image-factory'].load().__module__)",
      "print(all(file.locate().is_file() for file in found.files))",
    ].join("\n");
    const seen = await call(bin("python"), ["-c", program]);
    expect(seen.stdout, ended(seen)).toBe(
      `1.4.0 ['pyyaml<7,>=6.0.1', 'pytest>=8; extra == "dev"', 'ruff>=0.6; extra == "dev"'] image_factory_app.cli\nTrue\n`,
    );

    const healthy = await call(
      bin("image-factory"),
      ["--file", join(example, "app/tests/data/images.yaml"), "health"],
      host.scratch,
    );
    expect(healthy.exitCode, ended(healthy)).toBe(0);
    expect(healthy.stdout).toMatch(/^ok {4}image-factory-app {2}1\.4\.0$/m);

    const removed = await call(bin("python"), ["-m", "pip", "uninstall", "--yes", "image-factory-app"]);
    expect(removed.exitCode, ended(removed)).toBe(0);
    expect((await walk(venv)).filter((path) => /image.factory/.test(path))).toEqual([]);
  });
});

test("requirements mean to Python's own reader what they mean here", async ({ skip }) => {
  if (host.unreachable !== null) skip(host.unreachable);
  const texts = [
    "Foo_.-Bar",
    "foo [B , a, b] >= 1.0 , < 2",
    "foo (>=1.0)",
    "foo~=1.2.3",
    "foo===weird",
    "foo==1.*,!=1.5.*",
    "foo>=1.0rc1",
    "foo>=1!2.0.post1",
    "foo @ https://example.com/a.whl ; os_name=='nt'",
    "foo;python_version<'3' and (os_name=='a' or extra=='b')",
    "foo>=1,",
    "foo 2.0",
    "foo=2",
    "foo ^1.2",
    "foo>=1 <2",
    "foo~=1",
    "foo>=1.*",
    "foo[a",
    "foo; python_verion<'3'",
    "foo;",
    "-r x",
    "./a",
    "foo>=two",
    "foo>=1+local",
  ];
  const program = [
    "import json, sys",
    "from packaging.requirements import InvalidRequirement, Requirement",
    "from packaging.utils import canonicalize_name",
    "def told(text):",
    "    try: r = Requirement(text)",
    "    except InvalidRequirement: return None",
    "    return [canonicalize_name(r.name), sorted(set(map(canonicalize_name, r.extras))), sorted(map(str, r.specifier)), r.url, str(r.marker)]",
    "print(json.dumps([told(text) for text in json.load(sys.stdin)]))",
  ].join("\n");
  const ask = async (asked: readonly string[]): Promise<unknown[]> => {
    const done = await run(host.python, ["-c", program], { input: JSON.stringify(asked) });
    if (done.exitCode !== 0) throw new Error(ended(done));
    return JSON.parse(done.stdout);
  };
  const ours = texts.map((text) => {
    const result = readRequirement(text);
    return result.ok ? requirementText(result.requirement) : null;
  });
  const theirs = await ask(texts);
  // What one refuses the other refuses; what ours makes of a text still means the same to theirs.
  expect(texts.filter((_, at) => (ours[at] === null) !== (theirs[at] === null))).toEqual([]);
  const valid = texts.filter((_, at) => ours[at] !== null);
  expect(await ask(ours.filter((text) => text !== null))).toEqual(await ask(valid));
});
