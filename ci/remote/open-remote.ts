import { registryStageCache } from "../../dagger/src/build/registry-stage-cache.js";
import { besideImage } from "../../dagger/src/distribution/beside-image.js";
import type { Pulled } from "../../dagger/src/distribution/pull-stage.js";
import { isErrno } from "../../dagger/src/filesystem/errno.js";
import type { Plan } from "../../dagger/src/pipeline/plan/types.js";
import type { Registry, Repository } from "../../dagger/src/registry/client.js";
import { persistent, quick, type RetryPolicy } from "../../dagger/src/registry/http/retry.js";
import { parseRepository, type RepositoryName } from "../../dagger/src/registry/reference/reference.js";
import type { World } from "../host/world.js";
import { notWritable, type State } from "../state/state.js";
import { storeOf } from "../state/store.js";
import { siblingOf } from "../trust/trust-level.js";
import { bytes } from "../../dagger/src/pipeline/common/format.js";
import { registryFor, type Traffic } from "./registry-client.js";
import type { Remote } from "./remote.js";

export type RemoteOptions = {
  /** `push` asks for one token that serves reading and writing, and retries longer. */
  access: "pull" | "push";
  /** What a question without an answer leads to: the build goes on without the registry, or fails. */
  unanswered: "warn" | "fail";
};

/**
 * The registry of an image. Nothing is asked before the first question.
 * @throws FactoryError REFERENCE_INVALID, USAGE
 */
export function openRemote(state: State, plan: Pick<Plan, "repository">, world: World, options: RemoteOptions): Remote {
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
    // Only where this build may write is the right to push requested: a branch's token cannot even change the image's repository.
    return registry.repository(of.repository, sameRepository(of, target) ? access : "pull");
  };
  const retryPolicy = access === "push" ? persistent : quick;
  const home = open(name, retryPolicy);
  const branches = trust === "branch" ? open(sibling, retryPolicy) : null;
  const write = trust === "fork" ? null : (branches ?? home);
  const note = (text: string) => world.stderr(`note: ${text}\n`);
  const beside = besideImage(note);
  const repository = (text: string) => open(parseRepository(text), persistent);
  const cache = registryStageCache({
    store: storeOf(state),
    signal: world.signal,
    now: world.now,
    unanswered,
    read: [
      { repository: home, trust: "protected" },
      ...(branches === null ? [] : [{ repository: branches, trust: "branch" as const }]),
    ],
    keepIn: null,
    repository,
    async unread(from, pulled) {
      if (access !== "push") return pulled;
      // Publishing needs the answer, unless the registry refuses stage artifacts alone: then it has none.
      await beside.unread(from === write ? from : null, pulled.error);
      return { state: "absent" };
    },
    unstored: (error) => unstored(state, error),
    unkept: beside.unkept,
    fetching: (from, size) => world.stderr(`fetching ${bytes(size)} of ${from}\n`),
    replaced: (from, { stage }) => note(`${from} has ${stage} of this key from another machine: the image is built on that one`),
  });
  return { ...cache, read: branches === null ? [home] : [home, branches], write, traffic, beside, repository };
}

/** A stage that this machine cannot store is unknown, as if the registry gave no answer: a plan goes on without it. */
function unstored(state: State, error: unknown): Pulled {
  if (!isErrno(error, "EROFS", "EACCES", "EPERM", "ENOSPC", "EDQUOT", "ENOTDIR", "EEXIST", "ENOENT")) throw error;
  const failure = notWritable(state, error);
  return { state: "unknown", why: `${failure.explanation.what}: ${failure.explanation.why}`, error: failure };
}

function sameRepository(one: RepositoryName, other: RepositoryName | null): boolean {
  return one.registry === other?.registry && one.repository === other.repository;
}
