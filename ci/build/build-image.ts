/**
 * # ci/build
 *
 * A build on this machine: what is known, what is decided, what is made. A stage is made on the result of the stage below it and on nothing
 * else.
 */
import { join } from "node:path";
import { buildStages, imageRoot, lastRecord } from "../../dagger/src/build/build-stages.js";
import { decidePlans } from "../../dagger/src/build/decide-plans.js";
import type { CacheLookup, UntrustedDigests } from "../../dagger/src/build/knowledge.js";
import type { BuildContext, StageCache } from "../../dagger/src/build/ports.js";
import type { BuiltPlan, BuiltPlans, Rebuild } from "../../dagger/src/build/stage-result.js";
import type { BuildRecord } from "../../dagger/src/pipeline/common/build-record.js";
import type { StageName } from "../../dagger/src/pipeline/common/stage.js";
import { noteText } from "../../dagger/src/pipeline/explain/reasons-text.js";
import type { Descriptor } from "../../dagger/src/pipeline/oci/manifest.js";
import type { Plan } from "../../dagger/src/pipeline/plan/types.js";
import { withheldNotes } from "../host/secrets.js";
import type { World } from "../host/world.js";
import type { OpenImage, Project } from "../project/project.js";
import { openRunLog, sweepRuns } from "../state/records.js";
import { warnOnce } from "../remote/lazy-remote.js";
import { storeOf } from "../state/store.js";
import { openLive, openPlain } from "../view/draw.js";
import { engineExecutor } from "./engine-executor.js";
import type { EngineSite } from "./engine-site.js";
import { engineOf } from "./engine-on-demand.js";

export type ImageRequest = {
  /** One for each platform; all of one image. */
  plans: readonly Plan[];
  /** The last stage to build. */
  upTo: StageName;
  rebuild: Rebuild;
  /** auto, dagger or buildkit. */
  engine: string;
  verbose: boolean;
  /** The registry whose stages are used too. */
  cache: StageCache | null;
  prefer: "local" | "registry";
  untrusted: UntrustedDigests;
  /** Called before the first stage is executed, if any is. */
  beforeExecution?: () => Promise<void>;
};

export type BuiltImage = BuiltPlans & {
  record: BuildRecord;
  /** The run's log of events. */
  log: string;
};

/** What the stages of an image are built with on this machine. */
export const contextOf = (site: EngineSite, cache: StageCache | null): BuildContext => {
  const { project, open, world, emit } = site;
  const { signal, now } = world;
  return {
    ...{ store: storeOf(project.state), cache, executor: engineExecutor(site), emit, signal, now },
    source: { folder: open.folder, snapshot: open.snapshot },
    howToReplace: "REFRESH=1 keeps the new one",
  };
};

/** Runs are kept for histories and reports. */
const runsKept = 50;

/** Builds an image in the state folder, on every requested platform, and keeps a record of the run. @throws FactoryError as buildStages */
export const buildImage = async (project: Project, open: OpenImage, world: World, request: ImageRequest): Promise<BuiltImage> => {
  const started = world.now();
  const { state } = project;
  const { plans, upTo, cache, prefer, rebuild, untrusted } = request;
  // A stage that is built again in any case is not looked up.
  const lookup: CacheLookup = cache === null || rebuild !== "no" ? null : { cache, prefer, warn: warnOnce(world) };
  const work = await decidePlans(storeOf(state), plans, { upTo, rebuild, lookup, untrusted });
  if (work.some(({ decisions }) => decisions.some(({ action }) => action === "execute"))) {
    for (const text of withheldNotes(request.plans[0]!.secrets, world.env, project.trust.level)) world.stderr(`note: ${text}\n`);
    await request.beforeExecution?.();
  }
  for (const text of new Set(request.plans.flatMap(({ notes }) => notes.map(noteText)))) world.stderr(`note: ${text}\n`);

  const log = openRunLog(state, `${new Date(started).toISOString().replaceAll(/[:.]/g, "-")}-${open.name}`);
  const display = (world.live ? openLive : openPlain)(world.screen, { colour: world.colour, verbose: request.verbose });
  const engine = engineOf(project, world, request.engine);
  const emit = (event: Parameters<typeof log.write>[0]) => {
    log.write(event);
    display.event(event);
  };
  const platforms: BuiltPlan[] = [];
  const context = contextOf({ project, open, world, engine: engine.get, emit }, cache);
  try {
    for (const { plan, decisions } of work) platforms.push({ plan, done: await buildStages(context, plan, decisions, rebuild) });
  } finally {
    display.close();
    await engine.release();
    sweepRuns(state, runsKept, 20);
  }
  const root = await imageRoot(context.store, platforms, world.signal);
  const record = recordOf(open.name, platforms, root, (world.now() - started) / 1000);
  log.finish(record);
  return { root, platforms, record, log: join(log.folder, "events.jsonl") };
};

const recordOf = (image: string, platforms: BuiltImage["platforms"], root: Descriptor, seconds: number): BuildRecord => ({
  format: 1,
  image,
  digest: root.digest,
  seconds,
  platforms: platforms.map(({ plan, done }) => ({
    platform: plan.platform,
    digest: lastRecord(done).digest,
    stages: done.map(({ decision: { stage, action }, record, seconds: spent, layers, compared }) => ({
      stage: stage.stage,
      key: stage.key,
      action: compared ? "compare" : action,
      seconds: spent,
      bytes: layers.reduce((sum, { size }) => sum + size, 0),
      layers: layers.length,
      digest: record?.digest ?? null,
    })),
  })),
});
