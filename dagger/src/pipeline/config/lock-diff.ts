import { pinName } from "./pin.js";
import { canonical } from "../common/canonical.js";
import type { Lock, PackageSet, PythonSet } from "./lock.js";

/** One thing that a lock holds, under a path a person can read; `was` or `now` is null where it came or went. */
export type Move = { where: string; name: string; was: string | null; now: string | null };

/** A set whose request changed, and whose pins did not. */
export type Reworded = { where: string; added: readonly string[]; removed: readonly string[] };

/** What moved between two locks, sorted by place and name. */
export const movesBetween = (before: Lock, after: Lock): Move[] => {
  const was = flatten(before);
  const now = flatten(after);
  return [...new Set([...was.keys(), ...now.keys()])]
    .filter((key) => was.get(key)?.whole !== now.get(key)?.whole)
    .sort()
    .map((key) => {
      const [where, name] = key.split("\n") as [string, string];
      const [old, fresh] = [was.get(key)?.shown ?? null, now.get(key)?.shown ?? null];
      return { where, name, was: old, now: old !== null && old === fresh ? `${fresh}, of other files` : fresh };
    });
};

/** The sets of two locks that are asked for in other words, and hold the same pins. */
export const rewordedBetween = (before: Lock, after: Lock): Reworded[] => {
  const was = new Map(setsOf(before));
  return setsOf(after).flatMap(([where, { requested, packages }]) => {
    const old = was.get(where);
    if (old === undefined || canonical(old.packages) !== canonical(packages)) return [];
    const added = requested.filter((word) => !old.requested.includes(word));
    const removed = old.requested.filter((word) => !requested.includes(word));
    return added.length + removed.length === 0 ? [] : [{ where, added, removed }];
  });
};

/** Every set of a lock, under the place that a person reads. */
const setsOf = (lock: Lock): (readonly [string, PackageSet | PythonSet])[] =>
  Object.entries(lock.images).flatMap(([image, { bootstrap = {}, packages = {}, python = {} }]) => [
    ...Object.entries(bootstrap).map(([platform, set]) => [`${image} base ${platform}`, set] as const),
    ...Object.entries(packages).flatMap(([stage, sets]) =>
      Object.entries(sets).map(([platform, set]) => [`${image} ${stage} ${platform}`, set] as const),
    ),
    ...Object.entries(python).map(([platform, set]) => [`${image} python ${platform}`, set] as const),
  ]);

/** What is shown of a thing, and all that is held of it. */
type LockedThing = { shown: string; whole: string };

/** `where\nname` → what a lock holds there. A name may stand several times (one package of two architectures). */
const flatten = (lock: Lock): Map<string, LockedThing> => {
  const held = new Map<string, LockedThing>();
  const put = (where: string, name: string, shown: string, value: unknown) => {
    const key = `${where}\n${name}`;
    const before = held.get(key);
    const whole = canonical(value);
    held.set(key, before === undefined ? { shown, whole } : { shown: `${before.shown}, ${shown}`, whole: before.whole + whole });
  };
  for (const [reference, digest] of Object.entries(lock.bases)) put("bases", reference, digest, digest);
  for (const [where, set] of setsOf(lock)) {
    for (const one of set.packages) {
      const [name, version] = pinName(typeof one === "string" ? one : one.pin);
      put(where, name, version, one);
    }
  }
  for (const [image, { dynamic = {} }] of Object.entries(lock.images)) {
    for (const [project, { metadata }] of Object.entries(dynamic))
      put(`${image} metadata`, project, metadata.requires.join(", "), metadata);
  }
  for (const [tool, sources] of Object.entries(lock.tools)) {
    for (const [source, versions] of Object.entries(sources)) {
      for (const [version, files] of Object.entries(versions)) {
        for (const [platform, file] of Object.entries(files))
          put(`tool ${tool} (${source}) ${platform}`, version, file.sha256.slice(0, 12), file);
      }
    }
  }
  return held;
};
