import { includeOf } from "./debian-base.js";
import type { Lock } from "./lock.js";
import type { Lacking } from "./needs.js";
import type { PlannedStage } from "./plan.js";
import type { PythonFinding } from "./python.js";
import type { ImageSpec } from "./spec.js";
import type { Platform, StageName } from "./stage.js";

/** What a person should know about a plan that is valid all the same. */
export type Note =
  | { note: "floating"; what: "packages" | "python" | "bootstrap"; stage: StageName }
  | {
      note: "stale";
      what: "packages" | "python" | "bootstrap" | "metadata";
      stage: StageName;
      added: readonly string[];
      removed: readonly string[];
    }
  | Lacking;

/**
 * Whether `./task lock` would answer what the note is about. Packages that float may be of a base whose packages only an engine knows;
 * a bootstrapped base and Python requirements can be locked anywhere.
 */
export const isBehind = (note: Note): boolean => note.note === "stale" || (note.note === "floating" && note.what !== "packages");

/** How the lock stands to what is asked. */
export const notesOf = (
  name: string,
  image: ImageSpec,
  platform: Platform,
  lock: Lock,
  stages: readonly PlannedStage[],
  python: PythonFinding,
): Note[] => {
  const notes: Note[] = [];
  const locked = lock.images[name];
  const compare = (
    what: "packages" | "python" | "bootstrap",
    stage: StageName,
    asked: readonly string[],
    held: readonly string[] | undefined,
  ) => {
    if (held === undefined) notes.push({ note: "floating", what, stage });
    else if (held.join("\n") !== asked.join("\n")) {
      notes.push({
        note: "stale",
        what,
        stage,
        added: asked.filter((word) => !held.includes(word)),
        removed: held.filter((word) => !asked.includes(word)),
      });
    }
  };
  if (image.base.bootstrap !== undefined) {
    compare("bootstrap", "base-tools", includeOf(image.base), locked?.bootstrap?.[platform]?.requested);
  }
  for (const { stage, ingredients } of stages) {
    for (const { step } of ingredients.steps) {
      if (step.do === "install") compare("packages", stage, step.names, locked?.packages?.[stage]?.[platform]?.requested);
      if (step.do === "python") {
        const held = locked?.python?.[platform];
        compare("python", stage, step.requires, held?.requested);
        if (held?.version !== undefined && held.version !== step.version) {
          const [added, removed] = [[`Python ${step.version}`], [`Python ${held.version}`]];
          notes.push({ note: "stale", what: "python", stage, added, removed });
        }
      }
    }
  }
  if (python.stale.length > 0)
    notes.push({ note: "stale", what: "metadata", stage: "dependencies", added: python.stale, removed: [] });
  return notes;
};
