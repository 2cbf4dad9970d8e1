import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BuildEvent } from "../../dagger/src/pipeline/event.js";
import type { Ingredients } from "../../dagger/src/pipeline/key.js";
import type { Platform, StageName } from "../../dagger/src/pipeline/stage.js";
import { missingBlobs, readManifest } from "../../dagger/src/layout.js";
import { replaceFile } from "./replace-file.js";
import type { State } from "./state.js";

/** What this checkout knows of an executed stage (or base): the digest that its key led to. */
export type StageRecord = {
  key: string;
  stage: StageName | "base";
  image: string;
  platform: Platform;
  /** Of the image manifest. */
  digest: string;
  /** Of the stage ref of an executed stage; null for a base and for what is assembled. */
  ref: string | null;
  /** Manifest of the stage that it was assembled on: it is part of no image that stands on another. Null for what is executed or pulled. */
  parent: string | null;
  /** A repository that holds the blobs which are not here, `host/name`; null where all of them must be here. */
  elsewhere: string | null;
  engine: string;
  at: number;
  seconds: number;
};

const recordFile = (state: State, key: string): string => join(state.root, "stages", `${key}.json`);

/** What is recorded under a key, whole or not; null where it cannot be read. */
export const readRecord = (state: State, key: string): StageRecord | null => {
  const path = recordFile(state, key);
  if (!existsSync(path)) return null;
  try {
    const record = JSON.parse(readFileSync(path, "utf8")) as StageRecord;
    // A record of an earlier format says nothing of where its blobs are.
    return record.key === key && record.elsewhere !== undefined ? record : null;
  } catch {
    return null;
  }
};

/** A stage that is recorded and whole. A damaged one is as good as absent: it is built again, never trusted, never fatal. */
export const findStage = (state: State, key: string): StageRecord | null => {
  const record = readRecord(state, key);
  if (record === null) return null;
  const missing = missingBlobs(state.layout, record.ref ?? record.digest);
  if (missing === null) return null;
  if (missing.length === 0) return record;
  if (record.elsewhere === null) return null;
  if (record.ref !== null) return record;
  // What was assembled here was pushed nowhere yet, as far as anybody knows: only what is below it may be elsewhere.
  const below = new Set(record.parent === null ? [] : layersOf(state, record.parent));
  return missing.every(({ digest }) => below.has(digest)) ? record : null;
};

const layersOf = (state: State, digest: string): string[] => {
  try {
    return readManifest(state.layout, digest).layers.map((layer) => layer.digest);
  } catch {
    return [];
  }
};

/** A stage that is recorded, whole or not. */
export const hasRecord = (state: State, key: string): boolean => existsSync(recordFile(state, key));

export const keepStage = (state: State, record: StageRecord): void =>
  replaceFile(recordFile(state, record.key), `${JSON.stringify(record, null, 2)}\n`);

const ingredientsFile = (state: State, key: string): string => join(state.root, "ingredients", `${key}.json`);

/** What a key was made from, for explanations: kept longer than the result. */
export const keepIngredients = (state: State, key: string, ingredients: Ingredients): void => {
  if (!existsSync(ingredientsFile(state, key))) replaceFile(ingredientsFile(state, key), JSON.stringify(ingredients));
};

export const findIngredients = (state: State, key: string): Ingredients | null => {
  try {
    return JSON.parse(readFileSync(ingredientsFile(state, key), "utf8")) as Ingredients;
  } catch {
    return null;
  }
};

type LastKeys = Partial<Record<StageName, string>>;
const lastFile = (state: State, image: string, platform: Platform): string =>
  join(state.root, "last", `${image}-${platform.replace("/", "-")}.json`);

/** The keys of the last build of an image, by stage. */
export const lastKeys = (state: State, image: string, platform: Platform): LastKeys => {
  try {
    return JSON.parse(readFileSync(lastFile(state, image, platform), "utf8")) as LastKeys;
  } catch {
    return {};
  }
};

/** The keys of the last builds of all images. */
export const allLastKeys = (state: State): ReadonlySet<string> => {
  const folder = join(state.root, "last");
  const keys = (name: string): string[] => {
    try {
      return Object.values(JSON.parse(readFileSync(join(folder, name), "utf8")) as LastKeys);
    } catch {
      return [];
    }
  };
  return new Set(existsSync(folder) ? readdirSync(folder).flatMap(keys) : []);
};

export const keepLastKeys = (state: State, image: string, platform: Platform, keys: LastKeys): void => {
  const was = lastKeys(state, image, platform);
  const now = { ...was, ...keys };
  if (JSON.stringify(now) === JSON.stringify(was)) return;
  const file = lastFile(state, image, platform);
  // Renaming over a file makes ext4 write the new one out at once; a note that is absent for a moment costs nobody anything.
  rmSync(file, { force: true });
  replaceFile(file, `${JSON.stringify(now)}\n`);
};

export const allStages = (state: State): StageRecord[] => {
  const folder = join(state.root, "stages");
  if (!existsSync(folder)) return [];
  const keys = readdirSync(folder)
    .filter((name) => name.endsWith(".json"))
    .map((name) => name.slice(0, -".json".length));
  return keys.flatMap((key) => findStage(state, key) ?? []);
};

export const forgetStage = (state: State, key: string): void => rmSync(recordFile(state, key), { force: true });

/** The log of one run: every event as it came, one JSON object a line. All else that is told of a run is a fold over it. */
export const openRunLog = (state: State, id: string) => {
  const folder = join(state.runs, id);
  mkdirSync(folder, { recursive: true });
  const file = join(folder, "events.jsonl");
  // There even where nothing happens: a build names it.
  writeFileSync(file, "");
  return {
    folder,
    write: (event: BuildEvent) => appendFileSync(file, `${JSON.stringify(event)}\n`),
    finish: (record: unknown) => replaceFile(join(folder, "record.json"), `${JSON.stringify(record, null, 2)}\n`),
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
