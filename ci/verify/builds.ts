import type { Decision } from "../../dagger/src/pipeline/decide/decide.js";
import type { BuildEvent } from "../../dagger/src/pipeline/common/build-event.js";
import type { Plan } from "../../dagger/src/pipeline/plan/types.js";
import type { StageName } from "../../dagger/src/pipeline/common/stage.js";
import { countSteps, type EngineSteps, type BuiltStage } from "../../dagger/src/pipeline/verify/judge.js";
import { isLayerStep } from "../../dagger/src/build/assemble-stage.js";
import { buildStages } from "../../dagger/src/build/build-stages.js";
import type { StageResult } from "../../dagger/src/build/stage-result.js";
import type { World } from "../host/world.js";
import { engineOf } from "../build/engine-on-demand.js";
import { findStage, keepStage } from "../state/records.js";
import { buildImage, contextOf } from "../build/build-image.js";
import type { OpenImage, Project } from "../project/project.js";
import { openLive, openPlain } from "../view/draw.js";
import { engineMark, eventsIn, heldOf } from "./evidence.js";

/** Where a proof builds. */
export type Site = { project: Project; open: OpenImage; world: World; engine: string };

/** A build and what was seen of it. */
export type Seen = {
  decisions: readonly Decision[];
  stages: ReadonlyMap<StageName, BuiltStage>;
  steps: ReadonlyMap<StageName, EngineSteps>;
  engineStarted: boolean;
  /** Stages that were made now, in their order. */
  made: readonly StageName[];
};

/** Builds as `build` does, and reads what came of it. @throws FactoryError as buildImage */
export const buildOnce = async ({ project, open, world, engine }: Site, plan: Plan, verbose: boolean): Promise<Seen> => {
  const mark = engineMark(project.state);
  // No registry: what is proven is what this machine makes.
  const alone = { cache: null, prefer: "local", untrusted: new Set<string>() } as const;
  const made = await buildImage(project, open, world, {
    plans: [plan],
    upTo: "runtime",
    rebuild: "no",
    engine,
    verbose,
    ...alone,
  });
  const { done } = made.platforms[0]!;
  return seen(project, done, eventsIn(made.log), mark);
};

/**
 * Makes stages again under the keys that they have, without any cache, each on the one below as it is kept. What is kept stays in
 * its place afterwards, whatever came out.
 * @throws FactoryError whatever an engine or the assembler throws
 */
export const makeAgain = async (site: Site, plan: Plan, which: ReadonlySet<StageName>): Promise<Seen> => {
  const { project, open, world } = site;
  const mark = engineMark(project.state);
  const events: BuildEvent[] = [];
  const engine = engineOf(project, world, site.engine);
  const display = (world.live ? openLive : openPlain)(world.screen, { colour: world.colour, verbose: false });
  const emit = (event: BuildEvent) => {
    events.push(event);
    display.event(event);
  };
  const kept = plan.stages.map(({ key }) => findStage(project.state, key));
  const decisions = plan.stages.map((stage, at): Decision => {
    if (which.has(stage.stage))
      return { stage, action: stage.kind === "executed" ? "execute" : "assemble", reasons: [{ why: "asked" }] };
    if (kept[at] === null) return { stage, action: "reuse", reasons: [{ why: "held", by: stage.stage }] };
    return { stage, action: "reuse", reasons: [{ why: "kept", where: { at: "state" } }] };
  });
  try {
    const context = contextOf({ project, open, world, engine: engine.get, emit }, null);
    const done = await buildStages(context, plan, decisions, "replace");
    return seen(project, done, events, mark);
  } finally {
    display.close();
    await engine.release();
    for (const record of kept) if (record !== null) keepStage(project.state, record);
  }
};

const seen = ({ state }: Project, done: readonly StageResult[], events: readonly BuildEvent[], mark: bigint | null): Seen => ({
  decisions: done.map(({ decision }) => decision),
  stages: heldOf(state.layout, done),
  made: done.filter(({ decision }) => decision.action !== "reuse").map(({ decision }) => decision.stage.stage),
  steps: countSteps(events, isLayerStep),
  engineStarted: engineMark(state) !== mark,
});
