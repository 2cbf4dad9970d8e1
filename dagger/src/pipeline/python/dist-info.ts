import { createHash } from "node:crypto";
import { FactoryError } from "../common/error.js";
import { normalVersion } from "./pep440.js";
import type { EntryPoint, StaticProject } from "./project.js";
import { requiresDist } from "./requirements.js";

export type InstalledFile = {
  /** Absolute, in the image. */
  path: string;
  content: string;
  executable: boolean;
};

/** Where a project is installed; all folders absolute, in the image. */
export type Installation = {
  venv: string;
  /** The interpreter of the venv, such as "3.11". */
  python: string;
  /** The project's folder. */
  project: string;
  /** Paths of the project's files, relative to its folder: they tell a `src` layout from a flat one. */
  files: readonly string[];
};

/** A kernel before Linux 5.1 cuts longer first lines, silently. */
const longestShebang = 127;

/**
 * What an editable install of a project leaves in a venv, as plain files: a .dist-info folder (so that importlib.metadata and pip
 * see it), a .pth file (so that it can be imported from where it stands) and its commands. No file holds a time or a host's path,
 * and nothing runs to make them. Sorted by path.
 *
 * The formats: "Recording installed projects", "Core metadata", "Entry points" and "Binary distribution format" of packaging.python.org.
 * @throws FactoryError PROJECT_INVALID when a folder cannot stand in a .pth file
 */
export function distInfo(project: StaticProject, where: Installation): InstalledFile[] {
  const version = versionOf(project);
  const escaped = project.name.normal.replaceAll("-", "_");
  const site = `${where.venv}/lib/python${where.python}/site-packages`;
  const folder = `${escaped}-${version}.dist-info`;
  const roots = sourceRootsOf(project, where.files).map((root) => (root === "." ? where.project : `${where.project}/${root}`));
  for (const root of roots) assertImportable(project, root);

  // Paths as RECORD has them: relative to site-packages.
  const files = [
    { path: `${escaped}.pth`, content: roots.map((root) => `${root}\n`).join("") },
    { path: `${folder}/INSTALLER`, content: "image-factory\n" },
    { path: `${folder}/METADATA`, content: metadataText(project, version) },
    {
      path: `${folder}/WHEEL`,
      content: "Wheel-Version: 1.0\nGenerator: image-factory\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    },
    {
      path: `${folder}/direct_url.json`,
      content: `${JSON.stringify({ dir_info: { editable: true }, url: fileUrl(where.project) })}\n`,
    },
    ...(project.entryPoints.length === 0
      ? []
      : [{ path: `${folder}/entry_points.txt`, content: entryPointsText(project.entryPoints) }]),
  ];
  const commands = project.entryPoints
    .filter(({ group }) => group === "console_scripts" || group === "gui_scripts")
    .map(({ name, value }) => ({
      path: `../../../bin/${name}`,
      content: commandText(`${where.venv}/bin/python${where.python}`, value),
    }));
  const record = `${folder}/RECORD`;
  const recorded = [...[...files, ...commands].map(recordLine).sort(), `${record},,`].map((line) => `${line}\n`).join("");
  return [
    ...[...files, { path: record, content: recorded }].map(({ path, content }) => ({
      path: `${site}/${path}`,
      content,
      executable: false,
    })),
    ...commands.map(({ path, content }) => ({
      path: `${where.venv}/${path.slice("../../../".length)}`,
      content,
      executable: true,
    })),
  ].sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** Folders below a project that must be on Python's path, "." for its own: as declared, else as its files stand. */
export function sourceRootsOf(project: Pick<StaticProject, "sourceRoots">, files: readonly string[]): readonly string[] {
  if (project.sourceRoots.length > 0) return project.sourceRoots;
  return files.some((file) => file.startsWith("src/") && file.endsWith(".py")) ? ["src"] : ["."];
}

/** A version that only the build backend knows is worded as what it is; a local version never compares equal to a released one. */
const versionOf = ({ version }: StaticProject): string => (version === null ? null : normalVersion(version)) ?? "0+unknown";

function metadataText(project: StaticProject, version: string): string {
  const summary = project.description?.replace(/\s+/g, " ").trim();
  return [
    "Metadata-Version: 2.1",
    `Name: ${project.name.written}`,
    `Version: ${version}`,
    ...(summary ? [`Summary: ${summary}`] : []),
    ...(project.requiresPython === null ? [] : [`Requires-Python: ${project.requiresPython}`]),
    ...requiresDist(project).map((text) => `Requires-Dist: ${text}`),
    ...project.extras.map(({ name }) => `Provides-Extra: ${name}`),
  ]
    .map((line) => `${line}\n`)
    .join("");
}

function entryPointsText(entryPoints: readonly EntryPoint[]): string {
  const groups = [...new Set(entryPoints.map(({ group }) => group))];
  const lines = (wanted: string): string[] =>
    entryPoints.filter(({ group }) => group === wanted).map(({ name, value }) => `${name} = ${value}\n`);
  return groups.map((group) => `[${group}]\n${lines(group).join("")}`).join("\n");
}

function commandText(interpreter: string, value: string): string {
  const [module = "", attribute = ""] = value.split(":", 2);
  const imported = attribute.split(".")[0] ?? attribute;
  const simple = `#!${interpreter}`;
  // One text that both the shell and Python read, for an interpreter that a first line cannot name.
  const start =
    simple.length > longestShebang || /\s/.test(interpreter) ? `#!/bin/sh\n'''exec' "${interpreter}" "$0" "$@"\n' '''` : simple;
  return `${start}\nimport sys\n\nfrom ${module} import ${imported}\n\nif __name__ == "__main__":\n    sys.exit(${attribute}())\n`;
}

const recordLine = ({ path, content }: { path: string; content: string }): string => {
  const sha256 = createHash("sha256").update(content).digest("base64url");
  return `${path},sha256=${sha256},${Buffer.byteLength(content)}`;
};

const fileUrl = (path: string): string => `file://${path.split("/").map(encodeURIComponent).join("/")}`;

function assertImportable(project: StaticProject, root: string): void {
  if (root.startsWith("/") && !/[\n\r]/.test(root) && !root.split("/").includes("..")) return;
  throw new FactoryError("PROJECT_INVALID", {
    what: `${project.path} cannot be installed`,
    why: `its modules stand in ${JSON.stringify(root)}, which cannot be put on Python's path`,
    fix: "correct where the project's build configuration looks for packages",
  });
}
