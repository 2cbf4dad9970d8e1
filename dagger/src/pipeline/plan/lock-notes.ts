import { includeOf, resolvedOn } from "../steps/debian-base.js";
import type { Lock } from "../config/lock.js";
import type { Note, PlannedStage } from "./types.js";
import type { PythonFinding } from "../python/projects.js";
import type { ImageSpec } from "../config/spec.js";
import type { Platform, StageName } from "../common/stage.js";

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
    on?: string,
  ) => {
    if (held === undefined) notes.push({ note: "floating", what, stage });
    else if (on !== undefined && on !== resolvedOn(image.base))
      notes.push({ note: "stale", what, stage, added: [resolvedOn(image.base)], removed: [on] });
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
    const held = locked?.bootstrap?.[platform];
    compare("bootstrap", "base-tools", includeOf(image.base), held?.requested, held?.on);
  }
  for (const { stage, ingredients } of stages) {
    for (const { step } of ingredients.steps) {
      if (step.do === "install") {
        const held = locked?.packages?.[stage]?.[platform];
        compare("packages", stage, step.names, held?.requested, held?.on);
      }
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
