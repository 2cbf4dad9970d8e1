import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { BuildRecord } from "../../dagger/src/pipeline/common/build-record.js";
import type { StageName } from "../../dagger/src/pipeline/common/stage.js";
import { readNote } from "../host/note.js";
import type { State } from "./state.js";

/** How long executing these stages took before: the sum of each one's median, and of how many builds. */
export type Expected = { seconds: number; builds: number };

/** Builds that count: the newest of those in which a stage was executed. */
const newest = 5;

/** From the records of past runs; null where one of the stages was never executed here. */
export const expectedTime = (state: State, image: string, platform: string, stages: readonly StageName[]): Expected | null => {
  if (stages.length === 0) return null;
  const seen = new Map<StageName, number[]>(stages.map((stage) => [stage, []]));
  for (const record of records(state)) {
    if (record.image !== image) continue;
    for (const done of record.platforms.filter((one) => one.platform === platform).flatMap((one) => one.stages)) {
      const times = seen.get(done.stage);
      if (times !== undefined && times.length < newest && done.action === "execute") times.push(done.seconds);
    }
    if ([...seen.values()].every(({ length }) => length >= newest)) break;
  }
  const builds = Math.min(...[...seen.values()].map(({ length }) => length));
  return builds === 0 ? null : { seconds: [...seen.values()].reduce((sum, times) => sum + median(times), 0), builds };
};

function* records(state: State): Generator<BuildRecord> {
  const names = existsSync(state.runs) ? readdirSync(state.runs).sort().reverse() : [];
  for (const name of names) {
    // A run that failed or was stopped has no record.
    const record = readNote<BuildRecord>(join(state.runs, name, "record.json"));
    if (record !== null) yield record;
  }
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
