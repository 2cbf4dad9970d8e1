import { expect, test } from "vitest";
import type { Entry } from "../../../../dagger/src/pipeline/context/snapshot.js";
import type { StaticProject } from "../../../../dagger/src/pipeline/python/project.js";
import { pythonFiles } from "../../../../dagger/src/pipeline/steps/python-files.js";
import { readProject } from "../../../../dagger/src/pipeline/python/requirements.js";
import type { StepOf } from "../../../../dagger/src/pipeline/steps/step.js";

const projectAt = (path: string, name: string): StaticProject =>
  readProject(
    path,
    `[project]\nname = "${name}"\nversion = "1.0"\n[project.scripts]\n${name} = "${name}.main:run"\n`,
    new Map(),
  ) as StaticProject;
const file = (path: string): Entry => ({ kind: "file", path, executable: false, size: 1, sha256: "" });
const copy = (...items: { from: string; to: string }[]): StepOf<"copy"> => ({
  do: "copy",
  to: "/opt",
  owner: "0:0",
  items,
  entries: [],
});
const python = { venv: "/opt/venv", version: "3.11" };

test("the files of each project that is copied, from where it stands in the image", () => {
  const projects = [projectAt("app/pyproject.toml", "tool"), projectAt("other/pyproject.toml", "absent")];
  const snapshot = { entries: [file("app/src/tool/main.py")] };
  const steps = pythonFiles(projects, python, [copy({ from: "app", to: "/opt/x/app" })], snapshot) as StepOf<"file">[];
  const site = "/opt/venv/lib/python3.11/site-packages";
  expect(steps.map(({ path, mode }) => `${mode} ${path}`)).toEqual([
    "755 /opt/venv/bin/tool",
    ...["INSTALLER", "METADATA", "RECORD", "WHEEL", "direct_url.json", "entry_points.txt"].map(
      (name) => `644 ${site}/tool-1.0.dist-info/${name}`,
    ),
    `644 ${site}/tool.pth`,
  ]);
  expect(steps.at(-1)!.source).toEqual({ text: "/opt/x/app/src\n", project: "app/pyproject.toml" });
});

test.each([
  ["the context itself", ".", "/opt/all", "/opt/all/a/b\n"],
  ["a folder above", "a", "/opt/a", "/opt/a/b\n"],
  ["its own folder", "a/b", "/srv", "/srv\n"],
])("brought with %s", (_name, from, to, wanted) => {
  const steps = pythonFiles([projectAt("a/b/pyproject.toml", "tool")], python, [copy({ from, to })], {
    entries: [],
  }) as StepOf<"file">[];
  expect(steps.find(({ path }) => path.endsWith(".pth"))!.source).toMatchObject({ text: wanted });
});

test("a project that only shares the beginning of its name is not brought", () => {
  expect(
    pythonFiles([projectAt("app2/pyproject.toml", "tool")], python, [copy({ from: "app", to: "/x" })], { entries: [] }),
  ).toEqual([]);
});
