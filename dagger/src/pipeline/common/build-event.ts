import type { Platform, StageName } from "./stage.js";

/**
 * What an engine or the assembler reports while it works. Progress, the run log, the record and the report
 * are folds over this one stream, so each of them can be made again from a kept run log alone.
 * `at` is milliseconds since the Unix epoch. `step` identifies one step within the run.
 */
export type BuildEvent =
  | { type: "stage-started"; at: number; stage: StageName; platform: Platform }
  | { type: "step-started"; at: number; step: string; name: string; stage?: StageName }
  | { type: "step-output"; at: number; step: string; stream: "stdout" | "stderr"; text: string }
  | { type: "step-progress"; at: number; step: string; what: string; current: number; total?: number }
  | { type: "step-ended"; at: number; step: string; cached: boolean; error?: string }
  | { type: "warning"; at: number; text: string }
  | { type: "stage-ended"; at: number; stage: StageName; platform: Platform; digest: string };
