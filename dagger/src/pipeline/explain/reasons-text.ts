/**
 * # dagger/src/pipeline/explain
 *
 * Plans, decisions and reasons in words. Each kind of reason has its words here, and a kind without words does not compile.
 */
import type { Note } from "../plan/types.js";
import type { Reason, StageLocation } from "../decide/reason.js";

/** Each reason and each note, worded once. The tables must be complete: the compiler says when one is missing. */
type Wording = { [W in Reason["why"]]: (reason: Extract<Reason, { why: W }>) => string };

const version = (name: string, was: string | null, now: string | null): string => {
  if (was === null) return `${name} added (${now})`;
  return now === null ? `${name} removed (was ${was})` : `${name} ${was} → ${now}`;
};

const place = (where: StageLocation): string => {
  switch (where.at) {
    case "registry":
      return where.tag;
    case "state":
      return "kept here";
    case "commit":
      return "the same at that commit";
    case "folder":
      return "the same in that folder";
  }
};

const reasons = {
  kept: ({ where }) => place(where),
  "layer-kept": () => "its layer does not depend on what changed",
  held: ({ by }) => `${by} holds it`,
  asked: () => "NO_CACHE asks for it",
  parent: ({ parent, reads }) => `after ${parent}${reads === null ? "" : ` (reads its ${reads})`}`,
  "never-built": () => "never built: nothing is known of this stage",
  forgotten: () => "it was made of the same, and what was kept of it is gone",
  damaged: ({ what }) => `what is kept is damaged: ${what}`,
  base: ({ was, now }) => `base ${was} → ${now}`,
  package: ({ of, name, was }) => `${of === "base" ? "base " : ""}package ${was === null ? "added" : "removed"}: ${name}`,
  "locked-package": ({ of, name, was, now }) => `images.lock: ${of === "base" ? "base package " : ""}${version(name, was, now)}`,
  pinned: ({ what, now }) => `images.lock: ${what} ${now ? "are held now" : "are held no more"}`,
  tool: ({ name, was, now }) => `tool ${version(name, was, now)}`,
  "tool-file": ({ name, was, now }) => `tool ${name}: another file of the same version (sha256 ${was} → ${now})`,
  dependency: ({ name, from, was, now }) => {
    const where = from.length === 0 ? "" : `${from.join(", ")}: `;
    if (was === null) return `${where}dependency added "${now}"`;
    return now === null ? `dependency removed "${was}"` : `${where}dependency ${name} changed: "${was}" → "${now}"`;
  },
  "locked-dependency": ({ name, was, now }) => `images.lock: Python ${version(name, was, now)}`,
  file: ({ path, was, now }) => {
    if (was === null) return `${path} added`;
    return now === null ? `${path} removed` : `${path} changed (${was} → ${now})`;
  },
  project: ({ path }) => `what installing ${path} leaves is another`,
  "file-mode": ({ path, executable }) => `${path} is ${executable ? "executable now" : "not executable any more"}`,
  step: ({ step, field, was, now }) => version(field === null ? step : `${step}: ${field}`, was, now),
  config: ({ field, was, now }) => `config ${version(field, was, now)}`,
  setting: ({ name, was, now }) => `${name} ${was} → ${now}`,
  script: ({ step }) => `this version of image-factory carries out ${step} in another way`,
  "key-format": ({ was, now }) => `keys have another format (${was} → ${now})`,
  "nothing-obvious": () => "the keys differ but no ingredient does; please report this",
} satisfies Wording;

export const sentence = (reason: Reason): string => (reasons[reason.why] as (reason: Reason) => string)(reason);

/** Where a person made the change that a reason speaks of; null where nobody did. */
export const causeOf = (reason: Reason): string | null => {
  switch (reason.why) {
    case "kept":
    case "layer-kept":
    case "held":
    case "parent":
    case "never-built":
    case "damaged":
    case "forgotten":
      return null;
    case "asked":
      return "NO_CACHE";
    case "file":
    case "file-mode":
    case "project":
      return reason.path;
    case "dependency":
      return reason.from[0] ?? "a Python project";
    case "locked-package":
    case "locked-dependency":
    case "pinned":
      return "images.lock";
    case "base":
    case "package":
    case "tool":
    case "tool-file":
    case "step":
    case "config":
    case "setting":
      return "images.yaml";
    case "script":
    case "key-format":
    case "nothing-obvious":
      return "image-factory itself";
  }
};

const things = {
  packages: "packages",
  python: "Python requirements",
  bootstrap: "base packages",
  metadata: "Python metadata",
} as const;

const notes = {
  floating: ({ what, stage }) =>
    `${stage}: images.lock holds no ${things[what]}; the mirror's newest are taken, and the key cannot see them move`,
  stale: ({ what, stage, added, removed }) => {
    const moved = [...added.map((word) => `+${word}`), ...removed.map((word) => `-${word}`)].join(" ");
    return `${stage}: images.lock is out of date in ${things[what]}: ${moved}; lock it again`;
  },
  lacking: ({ stage, by, programs, packages }) =>
    `${stage}: ${by} needs ${programs.join(" and ")}, which no package before it brings; add ${packages.join(", ")} to the packages of base-tools`,
} satisfies { [N in Note["note"]]: (note: Extract<Note, { note: N }>) => string };

export const noteText = (note: Note): string => (notes[note.note] as (note: Note) => string)(note);
