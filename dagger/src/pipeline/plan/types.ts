import type { Platform, StageName } from "../common/stage.js";
import type { Step } from "../steps/step.js";
import type { Base } from "../steps/base.js";
import type { StageKey, Ingredients } from "./key.js";
import type { Lock } from "../config/lock.js";
import type { Spec } from "../config/spec.js";
import type { ContextSnapshot } from "../context/snapshot.js";
import type { Lacking } from "../steps/needs.js";

export type PlannedStage = {
  stage: StageName;
  key: StageKey;
  /** executed: an engine runs steps of it, or brings the base. assembled: it only places files and sets config. */
  kind: "executed" | "assembled";
  ingredients: Ingredients;
};
/** The four stages of one image on one platform. Versioned: other programs read `plan --json`. */

export type Plan = {
  format: 1;
  image: string;
  repository: string;
  platform: Platform;
  base: Base;
  /** Seconds since the Unix epoch. */
  epoch: number;
  compression: "zstd" | "gzip";
  stages: readonly PlannedStage[];
  notes: readonly Note[];
  /** What RUN steps may read; never part of a key. */
  secrets: Readonly<Record<string, { from?: string | undefined; as: string }>>;
  /** The other locked versions of each tool, which the rendered Dockerfile takes as build arguments; never part of a key. */
  alternatives: Readonly<Record<string, readonly Step[]>>;
  /** Which projects ask for a Python requirement, by its text; never part of a key. */
  declared: Readonly<Record<string, readonly string[]>>;
};
export type PlanInput = {
  spec: Spec;
  image: string;
  platform: Platform;
  snapshot: ContextSnapshot;
  lock: Lock;
  /** `<TOOL>_VERSION` → version. */
  buildArgs: Readonly<Record<string, string>>;
};
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
