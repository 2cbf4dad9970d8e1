import { pinName } from "./difference-parts.js";
import type { Lock } from "./lock.js";

/** One thing that a lock holds, under a path a person can read; `was` or `now` is null where it came or went. */
export type Move = { where: string; name: string; was: string | null; now: string | null };

/** What moved between two locks, sorted by place and name. */
export const movesBetween = (before: Lock, after: Lock): Move[] => {
  const was = flatten(before);
  const now = flatten(after);
  return [...new Set([...was.keys(), ...now.keys()])]
    .filter((key) => was.get(key) !== now.get(key))
    .sort()
    .map((key) => {
      const [where, name] = key.split("\n") as [string, string];
      return { where, name, was: was.get(key) ?? null, now: now.get(key) ?? null };
    });
};

/** `where\nname` → version, of everything that a lock holds. */
const flatten = (lock: Lock): Map<string, string> => {
  const held = new Map<string, string>();
  const put = (where: string, name: string, version: string) => held.set(`${where}\n${name}`, version);
  for (const [reference, digest] of Object.entries(lock.bases)) put("bases", reference, digest);
  for (const [image, locked] of Object.entries(lock.images)) {
    for (const [platform, set] of Object.entries(locked.bootstrap ?? {}))
      for (const pin of set.packages) put(`${image} base ${platform}`, ...pinName(pin));
    for (const [stage, sets] of Object.entries(locked.packages ?? {})) {
      for (const [platform, set] of Object.entries(sets))
        for (const pin of set.packages) put(`${image} ${stage} ${platform}`, ...pinName(pin));
    }
    for (const [platform, set] of Object.entries(locked.python ?? {}))
      for (const { pin } of set.packages) put(`${image} python ${platform}`, ...pinName(pin));
    for (const [project, { metadata }] of Object.entries(locked.dynamic ?? {}))
      put(`${image} metadata`, project, metadata.requires.join(", "));
  }
  for (const [tool, sources] of Object.entries(lock.tools)) {
    for (const [source, versions] of Object.entries(sources)) {
      for (const [version, files] of Object.entries(versions)) {
        for (const [platform, file] of Object.entries(files))
          put(`tool ${tool} (${source}) ${platform}`, version, file.sha256.slice(0, 12));
      }
    }
  }
  return held;
};
