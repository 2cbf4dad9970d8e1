/**
 * # ci/remote
 *
 * The registry as a source of cached stages for a build on this machine. Of a stage only what is needed is fetched, when it is needed.
 */
import type { BesideImage } from "../../dagger/src/distribution/beside-image.js";
import type { Answer, Pulled, TaggedRef } from "../../dagger/src/distribution/pull-stage.js";
import { closure, dropDamaged, hasBlob, missingBlobs } from "../../dagger/src/oci-layout/blobs.js";
import { MissingBlob } from "../../dagger/src/oci-layout/missing-blob.js";
import { wordOf } from "../../dagger/src/pipeline/config/arguments.js";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import type { Descriptor } from "../../dagger/src/pipeline/oci/manifest.js";
import type { Plan, PlannedStage } from "../../dagger/src/pipeline/plan/types.js";
import type { Repository } from "../../dagger/src/registry/client.js";
import type { StageRecord } from "../state/records.js";
import type { State } from "../state/state.js";
import type { Traffic } from "./registry-client.js";

/** auto: what the registry knows helps, and what it does not say is warned of once. require: nothing runs without its answer. */
export type RemoteUse = "auto" | "off" | "require";
const uses: readonly RemoteUse[] = ["auto", "off", "require"];

/** A kept result, as far as its blobs are concerned. */
export type Stored = Pick<StageRecord, "digest" | "ref" | "elsewhere">;

export type RemoteOptions = {
  /** `push` asks for one token that serves reading and writing, and waits longer for a registry that is out of breath. */
  access: "pull" | "push";
  /** What becomes of a question without an answer: the work goes on with what is here, or ends. */
  unanswered: "warn" | "fail";
};

/** Where kept stages are looked for beside the state folder. */
export type StageSource = RemoteOptions & {
  /** Asks for the tags of stages, all at once, and waits for nothing: `find` does. What was asked already is not asked again. */
  ask(stages: readonly PlannedStage[]): void;
  /**
   * Looks a stage up by its key, and brings what assembling on it needs into the state folder.
   * @param kept what is kept here under the key: where the registry has the same, nothing is brought
   * @param untrusted digests of refs that are not to be taken
   */
  find(plan: Plan, stage: PlannedStage, kept: StageRecord | null, untrusted: ReadonlySet<string>): Promise<Pulled>;
  /** Brings blobs of a kept stage that are not here. Says how much. @throws MissingBlob for one that cannot be had */
  fetch(record: Stored, missing: readonly Descriptor[]): Promise<void>;
};

/** The registry behind an image. */
export type Remote = StageSource & {
  /** Where stage refs are looked for, in order: the image's repository, and for a branch the sibling. */
  read: readonly Repository[];
  /** Where the image, its stage refs and its tags go: the image's repository, for a branch the sibling; null for a fork. */
  write: Repository | null;
  traffic: Traffic;
  beside: BesideImage;
  /** What stands under the tag of a stage's key in each repository of `read`; asked once. */
  refsOf(stage: PlannedStage): Promise<readonly { from: Repository; tagged: Answer<TaggedRef> }[]>;
  /** Forgets the answers: others may have pushed meanwhile. */
  forget(): void;
  /** The repositories that were seen to hold a ref, under its tag and whole as far as that was looked at. */
  holders(ref: string): ReadonlySet<string>;
  /** A repository by `registry/repository`, of whatever registry. @throws FactoryError REFERENCE_INVALID */
  repository(name: string): Repository;
};

/** @throws FactoryError USAGE */
export const remoteUseOf = (text: string): RemoteUse =>
  wordOf(text, uses, { what: `cannot read REMOTE=${text}`, known: "it is one of" });

/**
 * Makes sure that a kept result is here to its last byte: who runs on it, writes it out or looks into it needs its bytes. Each of them is
 * hashed; what is damaged is as good as absent.
 * @param only these of its blobs; all of them when absent
 * @throws FactoryError INPUT_MISSING when they are in a registry that may not be asked
 */
export const ensureLocal = async (
  state: State,
  remote: StageSource | null,
  record: Stored,
  only?: readonly Descriptor[],
): Promise<void> => {
  const root = record.ref ?? record.digest;
  await dropDamaged(state.layout, only ?? blobsOf(state.layout, root));
  const missing = only?.filter((blob) => !hasBlob(state.layout, blob)) ?? missingBlobs(state.layout, root);
  if (missing?.length === 0) return;
  if (missing === null)
    throw new MissingBlob(record.digest, "it cannot be read from the state folder", { code: "CHECKSUM_MISMATCH" });
  // What was made here is nowhere else, as far as anybody knows.
  if (record.elsewhere === null)
    throw new MissingBlob(missing[0]!.digest, "it is not in the state folder, or was damaged there", {
      code: "CHECKSUM_MISMATCH",
    });
  if (remote === null) throw notHere(record.digest);
  await remote.fetch(record, missing);
};

const blobsOf = (layout: string, digest: string): readonly Descriptor[] => {
  try {
    return closure(layout, { mediaType: "", digest, size: 0 });
  } catch (error) {
    // Its manifests are missing or damaged, which missingBlobs tells.
    if (error instanceof MissingBlob) return [];
    throw error;
  }
};

const notHere = (digest: string): FactoryError =>
  new FactoryError("INPUT_MISSING", {
    what: `blobs of ${digest.slice(0, 19)} are not here`,
    why: "they are in the registry, and it is not to be asked",
    fix: "leave REMOTE=off away, or build it here: NO_CACHE=1 REFRESH=1",
  });
