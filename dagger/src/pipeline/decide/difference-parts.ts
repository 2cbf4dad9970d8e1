import type { Entry } from "../context/snapshot.js";
import type { Difference } from "./reason.js";
import type { ConfigChange } from "../steps/step.js";

/** Named values at two times; only those that moved, in the order of their names. */
type NamedMove = { name: string; was: string | null; now: string | null };

export const moves = (was: readonly (readonly [string, string])[], now: readonly (readonly [string, string])[]): NamedMove[] => {
  const before = grouped(was);
  const after = grouped(now);
  return [...new Set([...before.keys(), ...after.keys()])]
    .sort()
    .map((name) => ({ name, was: before.get(name) ?? null, now: after.get(name) ?? null }))
    .filter((move) => move.was !== move.now);
};

/** A name may stand several times (a requirement with two markers): its values then count together. */
const grouped = (pairs: readonly (readonly [string, string])[]): Map<string, string> => {
  const found = new Map<string, string>();
  for (const [name, value] of pairs) found.set(name, found.has(name) ? `${found.get(name)}, ${value}` : value);
  return found;
};

/** Names that came or went. */
export const named = (was: readonly string[], now: readonly string[]): NamedMove[] =>
  moves(
    was.map((name) => [name, name] as const),
    now.map((name) => [name, name] as const),
  );

/** The name that a requirement starts with (PEP 508). */
export const requirementName = (text: string): string => /^[A-Za-z0-9._-]+/.exec(text)?.[0] ?? text;

export const entryDifferences = (was: readonly Entry[], now: readonly Entry[]): Difference[] => {
  const before = new Map(was.map((entry) => [entry.path, entry]));
  const after = new Map(now.map((entry) => [entry.path, entry]));
  return [...new Set([...before.keys(), ...after.keys()])].sort().flatMap((path): Difference[] => {
    const old = before.get(path);
    const fresh = after.get(path);
    if (old?.kind === "file" && fresh?.kind === "file" && old.sha256 === fresh.sha256)
      return old.executable === fresh.executable ? [] : [{ why: "file-mode", path, executable: fresh.executable }];
    const [left, right] = [wordOf(old), wordOf(fresh)];
    return left === right ? [] : [{ why: "file", path, was: left, now: right }];
  });
};

const wordOf = (entry: Entry | undefined): string | null => {
  switch (entry?.kind) {
    case undefined:
      return null;
    case "file":
      return entry.sha256.slice(0, 12);
    case "symlink":
      return `link to ${entry.target}`;
    case "directory":
      return "directory";
  }
};

/** Field by field: `env.PATH`, `labels.title`, `cmd`. */
export const configDifferences = (was: ConfigChange | null, now: ConfigChange | null): Difference[] =>
  moves(flatConfig(was), flatConfig(now)).map(({ name, ...move }): Difference => ({ why: "config", field: name, ...move }));

const flatConfig = (change: ConfigChange | null): [string, string][] => {
  if (change === null) return [];
  const { env, labels, path = [], ...rest } = change;
  return [
    ...Object.entries(env).map(([name, value]): [string, string] => [`env.${name}`, value]),
    ...(path.length === 0 ? [] : [["path", path.join(":")] as [string, string]]),
    ...Object.entries(labels).map(([name, value]): [string, string] => [`labels.${name}`, value]),
    ...Object.entries(rest).flatMap(([name, value]): [string, string][] =>
      value === null ? [] : [[name, typeof value === "string" ? value : JSON.stringify(value)]],
    ),
  ];
};
