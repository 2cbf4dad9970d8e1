import { allOf } from "../dagger/src/at-once.js";
import { blobBytes, closure } from "../dagger/src/layout.js";
import { FactoryError } from "../dagger/src/pipeline/error.js";
import { type Descriptor, mediaTypes } from "../dagger/src/pipeline/oci.js";
import type { Plan } from "../dagger/src/pipeline/plan.js";
import { stageTag } from "../dagger/src/pipeline/stage-ref.js";
import { type Elsewhere, openPush, pushImage } from "../dagger/src/push-image.js";
import type { Repository } from "../dagger/src/registry/client.js";
import { branchKeyTag, findPublished, keyTag, type PublishedImage } from "../dagger/src/tags.js";
import type { World } from "./command.js";
import { findStage } from "./io/records.js";
import type { State } from "./io/state.js";
import type { MadeImage } from "./make-image.js";
import type { Remote } from "./remote.js";

/** @throws FactoryError REGISTRY_DENIED for a fork: before anything is asked */
export const refuseFork = ({ scope, because, home }: Remote): void => {
  if (scope !== "fork") return;
  throw new FactoryError("REGISTRY_DENIED", {
    what: `not allowed to publish to ${home.name}`,
    why: `this is a build of a fork (${because}), and forks write nothing`,
    fix: "publish from a branch of the repository itself; ./task build works here",
  });
};

/** Asked before a stage is executed: minutes of work that end at a refused push were for nothing. @throws FactoryError of the registry */
export const requirePushRight = async ({ home, write }: Remote): Promise<void> => {
  const places = write === null || write.name === home.name ? [home] : [home, write];
  for (const right of await Promise.all(places.map((place) => place.canPush()))) if (right.state !== "allowed") throw right.error;
};

/** The tag under which the image of these plans is put, and those under which one is taken for it. */
export const keyTagsOf = ({ scope }: Remote, plans: readonly Plan[]): { write: string; read: readonly string[] } => {
  const own = keyTag(plans);
  const branch = branchKeyTag(plans);
  return scope === "protected" ? { write: own, read: [own] } : { write: branch, read: [own, branch] };
};

/**
 * The image of these plans, where the repository has it already. Meanwhile the stages are asked for, unless the image is known here
 * to its last byte: on an empty machine the answer to "what is there?" takes one round, on the machine that published it one request.
 * @throws FactoryError where the registry gives no answer
 */
export const findBefore = async (state: State, remote: Remote, plans: readonly Plan[]): Promise<PublishedImage | null> => {
  const isKnownHere = plans.every(({ stages }) => findStage(state, stages.at(-1)!.key) !== null);
  if (!isKnownHere) for (const { stages } of plans) remote.ask(stages.filter(({ kind }) => kind === "executed"));
  const tags = keyTagsOf(remote, plans).read;
  const found = await Promise.all(tags.map((tag) => findPublished(remote.home, tag, plans)));
  return found.find((one) => one !== null) ?? null;
};

/** A stage ref that an image stands on. */
type UsedRef = { tag: string; ref: Descriptor };

const usedRefs = (state: State, { platforms }: MadeImage): UsedRef[] =>
  platforms.flatMap(({ done }) =>
    done.flatMap(({ decision: { stage }, record }) => {
      if (record?.ref == null) return [];
      const { length: size } = blobBytes(state.layout, record.ref);
      return [{ tag: stageTag(stage.stage, stage.key), ref: { mediaType: mediaTypes.index, digest: record.ref, size } }];
    }),
  );

/**
 * Pushes an image by digest: first all that it reaches, then its manifest, then the stage refs that nobody has yet. Nothing is put under
 * a tag before it is whole; tags that people use are not touched.
 * @param doubt take nothing for granted: what a ref was seen to hold is asked for too
 * @param meanwhile what can be asked while the manifest is on its way, or the refs are
 * @throws FactoryError as openPush
 */
export const pushMade = async <T>(
  state: State,
  remote: Remote,
  made: MadeImage,
  world: Pick<World, "stderr">,
  doubt: boolean,
  meanwhile: () => Promise<T>,
): Promise<{ image: PublishedImage; asked: T }> => {
  const { home, read, write } = remote;
  const refs = usedRefs(state, made);
  // What stands behind a ref that was seen need not be asked for blob by blob.
  const seen = refs.filter(({ ref }) => !doubt && remote.holders(ref.digest).has(home.name));
  const present = new Set(seen.flatMap(({ ref }) => closure(state.layout, ref)).map(({ digest }) => digest));
  const elsewhere = made.platforms.flatMap(({ done }) => done.flatMap(({ record }) => record?.elsewhere ?? []));
  const sources = [...new Set([...elsewhere, ...read.map(({ name }) => name)])]
    .filter((name) => name !== home.name)
    .map((name) => remote.repository(name));
  const push = openPush(home, state.layout, made.root, { present, sources });
  await push.below();
  const root = () => push.root(made.root.digest);
  const missing = write === null ? [] : refs.filter(({ ref }) => doubt || !isHeld(remote, ref.digest));
  const bytes = blobBytes(state.layout, made.root.digest);
  const image = { root: made.root, bytes };
  if (missing.length === 0 || write === null) {
    const [, asked] = await allOf(root(), meanwhile());
    return { image, asked };
  }
  await root();
  // Base first: a ref of a stage is only worth something where the ones below it are.
  const inImage = new Set(closure(state.layout, made.root).map(({ digest }) => digest));
  const elsewhereFor = { present: write.name === home.name ? inImage : new Set<string>(), sources: [home, ...sources] };
  for (const ref of missing) await pushRef(state, write, ref, elsewhereFor, world);
  return { image, asked: await meanwhile() };
};

/** A ref that is in the image's repository need not be in the one of the branches too. */
const isHeld = ({ holders, home, write }: Remote, ref: string): boolean =>
  holders(ref).has(home.name) || (write !== null && holders(ref).has(write.name));

const pushRef = async (
  state: State,
  to: Repository,
  { tag, ref }: UsedRef,
  { present, sources }: Elsewhere,
  world: Pick<World, "stderr">,
): Promise<void> => {
  const elsewhere = { present, sources: sources.filter(({ name }) => name !== to.name) };
  await pushImage(to, state.layout, ref, elsewhere, tag).catch((error: unknown) => stays(error, `${to.name}:${tag}`, world));
};

/** A tag of ours that may not be moved: somebody was first, or it cannot be repaired there. The image is none the worse. */
export const stays = (error: unknown, name: string, world: Pick<World, "stderr">): void => {
  if (!(error instanceof FactoryError) || error.code !== "TAG_IMMUTABLE") throw error;
  world.stderr(`note: ${name} stays as it is: tags cannot be moved there\n`);
};
