import { writeStageArtifact } from "../oci-layout/stage-store.js";
import { lowestTrust } from "../pipeline/common/trust-level.js";
import type { Descriptor } from "../pipeline/oci/manifest.js";
import { stageTag } from "../pipeline/oci/stage-artifact.js";
import type { Plan, PlannedStage } from "../pipeline/plan/types.js";
import { parentAhead } from "./parent-stage.js";
import type { BuildContext, ParentStage } from "./ports.js";
import type { StageRecord } from "./stage-record.js";

/**
 * Executes one stage on its parent, and writes its stage artifact.
 * @param executed gets the stage as soon as its layers are in the layout, while they are still being indexed: a stage that is executed on it
 * needs no index, and the executor is free
 * @throws FactoryError of the executor and of writeStageArtifact
 */
export async function execute(
  context: BuildContext,
  plan: Plan,
  stage: PlannedStage,
  parent: ParentStage | null,
  noCache: boolean,
  executed: (stage: ParentStage) => void,
): Promise<{ record: StageRecord; artifact: Descriptor }> {
  const { store, executor, emit, now } = context;
  const at = now();
  emit({ type: "stage-started", at, stage: stage.stage, platform: plan.platform });
  const { digest, engine } = await executor.execute({ plan, stage, parent, noCache });
  const ended = now();
  emit({ type: "stage-ended", at: ended, stage: stage.stage, platform: plan.platform, digest });
  const writing = writeArtifact(context, stage, digest, parent);
  const trust = parent === null ? store.trust : lowestTrust(store.trust, parent.trust);
  executed(parentAhead(context, stage, digest, trust, writing));
  const artifact = await writing;
  const record: StageRecord = {
    key: stage.key,
    stage: stage.stage,
    image: plan.image,
    platform: plan.platform,
    digest,
    ref: artifact.digest,
    parent: parent?.digest ?? null,
    trust,
    elsewhere: null,
    engine,
    at,
    seconds: (ended - at) / 1000,
  };
  return { record, artifact };
}

async function writeArtifact(
  { store, signal }: BuildContext,
  stage: PlannedStage,
  digest: string,
  parent: ParentStage | null,
): Promise<Descriptor> {
  const below = parent === null ? null : { layers: parent.layers, index: await parent.fileIndex() };
  const artifact = await writeStageArtifact(store.layout, stage, digest, below, signal);
  await store.name({ [stageTag(stage.stage, stage.key)]: artifact }, signal);
  return artifact;
}
