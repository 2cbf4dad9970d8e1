import type { Client, Container } from "@dagger.io/dagger";
import { baseContainer } from "../dagger/base-container.js";
import type { ContainerSite } from "../dagger/container-executor.js";
import { asFailure } from "../dagger/explain-error.js";
import { type BuiltStage, stageContainers } from "../dagger/stage-container.js";
import { stageOf } from "../pipeline/config/arguments.js";
import type { Plan, PlannedStage } from "../pipeline/plan/types.js";
import { siteOf } from "./build.js";
import { type RequestArguments, type BuildArguments, openRequest, requireSinglePlatform } from "./request.js";

/** The container of a stage. All of its commands have run when this returns, so that a failure is explained. */
export async function stageContainer(client: Client, args: RequestArguments & BuildArguments, name: string): Promise<Container> {
  const last = stageOf(name);
  const call = await openRequest(client, args);
  const plan = requireSinglePlatform(call.plans, "a container");
  const chain = containersOf(
    await siteOf(call, args),
    plan,
    plan.stages.findIndex(({ stage }) => stage === last),
    args.noCache,
  );
  for (const { stage, built } of chain) {
    try {
      await built.container.sync();
    } catch (error) {
      throw asFailure(error, { stage: stage.stage, platform: plan.platform, pieces: built.pieces });
    }
  }
  return chain.at(-1)!.built.container;
}

/** The containers of a plan's stages, from base-tools up to and with the last one, each on the one before. */
function containersOf(
  site: ContainerSite,
  plan: Plan,
  last: number,
  noCache: boolean,
): { stage: PlannedStage; built: BuiltStage }[] {
  const base = baseContainer(site.client, plan, site.secrets);
  let below = base.container;
  return plan.stages.slice(0, last + 1).map((stage, at) => {
    const built = stageContainers(plan, stage, { ...site, below, fresh: noCache ? site.call : null });
    below = built.container;
    return { stage, built: at === 0 ? { ...built, pieces: [...base.pieces, ...built.pieces] } : built };
  });
}
