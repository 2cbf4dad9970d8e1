import { readFileSync } from "node:fs";
import {
  type PullAnswer,
  bringStage,
  fetchBlobs,
  type Pulled,
  type PulledStage,
  type TaggedRef,
  taggedRef,
} from "../distribution/pull-stage.js";
import { type Elsewhere, pushImage } from "../distribution/push-image.js";
import { tagImage } from "../distribution/tags.js";
import { blobPath, closure, hasBlob } from "../oci-layout/blobs.js";
import { MissingBlob } from "../oci-layout/missing-blob.js";
import { FactoryError } from "../pipeline/common/error.js";
import { lowestTrust, type TrustLevel } from "../pipeline/common/trust-level.js";
import type { Descriptor } from "../pipeline/oci/manifest.js";
import { stageTag } from "../pipeline/oci/stage-artifact.js";
import type { StageKey } from "../pipeline/plan/key.js";
import type { Plan, PlannedStage } from "../pipeline/plan/types.js";
import type { Repository } from "../registry/client.js";
import type { BuildContext, StageCache } from "./ports.js";
import type { StageRecord } from "./stage-record.js";

/** What a registry cache is made of; whatever a build decides about repositories and rights arrives here. */
export type RegistryCacheOptions = Pick<BuildContext, "store" | "signal" | "now"> & {
  unanswered: StageCache["unanswered"];
  /** Where stages are looked for, in order, and how far what is there is trusted. */
  read: readonly { repository: Repository; trust: TrustLevel }[];
  /** Where executed stages are kept as soon as they are built; null: nowhere. */
  keepIn: Repository | null;
  /** A repository by `registry/repository`, for downloads. */
  repository(name: string): Repository;
  /** What a question without an answer comes to. */
  unread(from: Repository, pulled: Pulled & { state: "unknown" }): Promise<Pulled>;
  /** What an answer comes to that could not be stored. @throws the error, where the build cannot go on */
  unstored(error: unknown): Pulled;
  /** What a stage that could not be kept comes to. @throws the error, where the build cannot go on */
  unkept(error: unknown): void;
  /** Called before blobs are downloaded. @param size bytes */
  fetching(name: string, size: number): void;
  /** Called where the registry has another result of a key than the store. */
  replaced(name: string, stage: PlannedStage): void;
};

export type RegistryCache = StageCache & {
  /** What is under the tag of a stage's key, in each repository that is read; asked once. */
  tagsOf(stage: PlannedStage): Promise<readonly { from: Repository; tagged: PullAnswer<TaggedRef> }[]>;
  /** Forgets the answers: other builds may have pushed meanwhile. */
  forget(): void;
  /** The names of the repositories in which a stage artifact was found under its tag. */
  holders(artifact: string): ReadonlySet<string>;
};

