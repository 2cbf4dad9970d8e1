import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { distInfo, sourceRootsOf, type Installation } from "../../../../dagger/src/pipeline/python/dist-info.js";
import type { StaticProject } from "../../../../dagger/src/pipeline/python/project.js";
import { readProject } from "../../../../dagger/src/pipeline/python/requirements.js";

const where: Installation = {
  venv: "/opt/venv",
  python: "3.11",
  project: "/opt/image factory/app",
  files: ["src/acme/__init__.py"],
};
const text = `[project]
name = "Acme.Toolbox"
version = "1.0-rc.1"
description = """Two
lines"""
requires-python = ">=3.11"
dependencies = ["pyyaml>=6"]
optional-dependencies.dev = ["pytest; python_version < '3.13' or os_name == 'nt'"]
scripts.toolbox = "acme.cli:App.run"
entry-points.acme.plugin = "acme.plugin"
`;
const project = (toml: string): StaticProject => {
  const read = readProject("app/pyproject.toml", toml);
  if (read.kind !== "static") throw new Error("the test expects a static project");
  return read;
};
const contents = (toml: string, more: Partial<Installation> = {}) =>
  new Map(distInfo(project(toml), { ...where, ...more }).map((file) => [file.path, file]));

test("the files of an install", () => {
  const site = "/opt/venv/lib/python3.11/site-packages";
  const files = contents(text);
  expect([...files.keys()]).toEqual([
    "/opt/venv/bin/toolbox",
    ...["INSTALLER", "METADATA", "RECORD", "WHEEL", "direct_url.json", "entry_points.txt"].map(
      (name) => `${site}/acme_toolbox-1.0rc1.dist-info/${name}`,
    ),
    `${site}/acme_toolbox.pth`,
  ]);
  expect([...files.values()].filter(({ executable }) => executable).map(({ path }) => path)).toEqual(["/opt/venv/bin/toolbox"]);
  const content = (name: string) => files.get(`${site}/acme_toolbox-1.0rc1.dist-info/${name}`)?.content;
  expect(files.get(`${site}/acme_toolbox.pth`)?.content).toBe("/opt/image factory/app/src\n");
  expect(content("METADATA")).toBe(`Metadata-Version: 2.1
Name: Acme.Toolbox
Version: 1.0rc1
Summary: Two lines
Requires-Python: >=3.11
Requires-Dist: pyyaml>=6
Requires-Dist: pytest; (python_version < "3.13" or os_name == "nt") and extra == "dev"
Provides-Extra: dev
`);
  expect(content("entry_points.txt")).toBe("[acme]\nplugin = acme.plugin\n\n[console_scripts]\ntoolbox = acme.cli:App.run\n");
  expect(content("direct_url.json")).toBe('{"dir_info":{"editable":true},"url":"file:///opt/image%20factory/app"}\n');
  expect(files.get("/opt/venv/bin/toolbox")?.content).toBe(`#!/opt/venv/bin/python3.11
import sys

from acme.cli import App

if __name__ == "__main__":
    sys.exit(App.run())
`);
});

test("RECORD names every file, with what it holds", () => {
  const files = distInfo(project(text), where);
  const record = files.find(({ path }) => path.endsWith("/RECORD"));
  const expected = files.map(({ path, content }) => {
    const name = path.replace("/opt/venv/lib/python3.11/site-packages/", "").replace("/opt/venv/", "../../../");
    if (name.endsWith("/RECORD")) return `${name},,`;
    return `${name},sha256=${createHash("sha256").update(content).digest("base64url")},${Buffer.byteLength(content)}`;
  });
  expect(record?.content.trimEnd().split("\n").sort()).toEqual(expected.sort());
});

test("an interpreter that a first line cannot name is started by the shell", () => {
  for (const venv of ["/opt/my venv", `/opt/${"deep/".repeat(30)}venv`]) {
    const command = contents(text, { venv }).get(`${venv}/bin/toolbox`)?.content ?? "";
    expect(command.split("\n").slice(0, 3)).toEqual(["#!/bin/sh", `'''exec' "${venv}/bin/python3.11" "$0" "$@"`, "' '''"]);
  }
});

test("a version that only a build backend knows is not made up", () => {
  const toml = '[project]\nname = "a"\ndynamic = ["version"]\n';
  expect([...contents(toml).keys()].some((path) => path.endsWith("/a-0+unknown.dist-info/METADATA"))).toBe(true);
});

test.each([
  ["declared to setuptools", '[tool.setuptools.packages.find]\nwhere = ["./lib/"]', ["src/a.py"], ["lib"]],
  ["declared by package-dir", '[tool.setuptools.package-dir]\n"" = "python"', [], ["python"]],
  ["declared to hatchling", '[tool.hatch.build.targets.wheel]\npackages = ["source/acme"]', [], ["source"]],
  ["seen: src", "", ["src/acme/cli.py", "README.md"], ["src"]],
  ["seen: flat", "", ["acme/cli.py", "src/data.json"], ["."]],
])("where modules stand: %s", (_, toml, files, expected) => {
  expect(sourceRootsOf(project(`[project]\nname = "a"\nversion = "1"\n${toml}\n`), files)).toEqual(expected);
});

test("modules outside the project are refused", () => {
  const toml = '[project]\nname = "a"\nversion = "1"\n[tool.setuptools.packages.find]\nwhere = ["../other"]\n';
  expect(() => contents(toml)).toThrow("PROJECT_INVALID");
});
