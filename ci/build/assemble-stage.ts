import { assembleStage } from "../../dagger/src/oci-layout/write-stage.js";
import type { ParentIndex } from "../../dagger/src/pipeline/contents/parent-index.js";
import type { Plan, PlannedStage } from "../../dagger/src/pipeline/plan/types.js";
import { lowestTrust } from "../../dagger/src/pipeline/common/trust-level.js";
import type { Workshop } from "./build-context.js";
import type { Ground } from "./parent-stage.js";
import { rememberedFrames, rememberedLayers } from "../state/known-layers.js";
import type { StageRecord } from "../state/records.js";
import { type Descriptor, mediaTypes, platformParts } from "../../dagger/src/pipeline/oci/manifest.js";

/** How the name of a step ends that the assembler reports; an engine's ends with a digest. */
const layerStep = "/layer";
export const isLayerStep = (step: string): boolean => step.endsWith(layerStep);

/**
 * Assembles one stage on the one below: no engine, no right and no container is needed. Naming its image in the layout is the caller's.
 * @param anew compress its layer again although it is remembered
 * @throws FactoryError CONFIG_INVALID, INPUT_MISSING (dagger/src/oci-layout/write-stage.ts)
 */
export const assemble = async (
  { project: { state }, open, world, emit }: Workshop,
  plan: Plan,
  stage: PlannedStage,
  ground: Ground,
  anew: boolean,
): Promise<{ record: StageRecord; image: Descriptor; index: () => ParentIndex }> => {
  const at = world.now();
  const about = { stage: stage.stage, platform: plan.platform } as const;
  emit({ type: "stage-started", at, ...about });
  const made = await assembleStage({
    layout: state.layout,
    parentDigest: ground.digest,
    parentIndex: ground.parentIndex(),
    plan,
    stage,
    contextFolder: open.folder,
    snapshot: open.snapshot,
    remembered: rememberedLayers(state, anew),
    frames: rememberedFrames(state, `${plan.image}-${stage.stage}-${plan.platform.replace("/", "-")}`, anew),
    signal: world.signal,
  });
  const { digest, size } = made;
  const image = { mediaType: mediaTypes.manifest, digest, size, platform: platformParts(plan.platform) };
  const now = world.now();
  const step = `${stage.stage}/${plan.platform.split("/")[1]}${layerStep}`;
  const name = `assemble ${made.entries.length} ${made.entries.length === 1 ? "path" : "paths"}`;
  emit({ type: "step-started", at, step, name, stage: stage.stage });
  emit({ type: "step-ended", at: now, step, cached: made.layer?.reused === true });
  emit({ type: "stage-ended", at: now, ...about, digest });
  const record: StageRecord = {
    key: stage.key,
    stage: stage.stage,
    image: plan.image,
    platform: plan.platform,
    digest,
    ref: null,
    parent: ground.digest,
    trust: lowestTrust(state.trust, ground.trust),
    // Its own layer is here; the layers below are where the stage below has them.
    elsewhere: ground.elsewhere,
    engine: "assembler",
    at,
    seconds: (now - at) / 1000,
  };
  return { record, image, index: () => made.index };
};
