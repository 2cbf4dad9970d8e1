import { appendFileSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BuildEvent } from "../../dagger/src/pipeline/common/build-event.js";
import { type Ingredients, keyOf } from "../../dagger/src/pipeline/plan/key.js";
import type { Platform } from "../../dagger/src/pipeline/common/stage.js";
import type { StageKeys } from "../../dagger/src/build/ports.js";
import { type StageRecord, usableRecord, wholeRecord } from "../../dagger/src/build/stage-record.js";
import { readNote, writeNote } from "../host/note.js";
import { notWritable, type State } from "./state.js";

const recordFile = (state: State, key: string): string => join(state.root, "stages", `${key}.json`);

/** What is recorded under a key, whole or not; null where it cannot be read. */
export const readRecord = (state: State, key: string): StageRecord | null => {
  const record = readNote<StageRecord>(recordFile(state, key));
  return record?.key === key ? record : null;
};

/** A stage that is recorded and that this build may use. */
export const findStage = (state: State, key: string): StageRecord | null => usableRecord(state, readRecord(state, key));

/** A stage that is recorded, whole or not. */
export const hasRecord = (state: State, key: string): boolean => existsSync(recordFile(state, key));

export const keepStage = (state: State, record: StageRecord): void => writeNote(recordFile(state, record.key), record, 2);

const ingredientsFile = (state: State, key: string): string => join(state.root, "ingredients", `${key}.json`);

/** What a key was made from, for explanations: kept longer than the result. */
export const keepIngredients = (state: State, key: string, ingredients: Ingredients): void => {
  if (!existsSync(ingredientsFile(state, key))) writeNote(ingredientsFile(state, key), ingredients);
};

export const findIngredients = (state: State, key: string): Ingredients | null => {
  const ingredients = readNote<Ingredients>(ingredientsFile(state, key));
  return ingredients !== null && keyOf(ingredients) === key ? ingredients : null;
};

const lastFile = (state: State, image: string, platform: Platform): string =>
  join(state.root, "last", `${image}-${platform.replace("/", "-")}.json`);

/** The keys of the last build of an image, by stage. */
export const lastKeys = (state: State, image: string, platform: Platform): StageKeys =>
  readNote<StageKeys>(lastFile(state, image, platform)) ?? {};

/** The keys of the last builds of all images. */
export const allLastKeys = (state: State): ReadonlySet<string> => {
  const keys = (name: string): string[] => Object.values(readNote<StageKeys>(join(state.root, "last", name)) ?? {});
  return new Set(namesIn(join(state.root, "last")).flatMap(keys));
};

export const keepLastKeys = (state: State, image: string, platform: Platform, keys: StageKeys): void => {
  const was = lastKeys(state, image, platform);
  const now = { ...was, ...keys };
  if (JSON.stringify(now) === JSON.stringify(was)) return;
  const file = lastFile(state, image, platform);
  // Renaming over a file makes ext4 write the new one out at once; a note that is absent for a moment costs nobody anything.
  rmSync(file, { force: true });
  writeNote(file, now);
};

/** All keys under which something is recorded, readable or not. */
export const recordedKeys = (state: State): string[] =>
  namesIn(join(state.root, "stages")).flatMap((name) => (name.endsWith(".json") ? [name.slice(0, -".json".length)] : []));

/** All stages that are recorded and whole, of whatever trust level. */
export const allStages = (state: State): StageRecord[] =>
  recordedKeys(state).flatMap((key) => {
    const record = readRecord(state, key);
    return record === null ? [] : (wholeRecord(state.layout, record) ?? []);
  });

const namesIn = (folder: string): string[] => (existsSync(folder) ? readdirSync(folder) : []);

export const forgetStage = (state: State, key: string): void => rmSync(recordFile(state, key), { force: true });

/** The log of one run: every event as it came, one JSON object a line. All else that is told of a run is a fold over it. */
export const openRunLog = (state: State, id: string) => {
  const folder = join(state.runs, id);
  const file = join(folder, "events.jsonl");
  try {
    mkdirSync(folder, { recursive: true });
    // There even where nothing happens: a build names it.
    writeFileSync(file, "");
  } catch (error) {
    throw notWritable(state, error);
  }
  return {
    folder,
    write: (event: BuildEvent) => appendFileSync(file, `${JSON.stringify(event)}\n`),
    finish: (record: object) => writeNote(join(folder, "record.json"), record, 2),
  };
};

/**
 * Keeps the newest runs; their names begin with the time.
 * @param slack how many more may stay: removing the oldest after each build would take a part of its time each time
 */
export const sweepRuns = (state: State, keep: number, slack = 0): void => {
  if (!existsSync(state.runs)) return;
  const names = readdirSync(state.runs).sort();
  if (names.length <= keep + slack) return;
  for (const name of names.slice(0, -keep)) rmSync(join(state.runs, name), { recursive: true, force: true });
};
