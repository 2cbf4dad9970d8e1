import { extendsImage, readManifest } from "../../dagger/src/oci-layout/blobs.js";
import type { ParentIndex } from "../../dagger/src/pipeline/contents/parent-index.js";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import { type ContextSnapshot, sizesOf } from "../../dagger/src/pipeline/context/snapshot.js";
import type { StageContent } from "../../dagger/src/pipeline/report/image-report.js";
import { assembleLayer } from "../../dagger/src/pipeline/layer/plan-layer.js";
import type { Plan, PlannedStage } from "../../dagger/src/pipeline/plan/types.js";
import { openStageArtifact } from "../../dagger/src/oci-layout/stage-store.js";
import { findStage, isBuiltOn, type StageRecord } from "../state/records.js";
import type { State } from "../state/state.js";
import { buildCommand } from "../project/project.js";
import { ensureLocal, type StageSource } from "../remote/stage-source.js";

/**
 * What the stages of a plan hold, from their indexes: those that are here, and those that the registry has. Of the registry the indexes
 * alone are fetched, whatever the layers weigh.
 * @throws FactoryError INPUT_MISSING for an executed stage that is nowhere or stands on another result than is kept below it, and whatever a registry throws that must answer
 */
export const stageContents = async (
  state: State,
  snapshot: ContextSnapshot,
  plan: Plan,
  remote: StageSource | null,
): Promise<readonly StageContent[]> => {
  const sizes = sizesOf(snapshot);
  remote?.ask(plan.stages.filter(({ kind, key }) => kind === "executed" && findStage(state, key) === null));
  const contents: StageContent[] = [];
  let executed: string | null = null;
  let below: { digest: string | null; layers: number; assembly: ParentIndex } | null = null;
  for (const stage of plan.stages) {
    if (stage.kind === "assembled" && below !== null) {
      const { entries, next } = assembleLayer(
        stage.ingredients.steps.map(({ step }) => step),
        below.assembly,
        sizes,
      );
      const kept = findStage(state, stage.key);
      // One that was assembled on another result has layers of another image.
      const record: StageRecord | null = kept?.parent === below.digest ? kept : null;
      contents.push({
        stage: stage.stage,
        kind: "assembled",
        entries,
        layers: record === null ? null : ownLayers(state, record, below),
      });
      below = { digest: record?.digest ?? null, layers: below.layers + (entries.length === 0 ? 0 : 1), assembly: next };
      continue;
    }
    const record = await executedStage(state, plan, stage, remote);
    // A report of two results would be of no image. Where the stage below was assembled nowhere, the executed one below that is looked at.
    const ground: string | null = below?.digest ?? executed;
    if (ground !== null && !standsOn(state, record, ground, below?.digest === ground))
      throw notBuilt(plan, stage, "what is kept of it was built on another result of the stage below");
    executed = record.digest;
    const opened = openStageArtifact(state.layout, record.ref!, stage.key)!;
    await ensureLocal(state, remote, record, [opened.parts.full]);
    contents.push({ stage: stage.stage, kind: "executed", index: opened.fileIndex(), layers: ownLayers(state, record, below) });
    const { digest } = record;
    below = { digest, layers: readManifest(state.layout, digest).layers.length, assembly: opened.parentIndex() };
  }
  return contents;
};

const ownLayers = (state: State, record: StageRecord, below: { layers: number } | null) =>
  readManifest(state.layout, record.digest).layers.slice(below?.layers ?? 0);

const executedStage = async (state: State, plan: Plan, stage: PlannedStage, remote: StageSource | null): Promise<StageRecord> => {
  const kept = findStage(state, stage.key);
  if (kept !== null) return kept;
  const pulled = await remote?.find(plan, stage, null, new Set());
  if (pulled?.state === "unknown" && remote?.unanswered === "fail") throw pulled.error;
  const found = findStage(state, stage.key);
  if (found !== null) return found;
  throw notBuilt(
    plan,
    stage,
    pulled === undefined || pulled.state === "absent" || pulled.state === "found"
      ? `nothing is kept under its key ${stage.key.slice(0, 12)}${remote === null ? "" : ", here or in the registry"}`
      : pulled.state === "unknown"
        ? `it is not here, and the registry gives no answer: ${pulled.why}`
        : pulled.what,
  );
};

const standsOn = (state: State, record: StageRecord, ground: string, isParent: boolean): boolean =>
  isParent ? isBuiltOn(state, record, { digest: ground }) : extendsImage(state.layout, record.digest, ground);

const notBuilt = (plan: Plan, { stage }: PlannedStage, why: string): FactoryError =>
  new FactoryError("INPUT_MISSING", {
    what: `${stage} of ${plan.image} for ${plan.platform} is not built`,
    why,
    fix: buildCommand(plan),
  });
