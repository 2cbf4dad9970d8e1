import { extendsImage, readManifest } from "../oci-layout/blobs.js";
import { openStageArtifact } from "../oci-layout/stage-store.js";
import { FactoryError } from "../pipeline/common/error.js";
import type { ParentIndex } from "../pipeline/contents/parent-index.js";
import { type ContextSnapshot, sizesOf } from "../pipeline/context/snapshot.js";
import { assembleLayer } from "../pipeline/layer/plan-layer.js";
import type { Plan, PlannedStage } from "../pipeline/plan/types.js";
import type { StageContent } from "../pipeline/report/image-report.js";
import { ensureLocal } from "./ensure-local.js";
import type { StageCache, Store } from "./ports.js";
import { findStage, isBuiltOn, type StageRecord } from "./stage-record.js";

/**
 * What the stages of a plan contain, from their indexes: those in the store, and those that the registry has. Only indexes are fetched from
 * the registry, no layers.
 * @param howToBuild the fix of the error for a stage that is not built
 * @throws FactoryError INPUT_MISSING for an executed stage that is nowhere, or is built on another result of the stage below; and of a registry that must answer
 */
export async function stageContents(
  store: Store,
  snapshot: ContextSnapshot,
  plan: Plan,
  cache: StageCache | null,
  howToBuild: string,
): Promise<readonly StageContent[]> {
  const { layout } = store;
  const sizes = sizesOf(snapshot);
  cache?.ask(plan.stages.filter(({ kind, key }) => kind === "executed" && findStage(store, key) === null));
  const contents: StageContent[] = [];
  let executed: string | null = null;
  let below: { digest: string | null; layers: number; index: ParentIndex } | null = null;
  for (const stage of plan.stages) {
    if (stage.kind === "assembled" && below !== null) {
      const { entries, next } = assembleLayer(
        stage.ingredients.steps.map(({ step }) => step),
        below.index,
        sizes,
      );
      const found = findStage(store, stage.key);
      // Assembled on another result, it has layers of another image.
      const record: StageRecord | null = found?.parent === below.digest ? found : null;
      const layers = record === null ? null : ownLayers(layout, record, below);
      contents.push({ stage: stage.stage, kind: "assembled", entries, layers });
      below = { digest: record?.digest ?? null, layers: below.layers + (entries.length === 0 ? 0 : 1), index: next };
      continue;
    }
    const record = await executedStage(store, plan, stage, cache, howToBuild);
    // Where the stage below was never assembled, the record must extend the executed one below that.
    const parent: string | null = below?.digest ?? executed;
    const fits =
      parent === null ||
      (below?.digest === parent ? isBuiltOn(store, record, { digest: parent }) : extendsImage(layout, record.digest, parent));
    if (!fits) throw notBuilt(plan, stage, "what is kept of it was built on another result of the stage below", howToBuild);
    executed = record.digest;
    const artifact = openStageArtifact(layout, record.ref!, stage.key)!;
    await ensureLocal(store, cache, record, [artifact.parts.full]);
    const layers = ownLayers(layout, record, below);
    contents.push({ stage: stage.stage, kind: "executed", index: artifact.fileIndex(), layers });
    below = {
      digest: record.digest,
      layers: readManifest(layout, record.digest).layers.length,
      index: artifact.parentIndex(),
    };
  }
  return contents;
}

const ownLayers = (layout: string, { digest }: StageRecord, below: { layers: number } | null) =>
  readManifest(layout, digest).layers.slice(below?.layers ?? 0);

async function executedStage(
  store: Store,
  plan: Plan,
  stage: PlannedStage,
  cache: StageCache | null,
  howToBuild: string,
): Promise<StageRecord> {
  const local = findStage(store, stage.key);
  if (local !== null) return local;
  const pulled = await cache?.find(plan, stage, null, new Set());
  if (pulled?.state === "unknown" && cache?.unanswered === "fail") throw pulled.error;
  const fetched = findStage(store, stage.key);
  if (fetched !== null) return fetched;
  const why =
    pulled === undefined || pulled.state === "absent" || pulled.state === "found"
      ? `nothing is kept under its key ${stage.key.slice(0, 12)}${cache === null ? "" : ", here or in the registry"}`
      : pulled.state === "unknown"
        ? `it is not here, and the registry gives no answer: ${pulled.why}`
        : pulled.what;
  throw notBuilt(plan, stage, why, howToBuild);
}

function notBuilt(plan: Plan, { stage }: PlannedStage, why: string, fix: string): FactoryError {
  return new FactoryError("INPUT_MISSING", { what: `${stage} of ${plan.image} for ${plan.platform} is not built`, why, fix });
}
