import type { StageName } from "../common/stage.js";

/** A thing that has a version, a text or a place: what it was and what it is; null where it came or went. */
type Move = { was: string | null; now: string | null };

/** Why a stage is reused or made again. Worded in explain.ts and nowhere else; old and new values stand beside each other. */
export type Reason =
  | { why: "kept"; where: StageLocation }
  /** An assembled layer that reads nothing of what changed: it is there, and only a manifest is written. */
  | { why: "layer-kept" }
  /** The result of a stage above holds it. */
  | { why: "held"; by: StageName }
  | { why: "asked" }
  | { why: "parent"; parent: StageName; reads: "account files" | null }
  | { why: "never-built" }
  | { why: "damaged"; what: string }
  /** It was made of the same, and what was kept of it is gone (clean). */
  | { why: "forgotten" }
  | Difference;

/** Where the result of a key is; at another commit and in another folder it is only known to be the same. */
export type StageLocation = { at: "state" } | { at: "commit" } | { at: "folder" } | { at: "registry"; tag: string };

/** What differs between two ingredients of one stage. */
export type Difference =
  | ({ why: "base" } & Move)
  | ({ why: "package"; of: "base" | "stage"; name: string } & Move)
  /** A version that images.lock moved, of a package that is still asked for (or that another one needs). */
  | ({ why: "locked-package"; of: "base" | "stage"; name: string } & Move)
  | { why: "pinned"; what: "base packages" | "packages" | "Python requirements"; now: boolean }
  | ({ why: "tool"; name: string } & Move)
  | { why: "tool-file"; name: string; was: string; now: string }
  | ({ why: "dependency"; name: string; from: readonly string[] } & Move)
  | ({ why: "locked-dependency"; name: string } & Move)
  | ({ why: "file"; path: string } & Move)
  /** What installing a Python project leaves is another. */
  | { why: "project"; path: string }
  | { why: "file-mode"; path: string; executable: boolean }
  | ({ why: "step"; step: string; field: string | null } & Move)
  | ({ why: "config"; field: string } & Move)
  | ({ why: "setting"; name: "epoch" | "compression" | "platform" } & Move)
  /** The step says the same, and this version carries it out in another way. */
  | { why: "script"; step: string }
  | ({ why: "key-format" } & Move)
  /** The keys differ and no ingredient does. */
  | { why: "nothing-obvious" };
