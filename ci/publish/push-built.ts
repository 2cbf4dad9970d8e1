import { allOf } from "../../dagger/src/distribution/concurrency.js";
import { blobBytes, closure } from "../../dagger/src/oci-layout/blobs.js";
import { decide, type Knowledge } from "../../dagger/src/pipeline/decide/decide.js";
import { joinFixes } from "../../dagger/src/pipeline/common/fix.js";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import { type Descriptor, mediaTypes } from "../../dagger/src/pipeline/oci/manifest.js";
import type { Plan } from "../../dagger/src/pipeline/plan/types.js";
import { stageTag } from "../../dagger/src/pipeline/oci/stage-artifact.js";
import { type Elsewhere, openPush, pushImage } from "../../dagger/src/distribution/push-image.js";
import type { Repository } from "../../dagger/src/registry/client.js";
import { publishedBefore, type PublishedImage } from "../../dagger/src/distribution/published.js";
import { keyTag } from "../../dagger/src/distribution/tags.js";
import type { World } from "../host/world.js";
import { findStage } from "../state/records.js";
import { knowledgeOf } from "../../dagger/src/build/knowledge.js";
import { storeOf } from "../state/store.js";
import type { State } from "../state/state.js";
import type { BuiltImage } from "../build/build-image.js";
import type { Remote } from "../remote/remote.js";
import type { FoundTrust } from "../trust/trust-level.js";

/** Where this build's image, stage artifacts and tags go. @throws FactoryError REGISTRY_DENIED for a fork: before anything is asked */
export const writableOf = ({ read, write }: Remote, { level: scope, why }: FoundTrust): Repository => {
  if (scope !== "fork" && write !== null) return write;
  throw new FactoryError("REGISTRY_DENIED", {
    what: `not allowed to publish to ${read[0]!.name}`,
    why: `this is a build of a fork (${why}), and forks write nothing`,
    fix: "publish from a branch of the repository itself; ./task build works here",
  });
};

/** What a repository that a branch writes to refuses: most likely nobody created it, which some registries do not do at the first push. */
export const withSiblingHint = (error: unknown, target: Repository, { level: scope }: FoundTrust): unknown => {
  const refused = error instanceof FactoryError && (error.code === "REGISTRY_DENIED" || error.code === "REGISTRY_FAILED");
  if (scope !== "branch" || !refused || !error.explanation.what.includes(target.name)) return error;
  const { fix } = error.explanation;
  const hint = `create the repository ${target.repository} on ${target.registry}, which branches publish to, and let this login push to it`;
  return new FactoryError(error.code, {
    ...error.explanation,
    fix: joinFixes(`${hint}; if it is there: `, fix),
    cause: error,
  });
};

/** Asked before a stage is executed: minutes of work that end at a refused push were for nothing. @throws FactoryError of the registry */
export const requirePushRight = async (target: Repository): Promise<void> => {
  const right = await target.canPush();
  if (right.state !== "allowed") throw right.error;
};

/**
 * The image of these plans, where the repository that is written to has it already. Meanwhile the stages are asked for, unless the image is known here
 * to its last byte: on an empty machine the answer to "what is there?" takes one round, on the machine that published it one request.
 * @throws FactoryError where the registry gives no answer
 */
export const findBefore = async (
  state: State,
  remote: Remote,
  target: Repository,
  plans: readonly Plan[],
  world: Pick<World, "stderr">,
): Promise<PublishedImage | null> => {
  const isKnownHere = plans.every(({ stages }) => findStage(state, stages.at(-1)!.key) !== null);
  if (!isKnownHere) for (const { stages } of plans) remote.ask(stages.filter(({ kind }) => kind === "executed"));
  const key = keyTag(plans);
  const isMade = async (plan: Plan, digest: string) =>
    findStage(state, plan.stages.at(-1)!.key)?.digest === digest &&
    isWholeHere(plan, await knowledgeOf(storeOf(state), plan, null));
  const { beside, tagsOf } = remote;
  const note = (text: string) => world.stderr(`note: ${text}\n`);
  return publishedBefore(target, key, plans, { isMade, refsOf: tagsOf }, { beside, note });
};

