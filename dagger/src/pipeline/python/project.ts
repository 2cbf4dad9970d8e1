/**
 * # dagger/src/pipeline/python
 *
 * What the image's Python projects declare, read from their files or asked of their build backend. What cannot be known is an error or a note,
 * and never taken for empty.
 */
/** A Python project, as far as an image depends on it. */

export type EntryPoint = { group: string; name: string; value: string };

type Common = {
  /** The file it was read from, relative to the context. */
  path: string;
  /** The folder of that file, "" for the context itself. */
  folder: string;
  description: string | null;
  /** Entry points of all groups, `console_scripts` and `gui_scripts` among them, sorted by group and name. */
  entryPoints: readonly EntryPoint[];
  /** The fields that the project leaves to its build backend, sorted. */
  dynamic: readonly string[];
  /** Folders below the project that hold its modules, as its build configuration says; empty when it says nothing. */
  sourceRoots: readonly string[];
};

/** Everything an install needs is written down, so it can be read without running anything. */
export type StaticProject = Common & {
  kind: "static";
  name: ProjectName;
  /** Null when only the build backend knows it: nothing that is installed depends on it. */
  version: string | null;
  requiresPython: string | null;
  /** Canonical requirements (PEP 508), sorted, each once; optional ones are not among them. */
  requires: readonly string[];
  /** The requirements of each extra, without their `extra == …` condition. */
  extras: readonly { name: string; requires: readonly string[] }[];
};

/** Only a build backend knows what it requires; `why` says by which words of the project. */
export type DynamicProject = Common & { kind: "dynamic"; name: ProjectName | null; why: string };

export type Project = StaticProject | DynamicProject;

export type ProjectName = {
  /** As its author writes it. */
  written: string;
  /** As an index, pip and a lock know it (PEP 503). */
  normal: string;
};

export const folderOf = (path: string): string => (path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : "");

export const byGroupAndName = (a: EntryPoint, b: EntryPoint): number => {
  const [left, right] = [`${a.group}\n${a.name}`, `${b.group}\n${b.name}`];
  return left < right ? -1 : left > right ? 1 : 0;
};
