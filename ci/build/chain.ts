import { extendsImage, readBlob, readManifest } from "../../dagger/src/oci-layout/blobs.js";
import type { ImageConfig } from "../../dagger/src/pipeline/oci/image-config.js";
import { keyOf } from "../../dagger/src/pipeline/plan/key.js";
import { type Descriptor, type ImageIndex, mediaTypes, stageKeysOf } from "../../dagger/src/pipeline/oci/manifest.js";
import type { Plan, PlannedStage } from "../../dagger/src/pipeline/plan/types.js";
import { isTrustedAt } from "../../dagger/src/pipeline/common/trust-level.js";
import { openStageArtifact } from "../../dagger/src/oci-layout/stage-store.js";
import type { StageResult } from "./stage-result.js";
import { isBuiltOn, type StageRecord } from "../state/records.js";
import type { State } from "../state/state.js";
import { ChainBroken } from "./chain-broken.js";

/**
 * Holds an image against its plan, before anything of it gets a tag: every stage has the key of the plan, is built on the one below, and
 * the image holds the layers of all of them, in order; nothing of it is of a lower trust level than the build.
 * @throws ChainBroken
 */
export const checkMade = (
  state: State,
  { root, platforms }: { root: Descriptor; platforms: readonly { plan: Plan; done: readonly StageResult[] }[] },
): void => {
  const digests = platforms.map(({ plan, done }) => checkPlatform(state, plan, done));
  const held =
    root.mediaType === mediaTypes.index
      ? readBlob<ImageIndex>(state.layout, root.digest).manifests.map(({ digest }) => digest)
      : [root.digest];
  if (held.join() !== digests.join())
    throw new ChainBroken("the image is not made of its platforms", `it names ${held.join(", ")}`);
};

const checkPlatform = (state: State, plan: Plan, done: readonly StageResult[]): string => {
  const { layout } = state;
  let below: StageRecord | null = null;
  for (const [at, { decision, record }] of done.entries()) {
    const { stage } = decision;
    const refuse = (why: string): never => {
      throw new ChainBroken(`${stage.stage} of ${plan.image} for ${plan.platform} is not what its plan says`, why);
    };
    if (stage.key !== plan.stages[at]?.key) refuse(`its key is ${stage.key}`);
    // Held by an executed stage above, whose layers are looked at.
    if (record === null) continue;
    if (record.key !== stage.key) refuse(`its record is of ${record.key}`);
    if (!isTrustedAt(record.trust, state.trust))
      refuse(`it comes from a build of a ${record.trust}, and this build is ${state.trust}`);
    if (below !== null && !isBuiltOn(state, record, below)) refuse("it is built on another result of the stage below");
    if (below !== null && !extendsImage(layout, record.digest, below.digest)) refuse("it lacks layers of the stage below");
    if (stage.kind === "executed") checkRef(layout, stage, record, refuse);
    else if (below === null || done[at - 1]?.record !== below) refuse("the stage below it was not made");
    below = record;
  }
  const last = done.at(-1);
  if (below === null || last === undefined || done.length !== plan.stages.length || last.record !== below)
    throw new ChainBroken(
      `${plan.image} for ${plan.platform} is not whole`,
      `${done.length} of ${plan.stages.length} stages were made`,
    );
  const manifest = readManifest(layout, below.digest);
  const { rootfs, os, architecture } = readBlob<ImageConfig>(layout, manifest.config.digest);
  if (`${os}/${architecture}` !== plan.platform)
    throw new ChainBroken(`${plan.image} for ${plan.platform} is not what its plan says`, `it is for ${os}/${architecture}`);
  if (rootfs.diff_ids.length !== manifest.layers.length)
    throw new ChainBroken(
      `${plan.image} for ${plan.platform} is not whole`,
      "its config and its manifest count layers differently",
    );
  // An engine's image says nothing of stages; an assembled one names all that it holds.
  const keys = plan.stages.map(({ key }) => key).join();
  if (last.decision.stage.kind === "assembled" && stageKeysOf(manifest).join() !== keys)
    throw new ChainBroken(`${plan.image} for ${plan.platform} is not what its plan says`, "its manifest names other keys");
  return below.digest;
};

const checkRef = (layout: string, { key }: PlannedStage, record: StageRecord, refuse: (why: string) => never): void => {
  const opened = record.ref === null ? null : openStageArtifact(layout, record.ref, key);
  if (opened === null) return refuse("its stage ref is missing or damaged");
  if (opened.image.digest !== record.digest) refuse("its stage ref is of another image");
  if (keyOf(opened.ingredients()) !== key) refuse("its stage ref was made of other ingredients");
};
