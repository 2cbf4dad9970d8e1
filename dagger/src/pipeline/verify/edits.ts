import { parse as parseToml } from "smol-toml";
import { parse as parseYaml, stringify } from "yaml";
import type { Lock } from "../config/lock.js";
import { equal } from "./case.js";

/** Changes of texts, each as small as a person would make it where the text has room for it. Pure. */

/** images.yaml with another value; comments and anchors are lost, and the meaning of all the rest stays. */
export const withSpec = (text: string, change: (value: SpecText) => void): string => {
  // Aliases become copies, so that a change in one place stays in that place.
  const value = JSON.parse(JSON.stringify(parseYaml(text, { merge: true, maxAliasCount: 1000 }))) as SpecText;
  change(value);
  return stringify(value, { lineWidth: 0 });
};

/** As far as changes touch it. */
export type SpecText = {
  images: Record<
    string,
    {
      repository: string;
      base: { image?: string; include?: string[] };
      stages: Record<string, { labels?: Record<string, string> }>;
    }
  >;
  tools: Record<string, { version: string; go?: { version?: string } }>;
};

export const withLock = (lock: Lock, change: (copy: Lock) => void): string => {
  const copy = structuredClone(lock);
  change(copy);
  return stringify(copy, { lineWidth: 0, aliasDuplicateObjects: false });
};

type ProjectTable = { description?: unknown; dependencies?: unknown };

/** The [project] table of a pyproject.toml; null where there is none to read. */
const projectTable = (text: string): ProjectTable | null => {
  try {
    const table = parseToml(text)["project"];
    return typeof table === "object" && !Array.isArray(table) && !(table instanceof Date) ? (table as ProjectTable) : null;
  } catch {
    return null;
  }
};

/** The requirements that a pyproject.toml declares, as they are written; null where a build backend decides them. */
export const writtenDependencies = (text: string): string[] | null => {
  const list = projectTable(text)?.dependencies ?? [];
  return projectTable(text) !== null && Array.isArray(list) && list.every((one) => typeof one === "string") ? list : null;
};

/** A pyproject.toml with a word more in its description, and nothing else; null where it is not written in one line. */
export const withDescription = (text: string, word: string): string | null => {
  const was = projectTable(text)?.description;
  const line = `description = ${JSON.stringify(`${typeof was === "string" ? was : "A project"} (${word})`)}`;
  const edited = inProject(text, (section) =>
    was === undefined ? `\n${line}${section}` : section.replace(/\n[ \t]*description[ \t]*=.*/, () => `\n${line}`),
  );
  return checked(text, edited, { description: `${typeof was === "string" ? was : "A project"} (${word})` });
};

/** A requirement that is added (`was` null), removed (`now` null) or replaced, and nothing else; null where the text has no room. */
export const withDependency = (text: string, was: string | null, now: string | null): string | null => {
  const list = writtenDependencies(text);
  if (list === null) return null;
  const after = was === null ? [now!, ...list] : list.flatMap((one) => (one === was ? (now ?? []) : [one]));
  const edited = inProject(text, (section) => {
    if (was === null)
      return section.replace(/(\n[ \t]*dependencies[ \t]*=[ \t]*\[)/, (open) => `${open}${JSON.stringify(now)}, `);
    const quoted = [JSON.stringify(was), `'${was}'`].find((form) => section.includes(form));
    if (quoted === undefined) return section;
    const at = section.indexOf(quoted);
    const rest = section.slice(at + quoted.length);
    return section.slice(0, at) + (now === null ? rest.replace(/^\s*,/, "") : JSON.stringify(now) + rest);
  });
  return checked(text, edited, { dependencies: after });
};

/** Edits what stands between the header of [project] and the next one. */
const inProject = (text: string, edit: (section: string) => string): string => {
  const header = /^[ \t]*\[[ \t]*project[ \t]*\][ \t]*(?:#.*)?$/m.exec(text);
  if (header === null) return text;
  const start = header.index + header[0].length;
  const length = /\n[ \t]*\[[^\]\n]*\][ \t]*(?:#.*)?(?:\n|$)/.exec(text.slice(start))?.index ?? text.length - start;
  return text.slice(0, start) + edit(text.slice(start, start + length)) + text.slice(start + length);
};

/** The edited text, if it means what was meant; the edits above know no TOML, and this holds them to it. */
const checked = (was: string, now: string, project: ProjectTable): string | null => {
  try {
    const [before, after] = [parseToml(was), parseToml(now)];
    return equal({ ...before, project: { ...(before["project"] as object), ...project } }, after) ? now : null;
  } catch {
    return null;
  }
};
