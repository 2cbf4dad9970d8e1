import {
  type Answer,
  bringStage,
  fetchBlobs,
  type Pulled,
  type PulledStage,
  type TaggedRef,
  taggedRef,
} from "../dagger/src/pull-stage.js";
import { missingBlobs } from "../dagger/src/layout.js";
import { PartGone } from "../dagger/src/part-gone.js";
import { FactoryError } from "../dagger/src/pipeline/error.js";
import type { StageKey } from "../dagger/src/pipeline/key.js";
import type { Plan, PlannedStage } from "../dagger/src/pipeline/plan.js";
import { stageTag } from "../dagger/src/pipeline/stage-ref.js";
import { suggestion } from "../dagger/src/pipeline/suggest.js";
import type { Registry, Repository } from "../dagger/src/registry/client.js";
import { parseRepository, type RepositoryName } from "../dagger/src/registry/reference.js";
import { brief, type Patience, patient } from "../dagger/src/registry/retry.js";
import type { World } from "./command.js";
import { nameInLayout } from "./io/oci-layout.js";
import { keepStage, type StageRecord } from "./io/records.js";
import type { State } from "./io/state.js";
import { registryFor, type Traffic } from "./registry-for.js";
import { branchSuffix, type Scope, scopeHere } from "./scope.js";
import { bytes } from "./view/table.js";

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

