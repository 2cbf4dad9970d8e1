import { readManifest } from "../../dagger/src/oci-layout/blobs.js";
import type { ParentIndex } from "../../dagger/src/pipeline/contents/parent-index.js";
import { sizesOf } from "../../dagger/src/pipeline/context/snapshot.js";
import { assembleLayer } from "../../dagger/src/pipeline/layer/plan-layer.js";
import type { PlannedStage } from "../../dagger/src/pipeline/plan/types.js";
import type { FileIndex } from "../../dagger/src/pipeline/contents/file-entry.js";
import { openStageArtifact } from "../../dagger/src/oci-layout/stage-store.js";
import type { StageName } from "../../dagger/src/pipeline/common/stage.js";
import type { TrustLevel } from "../../dagger/src/pipeline/common/trust-level.js";
import { ChainBroken } from "./chain-broken.js";
import { ensureLocal } from "../remote/stage-source.js";
import type { Workshop } from "./build-context.js";
import type { StageRecord } from "../state/records.js";

/** A stage as the next one stands on it. What it holds is found out only when someone asks: a code change needs the small index alone. */
export type Ground = {
  stage: StageName;
  /** The lowest of all that it is built on. */
  trust: TrustLevel;
  /** Of its manifest. */
  digest: string;
  /** A repository that holds the blobs which are not here. */
  elsewhere: string | null;
  /** Of its stage ref, where it was executed. */
  ref: string | null;
  /** How many layers it has with all that is below. */
  layers: number;
  parentIndex(): ParentIndex;
  fileIndex(): Promise<FileIndex>;
};

export const groundOf = (
  { project: { state }, open: { snapshot }, world, remote }: Pick<Workshop, "project" | "open" | "world" | "remote">,
  { stage, kind, key, ingredients }: PlannedStage,
  record: StageRecord,
  below: Ground | null,
  /** Of a stage that was assembled just now: it need not be worked out again. */
  index?: () => ParentIndex,
): Ground => {
  const { layers } = readManifest(state.layout, record.digest);
  const { digest, elsewhere, ref, trust } = record;
  const place = { stage, digest, elsewhere, ref, trust, layers: layers.length };
  if (kind === "executed" || below === null) {
    const opened = record.ref === null ? null : openStageArtifact(state.layout, record.ref, key);
    if (opened === null)
      throw new ChainBroken(`${stage} cannot be built on`, "it was executed, and its stage ref is missing or damaged");
    return {
      ...place,
      parentIndex: once(opened.parentIndex),
      fileIndex: async () => {
        await ensureLocal(state, remote, record, [opened.parts.full]);
        return opened.fileIndex();
      },
    };
  }
  return {
    ...place,
    parentIndex: once(() => {
      if (index !== undefined) return index();
      return assembleLayer(
        ingredients.steps.map(({ step }) => step),
        below.parentIndex(),
        sizesOf(snapshot),
      ).next;
    }),
    fileIndex: async () => {
      const { indexLayers } = await import("../../dagger/src/oci-layout/index-layers.js");
      return indexLayers(state.layout, layers.slice(below.layers), await below.fileIndex(), world.signal);
    },
  };
};

/** Two stages stand on the same ground: the one above it, and what that one becomes. */
const once = <T>(make: () => T): (() => T) => {
  let made: { value: T } | null = null;
  return () => (made ??= { value: make() }).value;
};
