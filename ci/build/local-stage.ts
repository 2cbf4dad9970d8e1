import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import type { Plan, PlannedStage } from "../../dagger/src/pipeline/plan/types.js";
import type { World } from "../host/world.js";
import { ensureLocal } from "../../dagger/src/build/ensure-local.js";
import { knowledgeOf } from "../../dagger/src/build/knowledge.js";
import type { StageRecord } from "../../dagger/src/build/stage-record.js";
import { findStage } from "../state/records.js";
import { storeOf } from "../state/store.js";
import {
  buildCommand,
  type OpenImage,
  openImage,
  openProject,
  planOf,
  platformsOf,
  type Project,
  readBuildArgs,
  stageOf,
} from "../project/project.js";
import { remoteUseOf } from "../remote/remote.js";
import { lazyRemote } from "../remote/lazy-remote.js";

/** A stage of the current plan whose blobs are all on this machine. */
export type LocalStage = { project: Project; open: OpenImage; plan: Plan; stage: PlannedStage; record: StageRecord };

/** Which stage; what is undefined means the first image, runtime, and this machine's platform. */
export type StageRequest = {
  image: string | undefined;
  stage: string | undefined;
  platform: string | undefined;
  buildArgs?: readonly string[];
  /** Whether layers that are not here may be fetched from the registry: auto, require, off. */
  remote: string;
};

/**
 * Finds the result of a stage under its key, and fetches the blobs of it that are in the registry alone.
 * @throws FactoryError INPUT_MISSING when it is not built, and what opening a project or asking a registry throws
 */
export const findLocalStage = async (world: World, request: StageRequest): Promise<LocalStage> => {
  const use = remoteUseOf(request.remote);
  const project = await openProject(world);
  const open = await openImage(project, request.image);
  const [platform, ...others] = platformsOf(open.image, request.platform);
  if (others.length > 0) throw several(open.name, [platform!, ...others]);
  const plan = planOf(project, open, platform!, readBuildArgs(request.buildArgs ?? []));
  const name = stageOf(request.stage);
  const stage = plan.stages.find((one) => one.stage === name)!;
  // A stage whose parent is not available any more is not what a build would give.
  const { known } = await knowledgeOf(storeOf(project.state), plan, null);
  const record = known.has(stage.key) ? findStage(project.state, stage.key) : null;
  if (record === null) {
    throw new FactoryError("INPUT_MISSING", {
      what: `${name} of ${open.name} for ${plan.platform} is not built`,
      why: `nothing is kept under its key ${stage.key.slice(0, 12)}`,
      fix: buildCommand(plan, { stage: name, buildArgs: request.buildArgs ?? [] }),
    });
  }
  await ensureLocal(project.state, lazyRemote(use, project.state, plan, world), record);
  return { project, open, plan, stage, record };
};

const several = (image: string, platforms: readonly string[]): FactoryError =>
  new FactoryError("USAGE", {
    what: `one platform of ${image} at a time`,
    why: `asked for are ${platforms.join(", ")}`,
    fix: `PLATFORM=${platforms[0]}`,
  });
