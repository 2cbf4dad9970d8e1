import { parse, TomlError, type TomlTable } from "smol-toml";
import { byGroupAndName, type DynamicProject, type EntryPoint, folderOf, type Project } from "./project.js";
import { invalid, lineAt, type Locate, positionAt, ProjectReader } from "./project-reader.js";
import { normalName } from "./pep508.js";
import { withoutEnd } from "../common/without-end.js";

/**
 * Reads a pyproject.toml (PEP 621); `null` when it has no [project] table, so that another file must tell.
 * @throws FactoryError PROJECT_INVALID with every problem and its place
 */
export function readPyproject(file: string, text: string): Project | null {
  const document = parsed(file, text);
  const project = document["project"];
  if (project === undefined) return null;
  const reader = new ProjectReader(file, locateIn(file, text));
  const table = tableOf(project);
  if (table === null) reader.problem(["project"], "project: expected a table");
  const fields = table ?? {};
  const dynamic = reader.texts(["project", "dynamic"], fields["dynamic"]).sort();
  for (const field of dynamic) {
    if (field in fields) {
      reader.problem(
        ["project", field],
        `project.${field} is also in project.dynamic`,
        "leave it in one of the two places",
        undefined,
      );
    }
  }
  const name = reader.name(["project", "name"], fields["name"]);
  if (fields["name"] === undefined) reader.problem(["project"], "project.name is missing", 'add name = "…"');
  if (fields["version"] === undefined && !dynamic.includes("version")) {
    reader.problem(["project"], "project.version is missing", 'add version = "0.1.0", or dynamic = ["version"]');
  }
  const version = reader.version(["project", "version"], fields["version"]);
  const requiresPython = reader.requiresPython(["project", "requires-python"], fields["requires-python"]);
  const requires = reader.requirements(
    ["project", "dependencies"],
    reader.texts(["project", "dependencies"], fields["dependencies"]),
  );
  const extras = Object.entries(tableAt(reader, ["project", "optional-dependencies"], fields["optional-dependencies"]))
    .map(([extra, value]) => {
      const path = ["project", "optional-dependencies", extra];
      return {
        name: normalName(extra),
        requires: reader.requirements(path, reader.texts(path, value)),
      };
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const common = {
    path: file,
    folder: folderOf(file),
    description: reader.text(["project", "description"], fields["description"]),
    entryPoints: entryPointsOf(reader, fields),
    dynamic,
    sourceRoots: sourceRootsOf(document),
  };
  reader.finish();
  const unknown = ["dependencies", "requires-python"].filter((field) => dynamic.includes(field));
  if (unknown.length > 0) return { ...common, kind: "dynamic", name, why: `dynamic = ${JSON.stringify(unknown)}` };
  // finish() has thrown where the name is missing; this tells the compiler.
  if (name === null) throw invalid(file, [{ message: "project.name is missing" }]);
  return { ...common, kind: "static", name, version, requiresPython, requires, extras };
}

/** A pyproject.toml without a [project] table: only its build backend knows more. */
export function withoutProjectTable(file: string, text: string): DynamicProject | null {
  const document = parsed(file, text);
  const poetry = tableOf(tableOf(document["tool"])?.["poetry"]);
  const backend = tableOf(document["build-system"])?.["build-backend"];
  const why =
    poetry === null ? (typeof backend === "string" ? `build-backend = ${JSON.stringify(backend)}` : null) : "[tool.poetry]";
  if (why === null) return null;
  const common = {
    path: file,
    folder: folderOf(file),
    description: null,
    entryPoints: [],
    sourceRoots: sourceRootsOf(document),
  };
  return { ...common, kind: "dynamic", name: null, why, dynamic: ["dependencies"] };
}

function parsed(file: string, text: string): TomlTable {
  try {
    return parse(text);
  } catch (error) {
    // Tables inside each other without end.
    if (error instanceof RangeError) throw invalid(file, [{ message: "not TOML: it is nested too deeply" }], error);
    if (!(error instanceof TomlError)) throw error;
    const message = (error.message.split("\n")[0] ?? "").replace(/^Invalid TOML document: /, "not TOML: ");
    throw invalid(file, [{ position: lineAt(file, text, error.line, error.column), message }], error);
  }
}

function entryPointsOf(reader: ProjectReader, fields: TomlTable): EntryPoint[] {
  const groups = [
    ["console_scripts", ["project", "scripts"], fields["scripts"]],
    ["gui_scripts", ["project", "gui-scripts"], fields["gui-scripts"]],
  ] as [string, string[], unknown][];
  for (const [group, value] of Object.entries(tableAt(reader, ["project", "entry-points"], fields["entry-points"]))) {
    const path = ["project", "entry-points", group];
    if (group === "console_scripts" || group === "gui_scripts") {
      reader.problem(
        path,
        `${group} has a table of its own`,
        `write [project.${group === "gui_scripts" ? "gui-scripts" : "scripts"}]`,
      );
    } else if (!/^\w+(?:\.\w+)*$/.test(group)) {
      reader.problem(path, `${JSON.stringify(group)} is no name of an entry point group`, "use letters, digits, _ and dots");
    } else groups.push([group, path, value]);
  }
  return groups
    .flatMap(([group, path, value]) =>
      Object.entries(tableAt(reader, path, value)).flatMap(([name, target]) =>
        reader.entryPoint([...path, name], group, name, target),
      ),
    )
    .sort(byGroupAndName);
}

/** Where setuptools and hatchling are told to look for modules. */
function sourceRootsOf(document: TomlTable): string[] {
  const tool = tableOf(document["tool"]);
  const setuptools = tableOf(tool?.["setuptools"]);
  const where = tableOf(tableOf(setuptools?.["packages"])?.["find"])?.["where"];
  const root = tableOf(setuptools?.["package-dir"])?.[""];
  const build = tableOf(tableOf(tool?.["hatch"])?.["build"]);
  const packages = tableOf(tableOf(build?.["targets"])?.["wheel"])?.["packages"];
  const parents = Array.isArray(packages) ? packages.map((item) => folderOf(String(item)) || ".") : [];
  const found = [...(Array.isArray(where) ? where.map(String) : []), ...(typeof root === "string" ? [root] : []), ...parents];
  return [...new Set(found.map((folder) => withoutEnd(folder.replace(/^\.\//, ""), "/") || "."))].sort();
}

const tableOf = (value: unknown): TomlTable | null =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date) ? (value as TomlTable) : null;

function tableAt(reader: ProjectReader, path: readonly string[], value: unknown): TomlTable {
  const table = tableOf(value);
  if (table === null && value !== undefined) reader.problem(path, `${path.join(".")}: expected a table`);
  return table ?? {};
}

/** smol-toml gives no places of values, so they are looked for in the text: the key below its header, then the value behind it. */
const locateIn =
  (file: string, text: string): Locate =>
  (path, value, offset = 0) => {
    for (let length = path.length; length > 0; length--) {
      const found = offsetOf(text, path.slice(0, length));
      if (found === null) continue;
      const quoted = value === undefined ? -1 : firstOf(text, found, [JSON.stringify(value), `'${value}'`]);
      return positionAt(file, text, quoted < 0 ? found : quoted + 1 + offset);
    }
    return positionAt(file, text, 0);
  };

const firstOf = (text: string, from: number, words: readonly string[]): number =>
  words
    .map((word) => text.indexOf(word, from))
    .filter((at) => at >= 0)
    .sort((a, b) => a - b)[0] ?? -1;

const dotted = (key: string): string =>
  key
    .split(".")
    .map((part) => part.trim().replace(/^["']|["']$/g, ""))
    .join(".");

function offsetOf(text: string, path: readonly string[]): number | null {
  const wanted = path.join(".");
  let header = "";
  let offset = 0;
  for (const line of text.split("\n")) {
    const table = /^\s*\[{1,2}([^\][]+)\]{1,2}\s*(?:$|#)/.exec(line)?.[1]?.trim();
    const key = /^\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=/.exec(line)?.[1];
    if (table !== undefined) header = `${dotted(table)}.`;
    const here = table !== undefined ? dotted(table) : key !== undefined ? header + dotted(key) : null;
    if (here === wanted) return offset + (line.length - line.trimStart().length);
    offset += line.length + 1;
  }
  return null;
}