/** Whether the whole chain is here, the stages that an executed one holds included. */
const isWholeHere = (plan: Plan, knowledge: Knowledge): boolean =>
  decide(plan, knowledge, false).every(({ reasons }) => reasons.every(({ why }) => why === "kept" || why === "held"));

/** A stage artifact that an image is built on. */
type UsedRef = { tag: string; ref: Descriptor };

const usedRefs = (state: State, { platforms }: BuiltImage): UsedRef[] =>
  platforms.flatMap(({ done }) =>
    done.flatMap(({ decision: { stage }, record }) => {
      if (record?.ref == null) return [];
      const { length: size } = blobBytes(state.layout, record.ref);
      return [{ tag: stageTag(stage.stage, stage.key), ref: { mediaType: mediaTypes.index, digest: record.ref, size } }];
    }),
  );

/**
 * Pushes an image by digest: first all that it reaches, then its manifest, then the stage artifacts that nobody has yet. Nothing is put under
 * a tag before it is whole; tags that people use are not touched.
 * @param doubt ask also for the blobs of artifacts that were found in the repository
 * @param meanwhile questions to send while the manifest or the artifacts are being pushed
 * @throws FactoryError as openPush
 */
export const pushMade = async <T>(
  state: State,
  remote: Remote,
  target: Repository,
  made: BuiltImage,
  world: Pick<World, "stderr">,
  doubt: boolean,
  meanwhile: () => Promise<T>,
): Promise<{ image: PublishedImage; asked: T }> => {
  const { read } = remote;
  const refs = usedRefs(state, made);
  // An artifact that was found in the repository has its blobs there: none of them is asked for.
  const seen = refs.filter(({ ref }) => !doubt && remote.holders(ref.digest).has(target.name));
  const present = new Set(seen.flatMap(({ ref }) => closure(state.layout, ref)).map(({ digest }) => digest));
  const elsewhere = made.platforms.flatMap(({ done }) => done.flatMap(({ record }) => record?.elsewhere ?? []));
  const sources = [...new Set([...elsewhere, ...read.map(({ name }) => name)])]
    .filter((name) => name !== target.name)
    .map((name) => remote.repository(name));
  const push = openPush(target, state.layout, made.root, { present, sources });
  await push.below();
  const root = () => push.root(made.root.digest);
  // An artifact that is in the image's repository need not be in the sibling too.
  const missing = refs.filter(({ ref }) => doubt || !read.some(({ name }) => remote.holders(ref.digest).has(name)));
  const bytes = blobBytes(state.layout, made.root.digest);
  const image = { root: made.root, bytes };
  if (missing.length === 0) {
    const [, asked] = await allOf(root(), meanwhile());
    return { image, asked };
  }
  await root();
  // From base-tools upwards: an artifact is useful only where those below it are.
  const inImage = new Set(closure(state.layout, made.root).map(({ digest }) => digest));
  try {
    for (const ref of missing) await pushRef(state, target, ref, { present: inImage, sources }, world);
  } catch (error) {
    remote.beside.unkept(error);
  }
  return { image, asked: await meanwhile() };
};

const pushRef = async (
  state: State,
  to: Repository,
  { tag, ref }: UsedRef,
  elsewhere: Elsewhere,
  world: Pick<World, "stderr">,
): Promise<void> => {
  await pushImage(to, state.layout, ref, elsewhere, tag).catch((error: unknown) => stays(error, `${to.name}:${tag}`, world));
};

/** A tag of image-factory that may not be moved: another machine was first, or it cannot be replaced there. The image is not affected. */
export const stays = (error: unknown, name: string, world: Pick<World, "stderr">): void => {
  if (!(error instanceof FactoryError) || error.code !== "TAG_IMMUTABLE") throw error;
  world.stderr(`note: ${name} stays as it is: tags cannot be moved there\n`);
};
