import {
  type Answer,
  bringStage,
  fetchBlobs,
  type Pulled,
  type PulledStage,
  type TaggedRef,
  taggedRef,
} from "../../dagger/src/distribution/pull-stage.js";
import { besideImage } from "../../dagger/src/distribution/beside-image.js";
import { isErrno } from "../../dagger/src/filesystem/errno.js";
import { MissingBlob } from "../../dagger/src/oci-layout/missing-blob.js";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import type { StageKey } from "../../dagger/src/pipeline/plan/key.js";
import type { Plan, PlannedStage } from "../../dagger/src/pipeline/plan/types.js";
import { stageTag } from "../../dagger/src/pipeline/oci/stage-artifact.js";
import type { Registry, Repository } from "../../dagger/src/registry/client.js";
import { parseRepository, type RepositoryName } from "../../dagger/src/registry/reference/reference.js";
import { quick, type RetryPolicy, persistent } from "../../dagger/src/registry/http/retry.js";
import type { World } from "../host/world.js";
import { nameInLayout } from "../state/layout-index.js";
import { keepStage, type StageRecord } from "../state/records.js";
import { notWritable, type State } from "../state/state.js";
import { registryFor, type Traffic } from "./registry-client.js";
import type { Remote, RemoteOptions } from "./stage-source.js";
import { siblingOf } from "../trust/trust-level.js";
import { lowestTrust, type TrustLevel } from "../../dagger/src/pipeline/common/trust-level.js";
import { bytes } from "../../dagger/src/pipeline/common/format.js";

/**
 * The registry of an image. Nothing is asked before the first question.
 * @throws FactoryError REFERENCE_INVALID, USAGE
 */
export const openRemote = (state: State, plan: Pick<Plan, "repository">, world: World, options: RemoteOptions): Remote => {
  const { access, unanswered } = options;
  const { trust } = state;
  const name = parseRepository(plan.repository);
  const sibling = siblingOf(name);
  const target = trust === "protected" ? name : trust === "branch" ? sibling : null;
  const traffic: Traffic = { requests: 0, up: 0, down: 0, layers: 0 };
  const registries = new Map<string, Registry>();
  const open = (of: RepositoryName, retryPolicy: RetryPolicy): Repository => {
    const id = `${of.registry} ${retryPolicy.tries}`;
    const registry = registries.get(id) ?? registryFor(of, { trust, retryPolicy, world, traffic });
    registries.set(id, registry);
    // A right to push is asked for where this build may write, and nowhere else: a branch's token cannot even change the image's repository.
    return registry.repository(of.repository, sameRepository(of, target) ? access : "pull");
  };
  const retryPolicy = access === "push" ? persistent : quick;
  const home = open(name, retryPolicy);
  const branches = trust === "branch" ? open(sibling, retryPolicy) : null;
  const read = branches === null ? [home] : [home, branches];
  const write = trust === "fork" ? null : (branches ?? home);
  const beside = besideImage((text) => world.stderr(`note: ${text}\n`));
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
    const level = from.name === home.name ? "protected" : "branch";
    if (!same) await keepPulled(state, planned, stage, from, level, pulled.value, world);
    if (!same && kept !== null)
      world.stderr(`note: ${from.name} has ${stage.stage} of this key from another machine: the image stands on that one\n`);
    return pulled;
  };

  /** To publish, the answer is needed; a registry that refuses stage refs and nothing else has none. */
  const unread = async (from: Repository, pulled: Pulled & { state: "unknown" }): Promise<Pulled> => {
    if (access !== "push") return pulled;
    await beside.unread(from === write ? from : null, pulled.error);
    return { state: "absent" };
  };

  return {
    access,
    unanswered,
    read,
    write,
    traffic,
    beside,
    ask: (stages) => {
      for (const stage of stages) void ask(stage);
    },
    refsOf: ask,
    forget: () => asked.clear(),
    holders: (ref) => holders.get(ref) ?? new Set(),
    repository: (text) => open(parseRepository(text), persistent),
    async find(planned, stage, kept, untrusted) {
      let answer: Pulled = { state: "absent" };
      for (const { from, tagged } of await ask(stage)) {
        const pulled: Pulled =
          tagged.state !== "found"
            ? tagged
            : untrusted.has(tagged.value.ref.digest)
              ? { state: "damaged", what: `${stageTag(stage.stage, stage.key)}: a part of it cannot be had` }
              : await bring(planned, stage, kept, from, tagged.value).catch((error: unknown) => notKept(state, error));
        if (pulled.state === "found") return pulled;
        // What one repository could not say outweighs that another one has nothing.
        if (answer.state === "absent") answer = pulled.state === "unknown" ? await unread(from, pulled) : pulled;
      }
      return answer;
    },
    async fetch({ elsewhere }, missing) {
      if (elsewhere === null) throw new MissingBlob(missing[0]!.digest, "not in the state folder");
      const total = missing.reduce((sum, { size }) => sum + size, 0);
      world.stderr(`fetching ${bytes(total)} of ${elsewhere}\n`);
      const names = [...new Set([elsewhere, ...read.map((one) => one.name)])];
      const from = names.map((one) => open(parseRepository(one), persistent));
      await fetchBlobs(from, state.layout, missing).catch((error: unknown) => {
        // Goes on without, as from the begin: the stage is made here.
        if (unanswered === "warn" && isUnanswered(error))
          throw new MissingBlob(missing[0]!.digest, `${error.explanation.what}: ${error.explanation.why}`, { cause: error });
        throw error;
      });
    },
  };
};

/** What the registry has and this machine cannot write is as unknown as an answer that does not come: a plan goes on without it. */
const notKept = (state: State, error: unknown): Pulled => {
  if (!isErrno(error, "EROFS", "EACCES", "EPERM", "ENOSPC", "EDQUOT", "ENOTDIR", "EEXIST", "ENOENT")) throw error;
  const told = notWritable(state, error);
  return { state: "unknown", why: `${told.explanation.what}: ${told.explanation.why}`, error: told };
};

const sameRepository = (one: RepositoryName, other: RepositoryName | null): boolean =>
  one.registry === other?.registry && one.repository === other.repository;

const isUnanswered = (error: unknown): error is FactoryError =>
  error instanceof FactoryError &&
  !(error instanceof MissingBlob) &&
  (error.code === "REGISTRY_UNREACHABLE" || error.code === "REGISTRY_DENIED" || error.code === "REGISTRY_FAILED");

const keepPulled = async (
  state: State,
  plan: Plan,
  stage: PlannedStage,
  from: Repository,
  level: TrustLevel,
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
    trust: lowestTrust(state.trust, level),
    elsewhere: from.name,
    engine: `registry (${from.name})`,
    at: world.now(),
    seconds: 0,
  });
};
