/**
 * # dagger/src/build
 *
 * The one way from decisions to an image, for the command line and for the module, which differ in the ports of this file alone. A stage is
 * built on the result of the stage below it and on nothing else.
 */
import type { Pulled } from "../distribution/pull-stage.js";
import type { Remembered, RememberedFrames } from "../oci-layout/write-stage.js";
import type { BuildEvent } from "../pipeline/common/build-event.js";
import type { Platform, StageName } from "../pipeline/common/stage.js";
import type { TrustLevel } from "../pipeline/common/trust-level.js";
import type { ContextSnapshot } from "../pipeline/context/snapshot.js";
import type { FileIndex } from "../pipeline/contents/file-entry.js";
import type { ParentIndex } from "../pipeline/contents/parent-index.js";
import type { Descriptor } from "../pipeline/oci/manifest.js";
import type { Ingredients } from "../pipeline/plan/key.js";
import type { Plan, PlannedStage } from "../pipeline/plan/types.js";
import type { Records, StageBlobs, StageRecord } from "./stage-record.js";

export type StageKeys = Partial<Record<StageName, string>>;

/** Where stages are recorded: the state folder of a checkout, or the memory of one call of a function. */
export type Store = Records & {
  keep(record: StageRecord): void;
  /** What a key was made from. It outlives the record, for explanations. */
  ingredients(key: string): Ingredients | null;
  keepIngredients(key: string, ingredients: Ingredients): void;
  /** The keys of the last build of an image, by stage. */
  lastKeys(image: string, platform: Platform): StageKeys;
  keepLastKeys(image: string, platform: Platform, keys: StageKeys): void;
  /** Names images in the layout, for other programs that read it. */
  name(images: Readonly<Record<string, Descriptor>>, signal: AbortSignal): Promise<void>;
  /** Layers that were assembled before, by layer key. @param anew none of them is to be used */
  layers(anew: boolean): Remembered;
  /** The frames of the layer that was written last at a place. @param anew as for layers */
  frames(place: string, anew: boolean): RememberedFrames;
};

/** A registry that holds executed stages of other builds. */
export type StageCache = {
  /** What a question without an answer leads to: the build goes on without the cache, or fails. */
  unanswered: "warn" | "fail";
  /** Sends the questions for these stages and waits for no answer: `find` does. No question is sent twice. */
  ask(stages: readonly PlannedStage[]): void;
  /**
   * Looks a stage up by its key. What assembling on it needs is fetched into the store and recorded there; its layers stay where they are.
   * @param local the record of the key in the store: where the cache has the same result, nothing is fetched
   * @param untrusted digests of stage artifacts that are not to be used
   */
  find(plan: Plan, stage: PlannedStage, local: StageRecord | null, untrusted: ReadonlySet<string>): Promise<Pulled>;
  /** Fetches blobs of a recorded stage into the layout. @throws MissingBlob for one that no repository has */
  fetch(record: StageBlobs, missing: readonly Descriptor[]): Promise<void>;
  /** Keeps a stage that was executed now for other builds, or does nothing. */
  keep(stage: PlannedStage, artifact: Descriptor): Promise<void>;
};

/**
 * The parent of the stage being built. Its indexes load lazily: assembling needs only the parent index (60 kB); executing or reporting needs
 * the file index (0.6 MB).
 */
export type ParentStage = StageBlobs & {
  stage: StageName;
  /** The lowest of all that it is built on. */
  trust: TrustLevel;
  /** How many layers it has, with those of all stages below. */
  layers: number;
  parentIndex(): ParentIndex;
  fileIndex(): Promise<FileIndex>;
  /** Brings all of its blobs into the layout: executing a stage reads them. @throws FactoryError as ensureLocal */
  ensureLocal(): Promise<void>;
};

/** One stage to execute. */
export type Execution = {
  plan: Plan;
  stage: PlannedStage;
  /** Null for a stage that is executed on the base. */
  parent: ParentStage | null;
  /** Run every step, although the engine has its result cached. */
  noCache: boolean;
};

export type Executor = {
  /**
   * Executes one stage on its parent, and leaves its image in the store's layout.
   * @returns the digest of the manifest, and what executed it, for the record
   * @throws FactoryError whatever an engine throws
   */
  execute(execution: Execution): Promise<{ digest: string; engine: string }>;
};

/** All that a build needs beside its plan and its decisions. */
export type BuildContext = {
  store: Store;
  /** Null where nothing may be read from a registry. */
  cache: StageCache | null;
  executor: Executor;
  /** What the plan was made from: the folder of the image's context, and its snapshot. */
  source: { folder: string; snapshot: ContextSnapshot };
  emit: (event: BuildEvent) => void;
  signal: AbortSignal;
  /** Milliseconds since the Unix epoch. */
  now: () => number;
  /** How a person replaces a result that a rebuilt stage does not reproduce. */
  howToReplace: string;
};
