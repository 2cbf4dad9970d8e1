import type { Pulled } from "../dagger/src/pull-stage.js";
import { missingBlobs } from "../dagger/src/layout.js";
import { FactoryError } from "../dagger/src/pipeline/error.js";
import type { Plan, PlannedStage } from "../dagger/src/pipeline/plan.js";
import { suggestion } from "../dagger/src/pipeline/suggest.js";
import type { Repository } from "../dagger/src/registry/client.js";
import type { World } from "./command.js";
import type { StageRecord } from "./io/records.js";
import type { State } from "./io/state.js";
import type { Scope } from "./scope.js";

/** auto: what the registry knows helps, and what it does not say is warned of once. require: nothing runs without its answer. */
export type RemoteUse = "auto" | "off" | "require";
const uses: readonly RemoteUse[] = ["auto", "off", "require"];

/** Bytes of bodies, and requests, since the remote was opened. */
export type Traffic = { requests: number; up: number; down: number; layers: number };

/** A kept result, as far as its blobs are concerned. */
export type Stored = Pick<StageRecord, "digest" | "ref" | "elsewhere">;

/** Where kept stages are looked for beside the state folder. */
export type StageSource = {
  /** As messages call it: registry and repository. */
  name: string;
  /** Looks a stage up by its key, and brings what assembling on it needs into the state folder. */
  find(plan: Plan, stage: PlannedStage): Promise<Pulled>;
  /** Brings the blobs of a kept stage that are not here. Says how much, where it is much. */
  fetch(record: Stored): Promise<void>;
};

/** The registry behind an image. */
export type Remote = StageSource & {
  scope: Scope;
  /** The image's repository. */
  home: Repository;
  /** Where stage refs are looked for, in order. */
  read: readonly Repository[];
  /** Where new stage refs go; null for a fork. */
  write: Repository | null;
  traffic: Traffic;
};

export const remoteUseOf = (text: string): RemoteUse => {
  const known = uses.find((use) => use === text);
  if (known !== undefined) return known;
  throw new FactoryError("USAGE", {
    what: `cannot read REMOTE=${text}`,
    why: `it is one of: ${uses.join(", ")}`,
    fix: suggestion(text, uses),
  });
};

/**
 * The registry of an image as plan and build read it. Opened, and its client loaded, with the first question: after a code
 * change there is none.
 */
export const lateRemote = (state: State, plan: Pick<Plan, "repository">, world: World): StageSource => {
  let opened: Promise<Remote> | null = null;
  const open = () => (opened ??= import("./open-remote.js").then(({ openRemote }) => openRemote(state, plan, world, "pull")));
  return {
    name: plan.repository,
    find: async (planned, stage) => (await open()).find(planned, stage),
    fetch: async (record) => (await open()).fetch(record),
  };
};

/**
 * Makes sure that all of a kept result is here: who runs on it, writes it out or looks into it needs its bytes.
 * @throws FactoryError INPUT_MISSING when layers are in a registry that may not be asked
 */
export const bringHere = async (state: State, remote: StageSource | null, record: Stored): Promise<void> => {
  if (remote !== null) return remote.fetch(record);
  const missing = missingBlobs(state.layout, record.ref ?? record.digest);
  if (missing === null || missing.length > 0) throw notHere(record.digest);
};

export const notHere = (digest: string): FactoryError =>
  new FactoryError("INPUT_MISSING", {
    what: `the layers of ${digest.slice(0, 19)} are not here`,
    why: "they are in the registry, and it is not to be asked",
    fix: "leave REMOTE=off away, or build it here: NO_CACHE=1 REFRESH=1",
  });
