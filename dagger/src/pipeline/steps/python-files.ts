import { distInfo } from "../python/dist-info.js";
import type { ContextSnapshot } from "../context/snapshot.js";
import type { StaticProject } from "../python/project.js";
import type { Step, StepOf } from "./step.js";

/**
 * What installing the Python projects of an image would leave in the venv (.dist-info, .pth, commands), as `file` steps of the
 * stage that copies them: nothing runs, and a changed description executes no stage. A project whose folder no copy step
 * brings gets none; one that is brought to several places is installed where it is brought first.
 * @param python the step that made the venv, from whichever stage has it
 * @param copies the copy steps of the stage
 * @throws FactoryError PROJECT_INVALID when a folder cannot be on Python's path
 */
export const pythonFiles = (
  projects: readonly StaticProject[],
  python: Pick<StepOf<"python">, "venv" | "version">,
  copies: readonly StepOf<"copy">[],
  snapshot: Pick<ContextSnapshot, "entries">,
): Step[] =>
  projects
    .flatMap((project) => {
      const folder = copies.flatMap(({ items }) => items).flatMap(({ from, to }) => destination(project.folder, from, to))[0];
      if (folder === undefined) return [];
      const inside = project.folder === "" ? "" : `${project.folder}/`;
      const files = snapshot.entries.flatMap(({ kind, path }) =>
        kind !== "directory" && path.startsWith(inside) ? [path.slice(inside.length)] : [],
      );
      const installed = distInfo(project, { venv: python.venv, python: python.version, project: folder, files });
      return installed.map((file) => ({ ...file, project: project.path }));
    })
    .sort((a, b) => (a.path < b.path ? -1 : 1))
    .map(({ path, content, executable, project }) => ({
      do: "file",
      path,
      owner: "0:0",
      mode: executable ? "755" : "644",
      source: { text: content, project },
    }));

/** Where a folder of the context ends up, when `from` is brought to `to`. */
const destination = (folder: string, from: string, to: string): string[] => {
  if (from === "." || from === folder) return [from === "." && folder !== "" ? `${to}/${folder}` : to];
  return folder.startsWith(`${from}/`) ? [`${to}${folder.slice(from.length)}`] : [];
};