/** Stages of other builds in repositories of a registry. Nothing is asked before the first question. */
export function registryStageCache(options: RegistryCacheOptions): RegistryCache {
  const { store, read, keepIn, unanswered } = options;
  const asked = new Map<StageKey, ReturnType<RegistryCache["tagsOf"]>>();
  const holders = new Map<string, Set<string>>();

  const tagsOf = (stage: PlannedStage) => {
    const before = asked.get(stage.key);
    if (before !== undefined) return before;
    const answers = Promise.all(
      read.map(async ({ repository }) => ({ from: repository, tagged: await taggedRef(repository, stage) })),
    );
    // Prevents an unhandled rejection: the answer is awaited by `find`, or by nothing.
    answers.catch(() => undefined);
    asked.set(stage.key, answers);
    return answers;
  };

  const fetchStage = async (
    plan: Plan,
    stage: PlannedStage,
    local: StageRecord | null,
    { repository, trust }: RegistryCacheOptions["read"][number],
    tagged: TaggedRef,
  ): Promise<Pulled> => {
    const same = local !== null && local.ref === tagged.ref.digest;
    const pulled: Pulled = same
      ? { state: "found", value: { ref: tagged.ref, image: tagged.image } }
      : await bringStage(repository, store.layout, stage, tagged);
    if (pulled.state !== "found") return pulled;
    holders.set(tagged.ref.digest, (holders.get(tagged.ref.digest) ?? new Set()).add(repository.name));
    if (same) return pulled;
    await recordFetched(options, plan, stage, repository, trust, pulled.value);
    if (local !== null) options.replaced(repository.name, stage);
    return pulled;
  };

  return {
    unanswered,
    ask(stages) {
      for (const stage of stages) void tagsOf(stage);
    },
    tagsOf,
    forget: () => asked.clear(),
    holders: (artifact) => holders.get(artifact) ?? new Set(),
    async find(plan, stage, local, untrusted) {
      let answer: Pulled = { state: "absent" };
      for (const [at, { from, tagged }] of (await tagsOf(stage)).entries()) {
        const pulled: Pulled =
          tagged.state !== "found"
            ? tagged
            : untrusted.has(tagged.value.ref.digest)
              ? { state: "damaged", what: `${stageTag(stage.stage, stage.key)}: a part of it cannot be had` }
              : await fetchStage(plan, stage, local, read[at]!, tagged.value).catch(options.unstored);
        if (pulled.state === "found") return pulled;
        // That one repository gave no answer counts more than that another one has nothing.
        if (answer.state === "absent") answer = pulled.state === "unknown" ? await options.unread(from, pulled) : pulled;
      }
      return answer;
    },
    async fetch({ elsewhere }, missing) {
      if (elsewhere === null) throw new MissingBlob(missing[0]!.digest, "not in the state folder");
      options.fetching(
        elsewhere,
        missing.reduce((sum, { size }) => sum + size, 0),
      );
      const names = [...new Set([elsewhere, ...read.map(({ repository }) => repository.name)])];
      await fetchBlobs(names.map(options.repository), store.layout, missing).catch((error: unknown) => {
        // The build goes on without the cache: the stage is built here.
        if (unanswered === "warn" && isUnanswered(error))
          throw new MissingBlob(missing[0]!.digest, `${error.explanation.what}: ${error.explanation.why}`, { cause: error });
        throw error;
      });
    },
    async keep(stage, artifact) {
      if (keepIn === null) return;
      try {
        await pushImage(keepIn, store.layout, artifact, inRepository(store.layout, artifact));
        const bytes = readFileSync(blobPath(store.layout, artifact.digest));
        await tagImage(keepIn, stageTag(stage.stage, stage.key), artifact.mediaType, bytes);
      } catch (error) {
        options.unkept(error);
      }
    },
  };
}

/** For a push to the one repository that is read: blobs that are not in the layout are in the repository, from which their stage was fetched. */
export function inRepository(layout: string, root: Descriptor): Elsewhere {
  const absent = closure(layout, root).filter((blob) => !hasBlob(layout, blob));
  return { present: new Set(absent.map(({ digest }) => digest)), sources: [] };
}

function isUnanswered(error: unknown): error is FactoryError {
  return (
    error instanceof FactoryError &&
    !(error instanceof MissingBlob) &&
    (error.code === "REGISTRY_UNREACHABLE" || error.code === "REGISTRY_DENIED" || error.code === "REGISTRY_FAILED")
  );
}

async function recordFetched(
  { store, signal, now }: RegistryCacheOptions,
  plan: Plan,
  stage: PlannedStage,
  from: Repository,
  trust: TrustLevel,
  { ref, image }: PulledStage,
): Promise<void> {
  await store.name({ [stageTag(stage.stage, stage.key)]: ref }, signal);
  store.keep({
    key: stage.key,
    stage: stage.stage,
    image: plan.image,
    platform: plan.platform,
    digest: image.digest,
    ref: ref.digest,
    parent: null,
    trust: lowestTrust(store.trust, trust),
    elsewhere: from.name,
    engine: `registry (${from.name})`,
    at: now(),
    seconds: 0,
  });
}
