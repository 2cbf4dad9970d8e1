import { assembleStage } from "../oci-layout/write-stage.js";
import { lowestTrust } from "../pipeline/common/trust-level.js";
import type { ParentIndex } from "../pipeline/contents/parent-index.js";
import { type Descriptor, mediaTypes, platformParts } from "../pipeline/oci/manifest.js";
import type { Plan, PlannedStage } from "../pipeline/plan/types.js";
import type { BuildContext, ParentStage } from "./ports.js";
import type { StageRecord } from "./stage-record.js";

/** How the name of a step ends that the assembler reports; an engine's ends with a digest. */
const layerStep = "/layer";
export const isLayerStep = (step: string): boolean => step.endsWith(layerStep);

/**
 * Assembles one stage on its parent. No engine is needed. Its image is named in the layout by the caller.
 * @param anew compress its layer again, although it was assembled before
 * @throws FactoryError CONFIG_INVALID, INPUT_MISSING (oci-layout/write-stage.ts)
 */
export async function assemble(
  { store, source, emit, now, signal }: BuildContext,
  plan: Plan,
  stage: PlannedStage,
  parent: ParentStage,
  anew: boolean,
): Promise<{ record: StageRecord; image: Descriptor; index: () => ParentIndex }> {
  const at = now();
  const about = { stage: stage.stage, platform: plan.platform } as const;
  emit({ type: "stage-started", at, ...about });
  const made = await assembleStage({
    layout: store.layout,
    parentDigest: parent.digest,
    parentIndex: parent.parentIndex(),
    plan,
    stage,
    contextFolder: source.folder,
    snapshot: source.snapshot,
    remembered: store.layers(anew),
    frames: store.frames(`${plan.image}-${stage.stage}-${plan.platform.replace("/", "-")}`, anew),
    signal,
  });
  const { digest, size } = made;
  const image = { mediaType: mediaTypes.manifest, digest, size, platform: platformParts(plan.platform) };
  const ended = now();
  const step = `${stage.stage}/${plan.platform.split("/")[1]}${layerStep}`;
  const name = `assemble ${made.entries.length} ${made.entries.length === 1 ? "path" : "paths"}`;
  emit({ type: "step-started", at, step, name, stage: stage.stage });
  emit({ type: "step-ended", at: ended, step, cached: made.layer?.reused === true });
  emit({ type: "stage-ended", at: ended, ...about, digest });
  const record: StageRecord = {
    key: stage.key,
    stage: stage.stage,
    image: plan.image,
    platform: plan.platform,
    digest,
    ref: null,
    parent: parent.digest,
    trust: lowestTrust(store.trust, parent.trust),
    // Its own layer is in the layout; the layers below are where those of its parent are.
    elsewhere: parent.elsewhere,
    engine: "assembler",
    at,
    seconds: (ended - at) / 1000,
  };
  return { record, image, index: () => made.index };
}
