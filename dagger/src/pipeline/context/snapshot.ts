/**
 * What the planner knows of a folder: the selected files, exactly as they are sent to an engine.
 * Owners and modification times are left out on purpose: they never reach an image, so they must never reach a key.
 */
type FileEntry = { kind: "file"; path: string; executable: boolean; size: number; sha256: string };
export type Entry = FileEntry | { kind: "symlink"; path: string; target: string } | { kind: "directory"; path: string };

export type ContextSnapshot = {
  /** Selected entries, sorted by path (by code unit), paths relative to the context with `/` between parts. */
  entries: readonly Entry[];
  /** Contents of the few files that the planner reads (pyproject.toml and the like), by path. */
  texts: ReadonlyMap<string, string>;
};

/** The sizes of the files in bytes, by path. */
export const sizesOf = ({ entries }: Pick<ContextSnapshot, "entries">): Map<string, number> =>
  new Map(entries.flatMap((entry) => (entry.kind === "file" ? [[entry.path, entry.size] as const] : [])));

/** What to gather from a context: made by the planner's side, fetched by an edge. */
export type ContextInputs = {
  /** Files or folders, relative to the context. Each must exist. */
  roots: readonly string[];
  /** Files whose content the planner reads; a missing one is the planner's error to report. */
  texts: readonly string[];
  /** Ignore lines in Docker's dialect, the context's own .dockerignore first. */
  ignore: readonly string[];
};
