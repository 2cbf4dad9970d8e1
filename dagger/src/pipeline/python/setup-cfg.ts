import { byGroupAndName, folderOf, type Project } from "./project.js";
import { positionAt, ProjectReader } from "./project-reader.js";
import { normalName } from "./pep508.js";

type Setting = { value: string; offset: number };

/**
 * Reads a setup.cfg in setuptools' declarative form; `null` when it declares no name.
 * A setup.py beside it may override anything: the caller must know that there is none, or that it only calls setup().
 * @throws FactoryError PROJECT_INVALID with every problem and its place
 */
export function readSetupCfg(file: string, text: string): Project | null {
  const settings = settingsOf(text);
  const get = (section: string, key: string): string | undefined => settings.get(section)?.get(key)?.value;
  const reader = new ProjectReader(file, ([section = "", key = ""], value, offset = 0) => {
    const from = settings.get(section)?.get(key)?.offset ?? 0;
    const found = value === undefined ? -1 : text.indexOf(value, from);
    return positionAt(file, text, found < 0 ? from : found + offset);
  });
  const written = get("metadata", "name");
  if (written === undefined) return null;

  const computed = (value: string | undefined): boolean => /^\s*(?:attr|file):/.test(value ?? "");
  const list = (value: string | undefined): string[] =>
    (value?.includes("\n") ? value.split("\n") : (value ?? "").split(";"))
      .map((item) => item.trim())
      .filter((item) => item !== "");
  const version = get("metadata", "version");
  const install = get("options", "install_requires");
  const common = {
    path: file,
    folder: folderOf(file),
    description: computed(get("metadata", "description")) ? null : (get("metadata", "description") ?? null),
    entryPoints: [...(settings.get("options.entry_points") ?? [])]
      .flatMap(([group, { value }]) =>
        list(value.includes("\n") ? value : `\n${value}`).flatMap((line) => {
          const equals = line.indexOf("=");
          const path = ["options.entry_points", group];
          return reader.entryPoint(path, group, line.slice(0, Math.max(equals, 0)).trim(), line.slice(equals + 1).trim());
        }),
      )
      .sort(byGroupAndName),
    sourceRoots: [
      ...list(get("options.packages.find", "where")),
      ...list(get("options", "package_dir")).flatMap(rootOfPackageDir),
    ].sort(),
  };
  const name = reader.name(["metadata", "name"], written);
  if (computed(install)) {
    reader.finish();
    return {
      ...common,
      kind: "dynamic",
      name,
      why: `install_requires = ${(install ?? "").trim()}`,
      dynamic: ["dependencies"],
    };
  }
  const requires = reader.requirements(["options", "install_requires"], list(install));
  const extras = [...(settings.get("options.extras_require") ?? [])]
    .filter(([, { value }]) => !computed(value))
    .map(([extra, { value }]) => ({
      name: normalName(extra),
      requires: reader.requirements(["options.extras_require", extra], list(value)),
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const known = version === undefined || computed(version) ? null : reader.version(["metadata", "version"], version.trim());
  const requiresPython = reader.requiresPython(["options", "python_requires"], get("options", "python_requires"));
  reader.finish();
  return {
    ...common,
    kind: "static",
    name: name ?? { written, normal: normalName(written) },
    version: known,
    dynamic: known === null ? ["version"] : [],
    requiresPython,
    requires,
    extras,
  };
}

const rootOfPackageDir = (line: string): string[] => {
  const [name = "", folder = ""] = line.split("=", 2).map((part) => part.trim());
  return name === "" && folder !== "" ? [folder] : [];
};

/** The dialect of Python's configparser: indented lines go on, comments are whole lines, keys are lower case. */
function settingsOf(text: string): Map<string, Map<string, Setting>> {
  const sections = new Map<string, Map<string, Setting>>();
  let section = new Map<string, Setting>();
  let current: Setting | null = null;
  let offset = 0;
  for (const line of text.split("\n")) {
    const start = offset;
    offset += line.length + 1;
    if (/^\s*(?:[#;]|$)/.test(line)) continue;
    const header = /^\[([^\]]+)\]/.exec(line)?.[1];
    const sign = line.search(/[=:]/);
    if (/^\s/.test(line) && current !== null) current.value += `\n${line.trim()}`;
    else if (header !== undefined) {
      section = sections.get(header) ?? new Map<string, Setting>();
      sections.set(header, section);
      current = null;
    } else if (sign > 0 && !/^\s/.test(line)) {
      current = { value: line.slice(sign + 1).trim(), offset: start };
      section.set(line.slice(0, sign).trim().toLowerCase().replaceAll("-", "_"), current);
    }
  }
  return sections;
}
