import type { Reason } from "./decide.js";
import type { Note } from "./plan.js";

/** Each reason and each note, worded once. The tables must be complete: the compiler says when one is missing. */
const reasons = {
  kept: ({ where }) => where,
  "never-built": () => "nothing is kept under this key",
  asked: () => "NO_CACHE asks for it",
  "parent-changes": ({ parent }) => `after ${parent}`,
} satisfies { [W in Reason["why"]]: (reason: Extract<Reason, { why: W }>) => string };

export const sentence = (reason: Reason): string => (reasons[reason.why] as (reason: Reason) => string)(reason);

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
    return `${stage}: images.lock is behind in ${things[what]}: ${moved}; type: ./task lock`;
  },
} satisfies { [N in Note["note"]]: (note: Extract<Note, { note: N }>) => string };

export const noteText = (note: Note): string => (notes[note.note] as (note: Note) => string)(note);