/** The registry behind an image. */
export type Remote = RemoteOptions & {
  scope: Scope;
  /** Why it is that scope, in words. */
  because: string;
  /** The image's repository. */
  home: Repository;
  /** Where stage refs are looked for, in order. */
  read: readonly Repository[];
  /** Where new stage refs go; null for a fork. */
  write: Repository | null;
  /** The name of a repository whose stages count for nothing, not even those that an earlier build brought into the state folder. */
  shunned: string | null;
  traffic: Traffic;
  /** Asks for the tags of stages, all at once, and waits for nothing: `find` does. What was asked already is not asked again. */
  ask(stages: readonly PlannedStage[]): void;
  /** Forgets the answers: others may have pushed meanwhile. */
  forget(): void;
  /**
   * Looks a stage up by its key, and brings what assembling on it needs into the state folder.
   * @param kept what is kept here under the key: where the registry has the same, nothing is brought
   * @param distrusted digests of refs that are not to be taken
   */
  find(plan: Plan, stage: PlannedStage, kept: StageRecord | null, distrusted: ReadonlySet<string>): Promise<Pulled>;
  /** The repositories that were seen to hold a ref, under its tag and whole as far as that was looked at. */
  holders(ref: string): ReadonlySet<string>;
  /** Brings the blobs of a kept stage that are not here. Says how much. @throws PartGone for one that cannot be had */
  fetch(record: Stored): Promise<void>;
  /** A repository by `registry/repository`, of whatever registry. @throws FactoryError REFERENCE_INVALID */
  repository(name: string): Repository;
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
 * @throws FactoryError REFERENCE_INVALID, USAGE
 */
export const openRemote = (state: State, plan: Pick<Plan, "repository">, world: World, options: RemoteOptions): Remote => {
  const { access, unanswered } = options;
  const name = parseRepository(plan.repository);
  const traffic: Traffic = { requests: 0, up: 0, down: 0, layers: 0 };
  const registries = new Map<string, Registry>();
  const open = (of: RepositoryName, patience: Patience): Repository => {
    const isHome = of.registry === name.registry;
    const id = `${of.registry} ${patience.tries}`;
    const registry = registries.get(id) ?? registryFor(of, { isHome, patience, world, traffic });
    registries.set(id, registry);
    return registry.repository(of.repository, isHome ? access : "pull");
  };
  const patience = access === "push" ? patient : brief;
  const home = open(name, patience);
  const { scope, why: because } = scopeHere(world.env);
  const branches = scope === "branch" ? open({ ...name, repository: `${name.repository}${branchSuffix}` }, patience) : null;
  const read = branches === null ? [home] : [home, branches];
  const asked = new Map<StageKey, Promise<{ from: Repository; tagged: Answer<TaggedRef> }[]>>();
  const holders = new Map<string, Set<string>>();

  const ask = (stage: PlannedStage) => {
    const known = asked.get(stage.key);
    if (known !== undefined) return known;
    const answers = Promise.all(read.map(async (from) => ({ from, tagged: await taggedRef(from, stage) })));
    // Whoever awaits it hears of the failure; nobody awaiting it is none.
    answers.catch(() => undefined);
    asked.set(stage.key, answers);
    return answers;
  };

  const bring = async (planned: Plan, stage: PlannedStage, kept: StageRecord | null, from: Repository, tagged: TaggedRef) => {
    const same = kept !== null && kept.ref === tagged.ref.digest;
    const pulled: Pulled = same
      ? { state: "found", value: { ref: tagged.ref, image: tagged.image } }
      : await bringStage(from, state.layout, stage, tagged);
    if (pulled.state !== "found") return pulled;
    holders.set(tagged.ref.digest, (holders.get(tagged.ref.digest) ?? new Set()).add(from.name));
    if (!same) await keepPulled(state, planned, stage, from, pulled.value, world);
    if (!same && kept !== null)
      world.stderr(`note: ${from.name} has ${stage.stage} of this key from another machine: the image stands on that one\n`);
    return pulled;
  };

  return {
    access,
    unanswered,
    scope,
    because,
    home,
    read,
    write: scope === "fork" ? null : (branches ?? home),
    shunned: scope === "protected" ? `${home.name}${branchSuffix}` : null,
    traffic,
    ask: (stages) => {
      for (const stage of stages) void ask(stage);
    },
    forget: () => asked.clear(),
    holders: (ref) => holders.get(ref) ?? new Set(),
    repository: (text) => open(parseRepository(text), patient),
    async find(planned, stage, kept, distrusted) {
      let answer: Pulled = { state: "absent" };
      for (const { from, tagged } of await ask(stage)) {
        const pulled: Pulled =
          tagged.state !== "found"
            ? tagged
            : distrusted.has(tagged.value.ref.digest)
              ? { state: "damaged", what: `${stageTag(stage.stage, stage.key)}: a part of it cannot be had` }
              : await bring(planned, stage, kept, from, tagged.value);
        if (pulled.state === "found") return pulled;
        // What one repository could not say outweighs that another one has nothing.
        if (answer.state === "absent") answer = pulled;
      }
      return answer;
    },
    async fetch({ digest, ref, elsewhere }) {
      const missing = missingBlobs(state.layout, ref ?? digest);
      if (missing === null) throw new PartGone(digest, "it cannot be read from the state folder");
      if (missing.length === 0) return;
      if (elsewhere === null) throw new PartGone(missing[0]!.digest, "not in the state folder");
      const total = missing.reduce((sum, { size }) => sum + size, 0);
      world.stderr(`fetching ${bytes(total)} of ${elsewhere}\n`);
      const names = [...new Set([elsewhere, ...read.map((one) => one.name)])];
      const from = names.map((one) => open(parseRepository(one), patient));
      await fetchBlobs(from, state.layout, missing).catch((error: unknown) => {
        // Goes on without, as from the begin: the stage is made here.
        if (unanswered === "warn" && isUnanswered(error))
          throw new PartGone(missing[0]!.digest, `${error.explanation.what}: ${error.explanation.why}`, { cause: error });
        throw error;
      });
    },
  };
};

const isUnanswered = (error: unknown): error is FactoryError =>
  error instanceof FactoryError &&
  !(error instanceof PartGone) &&
  (error.code === "REGISTRY_UNREACHABLE" || error.code === "REGISTRY_DENIED" || error.code === "REGISTRY_FAILED");

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
    parent: null,
    elsewhere: from.name,
    engine: `registry (${from.name})`,
    at: world.now(),
    seconds: 0,
  });
};
