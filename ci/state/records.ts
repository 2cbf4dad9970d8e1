import { appendFileSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BuildEvent } from "../../dagger/src/pipeline/common/build-event.js";
import { type Ingredients, keyOf } from "../../dagger/src/pipeline/plan/key.js";
import type { Platform, StageName } from "../../dagger/src/pipeline/common/stage.js";
import { isTrustedAt, type TrustLevel } from "../../dagger/src/pipeline/common/trust-level.js";
import { extendsImage, missingBlobs, readManifest } from "../../dagger/src/oci-layout/blobs.js";
import { openStageArtifact } from "../../dagger/src/oci-layout/stage-store.js";
import { readNote, writeNote } from "../host/note.js";
import { notWritable, type State } from "./state.js";

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
  /** Manifest of the stage that it was built on: it is part of no image that is built on another. Null for a base, base-tools and what is pulled. */
  parent: string | null;
  /** The lowest trust level of the build that made or fetched it, of the repository that it came from, and of all it is built on. */
  trust: TrustLevel;
  /** A repository that holds the blobs which are not here, `host/name`; null where all of them must be here. */
  elsewhere: string | null;
  engine: string;
  at: number;
  seconds: number;
};

const recordFile = (state: State, key: string): string => join(state.root, "stages", `${key}.json`);

/** What is recorded under a key, whole or not; null where it cannot be read. */
export const readRecord = (state: State, key: string): StageRecord | null => {
  const record = readNote<StageRecord>(recordFile(state, key));
  return record?.key === key ? record : null;
};

/**
 * A stage that is recorded, whole, and trusted as far as this build must trust what it uses. Any other is as good as absent: it is built
 * again, never used, never fatal.
 */
export const findStage = (state: State, key: string): StageRecord | null => {
  const record = readRecord(state, key);
  return record === null || !isTrustedAt(record.trust, state.trust) ? null : wholeRecord(state, record);
};

/** A record whose blobs are here or in its repository, and whose stage ref can be opened; null for any other. */
const wholeRecord = (state: State, record: StageRecord): StageRecord | null => {
  if (record.ref !== null && openStageArtifact(state.layout, record.ref, record.key) === null) return null;
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

/**
 * Whether a kept stage was built on this result of the stage below. What is executed or assembled here says so in its record. A stage
 * that was pulled holds all that is below it: there the layers must agree.
 */
export const isBuiltOn = (state: State, record: StageRecord, below: { digest: string }): boolean =>
  record.parent === null ? extendsImage(state.layout, record.digest, below.digest) : record.parent === below.digest;

/** A stage that is recorded, whole or not. */
export const hasRecord = (state: State, key: string): boolean => existsSync(recordFile(state, key));

/** What is wrong with a stage that is recorded and that findStage does not find; null where nothing is recorded. */
export const faultOf = (state: State, key: string): string | null => {
  if (!hasRecord(state, key)) return null;
  const record = readRecord(state, key);
  if (record === null) return "its record cannot be read";
  if (!isTrustedAt(record.trust, state.trust))
    return `it comes from a build of a ${record.trust}, and this build is ${state.trust}`;
  return wholeRecord(state, record) === null ? "a part of it is missing or damaged" : null;
};

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

type LastKeys = Partial<Record<StageName, string>>;
const lastFile = (state: State, image: string, platform: Platform): string =>
  join(state.root, "last", `${image}-${platform.replace("/", "-")}.json`);

/** The keys of the last build of an image, by stage. */
export const lastKeys = (state: State, image: string, platform: Platform): LastKeys =>
  readNote<LastKeys>(lastFile(state, image, platform)) ?? {};

/** The keys of the last builds of all images. */
export const allLastKeys = (state: State): ReadonlySet<string> => {
  const keys = (name: string): string[] => Object.values(readNote<LastKeys>(join(state.root, "last", name)) ?? {});
  return new Set(namesIn(join(state.root, "last")).flatMap(keys));
};

export const keepLastKeys = (state: State, image: string, platform: Platform, keys: LastKeys): void => {
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
    return record === null ? [] : (wholeRecord(state, record) ?? []);
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
