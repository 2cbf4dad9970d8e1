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
import { remoteUseOf } from "../remote/stage-source.js";
import { lazyRemote } from "../remote/lazy-remote.js";

/** A stage of today's plan that is kept on this machine with all its bytes, and the plan. */
export type Kept = { project: Project; open: OpenImage; plan: Plan; stage: PlannedStage; record: StageRecord };

/** What a person says of it; absent words mean the first image, runtime, this machine's platform. */
export type Wish = {
  image: string | undefined;
  stage: string | undefined;
  platform: string | undefined;
  buildArgs?: readonly string[];
  /** Whether layers that are not here may be fetched from the registry: auto, require, off. */
  remote: string;
};

/**
 * Finds what a plan's stage left, under its key (what was built from other inputs is another stage), and fetches what of it stands
 * in the registry.
 * @throws FactoryError INPUT_MISSING when it is not built, and what opening a project or asking a registry throws
 */
export const keptStage = async (world: World, wish: Wish): Promise<Kept> => {
  const use = remoteUseOf(wish.remote);
  const project = await openProject(world);
  const open = await openImage(project, wish.image);
  const [platform, ...others] = platformsOf(open.image, wish.platform);
  if (others.length > 0) throw several(open.name, [platform!, ...others]);
  const plan = planOf(project, open, platform!, readBuildArgs(wish.buildArgs ?? []));
  const name = stageOf(wish.stage);
  const stage = plan.stages.find((one) => one.stage === name)!;
  // What is kept and was built on something that is here no more is not what a build would give.
  const { known } = await knowledgeOf(storeOf(project.state), plan, null);
  const record = known.has(stage.key) ? findStage(project.state, stage.key) : null;
  if (record === null) {
    throw new FactoryError("INPUT_MISSING", {
      what: `${name} of ${open.name} for ${plan.platform} is not built`,
      why: `nothing is kept under its key ${stage.key.slice(0, 12)}`,
      fix: buildCommand(plan, { stage: name, buildArgs: wish.buildArgs ?? [] }),
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
