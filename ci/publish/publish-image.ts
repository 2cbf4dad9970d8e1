/**
 * # ci/publish
 *
 * A build that is pushed: image, cached stages, then tags. No tag moves before the image was held against its plan.
 */
import { allOf } from "../../dagger/src/distribution/concurrency.js";
import { isMoving } from "../../dagger/src/pipeline/oci/tag-origin.js";
import type { Plan } from "../../dagger/src/pipeline/plan/types.js";
import type { BuildRecord } from "../../dagger/src/pipeline/common/build-record.js";
import type { TestPolicy } from "../../dagger/src/pipeline/config/test-policy.js";
import {
  type History,
  keyTag,
  moveTags,
  refuseNarrower,
  tagStatesOf,
  tagImage,
  type TagMove,
} from "../../dagger/src/distribution/tags.js";
import type { Repository } from "../../dagger/src/registry/client.js";
import type { World } from "../host/world.js";
import { rebuildDamaged } from "../../dagger/src/build/rebuild-damaged.js";
import { historyOf } from "../host/git.js";
import { checkChain } from "../../dagger/src/build/chain.js";
import { findStage } from "../state/records.js";
import { knowledgeOf, type UntrustedDigests } from "../../dagger/src/build/knowledge.js";
import { warnOnce } from "../remote/lazy-remote.js";
import { storeOf } from "../state/store.js";
import { type ImageRequest, buildImage, type BuiltImage } from "../build/build-image.js";
import type { OpenImage, Project } from "../project/project.js";
import { findBefore, pushMade, requirePushRight, stays, withSiblingHint, writableOf } from "./push-built.js";
import { testMade } from "./test-gate.js";
import type { Remote } from "../remote/remote.js";

export type PublishRequest = {
  plans: readonly Plan[];
  tags: readonly string[];
  /** any: a tag that moves with a branch goes back in history too. */
  move: "forward" | "any";
  /** Check what is published already: ask for every blob, and push the missing ones. */
  refresh: boolean;
  test: TestPolicy;
  engine: string;
  verbose: boolean;
};

export type PublishedNow = {
  /** `registry/repository` that it is in: a branch's is in the sibling. */
  name: string;
  digest: string;
  tags: readonly TagMove[];
  /** Null where the image was there already. */
  made: { record: BuildRecord; log: string } | null;
};

/**
 * Publishes an image: where the repository has it, only tags move; else what is missing is made, all of it is pushed by digest, tested as
 * far as is asked, and tags come last. Nothing runs before the registry has said what it has; nothing is executed before it has said that it takes a push.
 * @throws FactoryError of the registry, and whatever making the image throws
 */
export const publishImage = async (
  project: Project,
  open: OpenImage,
  world: World,
  remote: Remote,
  request: PublishRequest,
): Promise<PublishedNow> => {
  const target = writableOf(remote, project.trust);
  return publishTo(target, project, open, world, remote, request).catch((error: unknown) => {
    throw withSiblingHint(error, target, project.trust);
  });
};

const publishTo = async (
  target: Repository,
  project: Project,
  open: OpenImage,
  world: World,
  remote: Remote,
  request: PublishRequest,
): Promise<PublishedNow> => {
  const { state, trust: scope } = project;
  const { plans, tags } = request;
  const { beside } = remote;
  if (scope.level === "branch")
    world.stderr(`scope: branch (${scope.why}): image, tags and cached stages go to ${target.name}\n`);
  if (request.move === "forward" && plans.length < open.image.platforms.length) {
    const fix = "leave PLATFORM= away (all platforms of images.yaml are published), or MOVE=any to take them from the tag";
    await refuseNarrower(
      target,
      tags,
      plans.map(({ platform }) => platform),
      fix,
    );
  }
  const history = tags.some(isMoving) ? historyOf(project.root, world.signal) : null;
  // Prevents an unhandled rejection: `compared` awaits it, or nothing does.
  history?.catch(() => undefined);
  const compared = async (): Promise<History | null> => {
    const found = await history;
    if (typeof found !== "string") return found;
    world.stderr(`note: no commit to compare with where ${tags.filter(isMoving).join(", ")} stands: ${found}\n`);
    return null;
  };

  const before = request.refresh ? null : await findBefore(state, remote, target, plans, world);
  if (before !== null) {
    const past = await compared();
    const standings = await tagStatesOf(target, tags, past, before.root.digest, beside);
    return {
      name: target.name,
      digest: before.root.digest,
      tags: await moveTags(target, standings, before, past, beside, request.move === "any"),
      made: null,
    };
  }
  const past = await compared();
  const warn = (text: string) => world.stderr(`note: ${text}\n`);
  const { made, image, asked } = await rebuildDamaged(storeOf(state), plans, warn, async (untrusted) => {
    const made = await makeForAll(project, open, world, { remote, target }, request, untrusted);
    checkChain(state, made);
    const pushed = await pushMade(state, remote, target, made, world, request.refresh, () =>
      tagStatesOf(target, tags, past, null, beside),
    );
    return { made, ...pushed };
  });
  await testMade(project, remote, made, world, request.test);
  const key = keyTag(plans);
  const [, moved] = await allOf(
    tagImage(target, key, image.root.mediaType, image.bytes)
      .catch((error: unknown) => stays(error, `${target.name}:${key}`, world))
      .catch(beside.unkept),
    moveTags(target, asked, image, past, beside, request.move === "any"),
  );
  return { name: target.name, digest: image.root.digest, tags: moved, made: { record: made.record, log: made.log } };
};

/**
 * Builds the image that every other machine will build: where another machine pushed a stage while it was executed here, the image is built on
 * that one.
 */
const makeForAll = async (
  project: Project,
  open: OpenImage,
  world: World,
  { remote, target }: { remote: Remote; target: Repository },
  { plans, engine, verbose }: PublishRequest,
  untrusted: UntrustedDigests,
): Promise<BuiltImage> => {
  const { state } = project;
  const request: ImageRequest = {
    plans,
    upTo: "runtime",
    rebuild: "no",
    engine,
    verbose,
    cache: remote,
    prefer: "registry",
    untrusted,
    beforeExecution: () => requirePushRight(target),
  };
  const made = await buildImage(project, open, world, request);
  if (made.record.platforms.every(({ stages }) => stages.every(({ action }) => action !== "execute"))) return made;
  const digests = () => plans.flatMap(({ stages }) => stages.map(({ key }) => findStage(state, key)?.digest)).join();
  const before = digests();
  remote.forget();
  const lookup = { cache: remote, prefer: "registry", warn: warnOnce(world) } as const;
  await Promise.all(plans.map((plan) => knowledgeOf(storeOf(state), plan, lookup, untrusted)));
  return digests() === before ? made : buildImage(project, open, world, request);
};
