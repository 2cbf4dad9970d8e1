/**
 * What a Python project requires, by meaning: the dependencies stage is keyed by this and nothing else of the project, so that a
 * changed description, dev tool or optional part rebuilds nothing.
 */
import { FactoryError } from "../common/error.js";
import type { BuiltMetadata } from "./build-backend.js";
import { asExtra, forExtra, normalName, readRequirement, type Requirement, requirementText } from "./pep508.js";
import { folderOf, type DynamicProject, type Project, type StaticProject } from "./project.js";
import { invalid, lineAt } from "./project-reader.js";
import { readPyproject, withoutProjectTable } from "./pyproject.js";
import { readSetupCfg } from "./setup-cfg.js";

/**
 * Reads a project from the text of its pyproject.toml, setup.cfg or setup.py. `siblings` holds the texts of such files beside it,
 * by file name: where pyproject.toml has no [project] table, they tell.
 * @throws FactoryError PROJECT_INVALID with every problem and its place
 */
export function readProject(path: string, text: string, siblings: ReadonlyMap<string, string> = new Map()): Project {
  const folder = folderOf(path);
  const file = path.slice(folder === "" ? 0 : folder.length + 1);
  const textOf = (name: string): string | undefined => (name === file ? text : siblings.get(name));
  const beside = (name: string): string => (folder === "" ? name : `${folder}/${name}`);

  const pyproject = textOf("pyproject.toml");
  const declared = pyproject === undefined ? null : readPyproject(beside("pyproject.toml"), pyproject);
  if (declared !== null) return declared;
  const setup = textOf("setup.py");
  if (setup !== undefined && !onlyCallsSetup(setup)) return unknown(beside("setup.py"), "setup.py");
  const config = textOf("setup.cfg");
  const configured = config === undefined ? null : readSetupCfg(beside("setup.cfg"), config);
  if (configured !== null) return configured;
  if (setup !== undefined) return unknown(beside("setup.py"), "setup.py");
  const built = pyproject === undefined ? null : withoutProjectTable(beside("pyproject.toml"), pyproject);
  if (built !== null) return built;
  throw invalid(path, [
    {
      position: lineAt(path, text, 1, 1),
      message: "it declares no Python project",
      hint:
        file === "setup.cfg"
          ? "add [metadata] with name and version"
          : "name a pyproject.toml with a [project] table, a setup.cfg or a setup.py",
    },
  ]);
}

const unknown = (path: string, why: string): DynamicProject => ({
  kind: "dynamic",
  name: null,
  path,
  folder: folderOf(path),
  why,
  description: null,
  entryPoints: [],
  dynamic: ["dependencies"],
  sourceRoots: [],
});

/** The shim that lets old tools find a project which is declared elsewhere: it adds nothing. */
const onlyCallsSetup = (text: string): boolean => {
  const code = text
    .split("\n")
    .map((line) => (line.split("#", 1)[0] ?? "").trim())
    .filter((line) => line !== "")
    .join("\n")
    .replace(/^("""|''')[\s\S]*?\1\n/, "");
  return /^(?:import setuptools\nsetuptools\.setup\(\)|from setuptools import setup\nsetup\(\))$/.test(
    code.replace(/^if __name__ == ['"]__main__['"]:\n/m, ""),
  );
};

/**
 * A dynamic project with what its build backend said. What the project itself declares stays.
 * @throws FactoryError PROJECT_INVALID when the metadata holds a requirement that cannot be read
 */
export function completed(project: DynamicProject, metadata: BuiltMetadata): StaticProject {
  const requirements = metadata.requires.map((text): Requirement => {
    const result = readRequirement(text);
    if (result.ok) return result.requirement;
    throw invalid(project.path, [
      {
        message: `the build backend says ${JSON.stringify(text)}: ${result.message}`,
        hint: result.hint,
      },
    ]);
  });
  const texts = (extra: string | null): string[] => {
    const kept = requirements.flatMap((item) => forExtra(item, extra) ?? []).map(requirementText);
    return [...new Set(kept)].sort();
  };
  const { why: _, ...common } = project;
  return {
    ...common,
    kind: "static",
    name: project.name ?? { written: metadata.name, normal: normalName(metadata.name) },
    version: metadata.version,
    requiresPython: metadata.requiresPython,
    description: project.description ?? metadata.summary,
    entryPoints: project.entryPoints.length > 0 ? project.entryPoints : metadata.entryPoints,
    requires: texts(null),
    extras: metadata.extras.map((extra) => ({ name: normalName(extra), requires: texts(extra) })),
  };
}

/**
 * What an install of all these projects together asks an index for: sorted, each once. Requirements that differ in anything stay
 * beside each other: pip decides. A requirement on one of the projects themselves is met by the project, never by an index that
 * holds something of the same name; the extras that it asks for are followed.
 */
export function requirementsOf(projects: readonly StaticProject[]): {
  requires: string[];
  requiresPython: string[];
} {
  const own = new Map(projects.map((project) => [project.name.normal, project]));
  const requires = new Set<string>();
  const followed = new Set<string>();
  const add = (text: string): void => {
    const result = readRequirement(text);
    if (!result.ok)
      throw new FactoryError("PROJECT_INVALID", {
        what: `cannot read ${text}`,
        why: result.message,
        fix: result.hint,
      });
    const { name, extras } = result.requirement;
    const project = own.get(name);
    if (project === undefined) requires.add(text);
    else for (const extra of extras) follow(project, extra);
  };
  const follow = (project: StaticProject, extra: string): void => {
    const mark = `${project.name.normal}[${extra}]`;
    if (followed.has(mark)) return;
    followed.add(mark);
    for (const text of project.extras.find(({ name }) => name === extra)?.requires ?? []) add(text);
  };
  for (const project of projects) for (const text of project.requires) add(text);
  const pythons = projects.flatMap(({ requiresPython }) => requiresPython ?? []);
  return { requires: [...requires].sort(), requiresPython: [...new Set(pythons)].sort() };
}

/** The `Requires-Dist` lines of package metadata: required ones first, then those of each extra with its condition. */
export const requiresDist = (project: StaticProject): string[] => [
  ...project.requires,
  ...project.extras.flatMap(({ name, requires }) =>
    requires.flatMap((text) => {
      const result = readRequirement(text);
      return result.ok ? [requirementText(asExtra(result.requirement, name))] : [];
    }),
  ),
];
