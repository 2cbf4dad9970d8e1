import { homedir } from "node:os";
import { fetchBlobs, type Pulled, type PulledStage, pullStage } from "../dagger/src/pull-stage.js";
import { missingBlobs } from "../dagger/src/layout.js";
import { FactoryError } from "../dagger/src/pipeline/error.js";
import type { Plan, PlannedStage } from "../dagger/src/pipeline/plan.js";
import { stageTag } from "../dagger/src/pipeline/stage-ref.js";
import { suggestion } from "../dagger/src/pipeline/suggest.js";
import { openRegistry, type Registry, type Repository } from "../dagger/src/registry/client.js";
import { environmentCredentials, findCredentials } from "../dagger/src/registry/credentials.js";
import { parseRepository } from "../dagger/src/registry/reference.js";
import { brief, patient } from "../dagger/src/registry/retry.js";
import type { World } from "./command.js";
import { nameInLayout } from "./io/oci-layout.js";
import { run } from "./io/process.js";
import { keepStage, type StageRecord } from "./io/records.js";
import type { State } from "./io/state.js";
import { branchSuffix, type Scope, scopeOf } from "./scope.js";
import { bytes } from "./view/table.js";

/** auto: what the registry knows helps, and what it does not say is warned of once. require: nothing runs without its answer. */
export type RemoteUse = "auto" | "off" | "require";
const uses: readonly RemoteUse[] = ["auto", "off", "require"];

/** Bytes of bodies, and requests, since the remote was opened. */
export type Traffic = { requests: number; up: number; down: number; layers: number };

/** A kept result, as far as its blobs are concerned. */
export type Stored = Pick<StageRecord, "digest" | "ref" | "elsewhere">;

/** The registry behind an image. */
export type Remote = {
  scope: Scope;
  /** The image's repository. */
  home: Repository;
  /** Where stage refs are looked for, in order. */
  read: readonly Repository[];
  /** Where new stage refs go; null for a fork. */
  write: Repository | null;
  traffic: Traffic;
  /** Looks a stage up by its key, and brings what assembling on it needs into the state folder. */
  find(plan: Plan, stage: PlannedStage): Promise<Pulled>;
  /** Brings the blobs of a kept stage that are not here. Says how much, where it is much. */
  fetch(record: Stored): Promise<void>;
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
 * The registry of an image. Nothing is asked before the first question.
 * @param access `push` asks for one token that serves both
 * @throws FactoryError REFERENCE_INVALID, USAGE
 */
export const openRemote = (state: State, plan: Pick<Plan, "repository">, world: World, access: "pull" | "push"): Remote => {
  const name = parseRepository(plan.repository);
  const traffic: Traffic = { requests: 0, up: 0, down: 0, layers: 0 };
  const registry: Registry = openRegistry({
    registry: name.registry,
    env: world.env,
    signal: world.signal,
    patience: access === "push" ? patient : brief,
    credentials: async () =>
      environmentCredentials(world.env) ??
      findCredentials(name, {
        env: world.env,
        home: world.env["HOME"] ?? homedir(),
        runHelper: (program, args, input) => run(program, args, { input, signal: world.signal }),
      }),
    observe: ({ about, method, up, down }) => {
      traffic.requests += 1;
      traffic.up += up;
      traffic.down += down;
      if (about === "blob" && method === "GET") traffic.layers += 1;
    },
  });
  const home = registry.repository(name.repository, access);
  const sibling = () => registry.repository(`${name.repository}${branchSuffix}`, access);
  const { scope } = scopeOf(world.env);
  const branches = scope === "branch" ? sibling() : null;
  const read = branches === null ? [home] : [home, branches];
  const find = async (planned: Plan, stage: PlannedStage): Promise<Pulled> => {
    let answer: Pulled = { state: "absent" };
    for (const from of read) {
      const pulled = await pullStage(from, state.layout, stage);
      if (pulled.state === "found") {
        await keepPulled(state, planned, stage, from, pulled.value, world);
        return pulled;
      }
      // What one repository could not say outweighs that another one has nothing.
      if (answer.state === "absent") answer = pulled;
    }
    return answer;
  };
  return {
    scope,
    home,
    read,
    write: scope === "fork" ? null : (branches ?? home),
    traffic,
    find,
    async fetch({ digest, ref, elsewhere }) {
      const missing = missingBlobs(state.layout, ref ?? digest) ?? [];
      if (missing.length === 0) return;
      if (elsewhere === null) throw notHere(digest);
      const total = missing.reduce((sum, { size }) => sum + size, 0);
      if (total > 1 << 20) world.stderr(`fetching ${bytes(total)} of ${elsewhere}\n`);
      const from = registry.repository(parseRepository(elsewhere).repository, access);
      await fetchBlobs(from, state.layout, missing);
    },
  };
};

/**
 * Makes sure that all of a kept result is here: who runs on it, writes it out or looks into it needs its bytes.
 * @throws FactoryError INPUT_MISSING when layers are in a registry that may not be asked
 */
export const bringHere = async (state: State, remote: Remote | null, record: Stored): Promise<void> => {
  if (remote !== null) return remote.fetch(record);
  const missing = missingBlobs(state.layout, record.ref ?? record.digest);
  if (missing === null || missing.length > 0) throw notHere(record.digest);
};

const notHere = (digest: string): FactoryError =>
  new FactoryError("INPUT_MISSING", {
    what: `the layers of ${digest.slice(0, 19)} are not here`,
    why: "they are in the registry, and it is not to be asked",
    fix: "leave REMOTE=off away, or build it here: NO_CACHE=1 REFRESH=1",
  });

const keepPulled = async (
  state: State,
  plan: Plan,
  stage: PlannedStage,
  from: Repository,
  { ref, image }: PulledStage,
  world: World,
): Promise<void> => {
  await nameInLayout(state.layout, stageTag(stage.stage, stage.key), ref, world.signal);
  keepStage(state, {
    key: stage.key,
    stage: stage.stage,
    image: plan.image,
    platform: plan.platform,
    digest: image.digest,
    ref: ref.digest,
    elsewhere: from.name,
    engine: `registry (${from.name})`,
    at: world.now(),
    seconds: 0,
  });
};
