import type { Decision } from "../../dagger/src/pipeline/decide/decide.js";
import type { Descriptor } from "../../dagger/src/pipeline/oci/manifest.js";
import type { StageRecord } from "../state/records.js";

/** A stage that exists now, with the layers it adds to the one below. `record` is null for one that the stage above holds. */

export type StageResult = {
  decision: Decision;
  record: StageRecord | null;
  seconds: number;
  layers: readonly Descriptor[];
  compared: boolean;
};
/** What becomes of a stage that is there already: `no` reuses it; the others make it again, and compare it or put it in its place. */

export type Rebuild = "no" | "compare" | "replace";
