import { extendsImage, readBlob, readManifest } from "../oci-layout/blobs.js";
import { openStageArtifact } from "../oci-layout/stage-store.js";
import { isTrustedAt } from "../pipeline/common/trust-level.js";
import type { ImageConfig } from "../pipeline/oci/image-config.js";
import { type ImageIndex, mediaTypes, stageKeysOf } from "../pipeline/oci/manifest.js";
import { keyOf } from "../pipeline/plan/key.js";
import type { Plan, PlannedStage } from "../pipeline/plan/types.js";
import { ChainBroken } from "./chain-broken.js";
import type { Store } from "./ports.js";
import { isBuiltOn, type StageRecord } from "./stage-record.js";
import type { BuiltPlans, StageResult } from "./stage-result.js";

/**
 * Checks an image against its plans, before a tag names it: every stage has the key of the plan and is built on the one below, the image has
 * the layers of all of them in order, and nothing of it has a lower trust level than the build.
 * @throws ChainBroken
 */
export function checkChain(store: Pick<Store, "layout" | "trust">, { root, platforms }: BuiltPlans): void {
  const digests = platforms.map(({ plan, done }) => checkPlatform(store, plan, done));
  const held =
    root.mediaType === mediaTypes.index
      ? readBlob<ImageIndex>(store.layout, root.digest).manifests.map(({ digest }) => digest)
      : [root.digest];
  if (held.join() !== digests.join())
    throw new ChainBroken("the image is not made of its platforms", `it names ${held.join(", ")}`);
}

function checkPlatform(store: Pick<Store, "layout" | "trust">, plan: Plan, done: readonly StageResult[]): string {
  const { layout } = store;
  let below: StageRecord | null = null;
  for (const [at, { decision, record }] of done.entries()) {
    const { stage } = decision;
    const refuse = (why: string): never => {
      throw new ChainBroken(`${stage.stage} of ${plan.image} for ${plan.platform} is not what its plan says`, why);
    };
    if (stage.key !== plan.stages[at]?.key) refuse(`its key is ${stage.key}`);
    // An executed stage above contains it: the layers of that one are checked.
    if (record === null) continue;
    if (record.key !== stage.key) refuse(`its record is of ${record.key}`);
    if (!isTrustedAt(record.trust, store.trust))
      refuse(`it comes from a build of a ${record.trust}, and this build is ${store.trust}`);
    if (below !== null && !isBuiltOn(store, record, below)) refuse("it is built on another result of the stage below");
    if (below !== null && !extendsImage(layout, record.digest, below.digest)) refuse("it lacks layers of the stage below");
    if (stage.kind === "executed") checkArtifact(layout, stage, record, refuse);
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
  // An engine's image says nothing of stages; an assembled one names all of its stages.
  const keys = plan.stages.map(({ key }) => key).join();
  if (last.decision.stage.kind === "assembled" && stageKeysOf(manifest).join() !== keys)
    throw new ChainBroken(`${plan.image} for ${plan.platform} is not what its plan says`, "its manifest names other keys");
  return below.digest;
}

function checkArtifact(layout: string, { key }: PlannedStage, record: StageRecord, refuse: (why: string) => never): void {
  const opened = record.ref === null ? null : openStageArtifact(layout, record.ref, key);
  if (opened === null) return refuse("its cached stage is missing or damaged");
  if (opened.image.digest !== record.digest) refuse("its cached stage is of another image");
  if (keyOf(opened.ingredients()) !== key) refuse("its cached stage was made of other ingredients");
}
