import { FactoryError } from "../common/error.js";
import type { Entry, ContextSnapshot } from "../context/snapshot.js";
import { hashOf } from "../common/canonical.js";
import type { Lock } from "../config/lock.js";
import type { StaticProject } from "./project.js";
import { completed, readProject, requirementsOf } from "./requirements.js";
import type { ImageSpec } from "../config/spec.js";
import { stageNames } from "../common/stage.js";
import { projectsOf, type PythonInput } from "../context/inputs.js";

/** What the Python projects of an image ask for. `stale` names those whose inputs changed since the lock was made. */
export type PythonFinding = { projects: readonly StaticProject[]; requires: readonly string[]; stale: readonly string[] };

/**
 * Reads the projects by meaning. What only a build backend knows comes from the lock, where it is held with the hash of
 * the inputs it was made from.
 * @throws FactoryError INPUT_MISSING, PROJECT_INVALID, LOCK_MISSING
 */
export const pythonOf = (imageName: string, image: ImageSpec, snapshot: ContextSnapshot, lock: Lock): PythonFinding => {
  const stale: string[] = [];
  const projects = stageNames
    .flatMap((stage) => projectsOf(image.stages[stage]))
    .map((input): StaticProject => {
      const project = readInput(input, snapshot);
      if (project.kind === "static") return project;
      const held = lock.images[imageName]?.dynamic?.[input.path];
      if (held === undefined) {
        throw new FactoryError("LOCK_MISSING", {
          what: `the requirements of ${input.path} are not known`,
          why: `${project.why}: only its build backend can say, and images.lock holds no answer`,
          fix: { run: "lock", words: { IMAGE: imageName } },
        });
      }
      if (held.inputs !== inputsHash(input, snapshot)) stale.push(input.path);
      return completed(project, { project: input.folder, ...held.metadata });
    });
  return { projects, requires: requirementsOf(projects).requires, stale };
};

/** @throws FactoryError INPUT_MISSING, PROJECT_INVALID */
export const readInput = (input: PythonInput, snapshot: ContextSnapshot) => {
  const text = snapshot.texts.get(input.path);
  if (text === undefined) {
    throw new FactoryError("INPUT_MISSING", {
      what: `${input.path} is not in the context`,
      why: "stages.dependencies.python names it",
      fix: "create it, fix the name in images.yaml, or take it out of .dockerignore",
    });
  }
  const prefix = input.folder === "" ? "" : `${input.folder}/`;
  const siblings = [...snapshot.texts].filter(([path]) => path.startsWith(prefix) && !path.slice(prefix.length).includes("/"));
  return readProject(input.path, text, new Map(siblings.map(([path, content]) => [path.slice(prefix.length), content])));
};

/** The hash of what a build backend may read: the declared inputs of a project, or the file that names it. */
export const inputsHash = (input: PythonInput, snapshot: ContextSnapshot): string => {
  const roots = input.inputs.length > 0 ? input.inputs : [input.path];
  const read = snapshot.entries.filter(({ path }: Entry) => roots.some((root) => path === root || path.startsWith(`${root}/`)));
  return hashOf({ text: snapshot.texts.get(input.path), read });
};
