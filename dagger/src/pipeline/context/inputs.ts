/**
 * # dagger/src/pipeline/context
 *
 * Which files of the context an image reads, and what .dockerignore leaves out. The same files are chosen on every machine, by the rules of
 * BuildKit's own matcher.
 */
import type { ContextInputs } from "./snapshot.js";
import type { ImageSpec, Spec, StageSpec } from "../config/spec.js";
import { stageNames } from "../common/stage.js";

/** The tools of a stage, each once and with the source that the stage chose; by name, since the order of a mapping means nothing. */
export const toolsOf = (spec: Spec, stage: StageSpec) => {
  const chosen = Array.isArray(stage.tools)
    ? [...new Set(stage.tools)].map((name) => [name, null] as const)
    : Object.entries(stage.tools ?? {});
  const sorted = [...chosen].sort(([a], [b]) => (a < b ? -1 : 1));
  return sorted.map(([name, source]) => {
    const tool = spec.tools[name]!;
    const only = (["download", "pip", "npm", "go"] as const).find((key) => tool[key] !== undefined)!;
    return { name, tool, source: source ?? only };
  });
};

export type PythonInput = { path: string; folder: string; inputs: readonly string[] };

/** The Python projects of a stage. `inputs` are the files that a build backend may read, where the metadata is dynamic. */
export const projectsOf = (stage: StageSpec): PythonInput[] => {
  const projects = Array.isArray(stage.python) ? stage.python : (stage.python?.projects ?? []);
  return projects.map((project) => {
    const path = typeof project === "string" ? project : project.path;
    const slash = path.lastIndexOf("/");
    return { path, folder: slash < 0 ? "" : path.slice(0, slash), inputs: typeof project === "string" ? [] : project.inputs };
  });
};

/** Where a checkout keeps what was built from it. */
export const stateFolder = ".factory";

/** Never part of a context, whatever else is ignored: each build would change the next one's key, and so would each look at git. */
const neverSent = ["**/.git", `**/${stateFolder}`];

/** What of the context an image reads: nothing else is hashed, and nothing else is sent. */
export const contextInputsOf = (spec: Spec, image: ImageSpec, contextIgnore: readonly string[]): ContextInputs => {
  const roots = new Set<string>();
  const texts = new Set<string>();
  for (const name of stageNames) {
    const stage = image.stages[name];
    for (const item of stage.copy ?? []) roots.add(typeof item === "string" ? item : item.path);
    for (const file of Object.values(stage.files ?? {})) if (typeof file !== "string" && "from" in file) roots.add(file.from);
    for (const item of stage.run ?? []) if (typeof item !== "string") for (const input of item.inputs ?? []) roots.add(input);
    for (const { tool, source } of toolsOf(spec, stage)) if (source === "go") roots.add(tool.go!.source);
    for (const { path, folder, inputs } of projectsOf(stage)) {
      texts.add(path);
      // Where pyproject.toml says nothing of the project, one of these does.
      for (const sibling of ["setup.cfg", "setup.py"]) texts.add(folder === "" ? sibling : `${folder}/${sibling}`);
      for (const input of inputs) roots.add(input);
    }
  }
  return {
    roots: [...roots].sort(),
    texts: [...texts].sort(),
    ignore: [...contextIgnore, ...(image.ignore ?? []), ...neverSent],
  };
};
