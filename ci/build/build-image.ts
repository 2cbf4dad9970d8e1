/**
 * # ci/build
 *
 * A build on this machine: what is known, what is decided, what is made. A stage is made on the result of the stage below it and on nothing
 * else.
 */
import { statSync } from "node:fs";
import { join } from "node:path";
import { blobPath, writeJson } from "../../dagger/src/oci-layout/blobs.js";
import { type Decision, decide } from "../../dagger/src/pipeline/decide/decide.js";
import { noteText } from "../../dagger/src/pipeline/explain/reasons-text.js";
import { lackingError } from "../../dagger/src/pipeline/steps/needs.js";
import { type Descriptor, imageIndex, mediaTypes, platformParts } from "../../dagger/src/pipeline/oci/manifest.js";
import type { Plan } from "../../dagger/src/pipeline/plan/types.js";
import type { BuildRecord } from "../../dagger/src/pipeline/common/build-record.js";
import { type StageName, stageNames } from "../../dagger/src/pipeline/common/stage.js";
import { runDecisions } from "./run-decisions.js";
import { type StageResult, type Rebuild } from "./stage-result.js";
import type { World } from "../host/world.js";
import { engineOf } from "./engine-on-demand.js";
import { nameInLayout } from "../state/layout-index.js";
import { withheldNotes } from "../host/secrets.js";
import { openRunLog, type StageRecord, sweepRuns } from "../state/records.js";
import { type Asking, type UntrustedDigests, firstOnly, knowledgeOf } from "./knowledge.js";
import type { StageSource } from "../remote/stage-source.js";
import type { OpenImage, Project } from "../project/project.js";
import { openLive, openPlain } from "../view/draw.js";

export type ImageRequest = {
  /** One for each platform; all of one image. */
  plans: readonly Plan[];
  /** The last stage to make. */
  upTo: StageName;
  fresh: Rebuild;
  /** auto, dagger or buildkit. */
  engine: string;
  verbose: boolean;
  /** The registry whose stage refs count too. */
  remote: StageSource | null;
  prefer: "kept" | "registry";
  untrusted: UntrustedDigests;
  /** Called before the first stage is executed, if any is. */
  beforeExecution?: () => Promise<void>;
};

export type BuiltImage = {
  /** The manifest of the last stage, or an index where there are several platforms. */
  root: Descriptor;
  platforms: readonly { plan: Plan; done: readonly StageResult[] }[];
  record: BuildRecord;
  /** The run's log of events. */
  log: string;
};

/** Runs are kept for histories and reports. */
const runsKept = 50;

/** Makes an image exist in the state folder, on every platform asked for, and keeps a record of how. @throws FactoryError as runDecisions */
export const buildImage = async (project: Project, open: OpenImage, world: World, request: ImageRequest): Promise<BuiltImage> => {
  const started = world.now();
  const { state } = project;
  const { remote, prefer, fresh } = request;
  // What is made anew in any case is not looked for.
  const asking: Asking = remote === null || fresh !== "no" ? null : { remote, prefer, warn: firstOnly(world) };
  const work = await Promise.all(
    request.plans.map(async (plan): Promise<{ plan: Plan; decisions: Decision[] }> => {
      const cut = { ...plan, stages: plan.stages.slice(0, stageNames.indexOf(request.upTo) + 1) };
      return { plan, decisions: decide(cut, await knowledgeOf(state, cut, asking, request.untrusted), fresh !== "no") };
    }),
  );
  for (const { plan, decisions } of work) {
    const executed = new Set(decisions.flatMap(({ action, stage }) => (action === "execute" ? [stage.stage] : [])));
    const lacking = plan.notes.filter((note) => note.note === "lacking").filter(({ stage }) => executed.has(stage));
    if (lacking.length > 0) throw lackingError(plan.image, lacking);
  }
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
  const platforms: { plan: Plan; done: StageResult[] }[] = [];
  try {
    for (const { plan, decisions } of work) {
      const done = await runDecisions({ project, open, world, engine: engine.get, remote, emit }, plan, decisions, fresh);
      platforms.push({ plan, done });
    }
  } finally {
    display.close();
    await engine.release();
    sweepRuns(state, runsKept, 20);
  }
  const root = await rootOf(state.layout, platforms, world.signal);
  const record = recordOf(open.name, platforms, root, (world.now() - started) / 1000);
  log.finish(record);
  return { root, platforms, record, log: join(log.folder, "events.jsonl") };
};

/** The record of the last stage: never one that is only held by a stage above. */
export const lastRecord = (done: readonly StageResult[]): StageRecord => done.at(-1)!.record!;

const rootOf = async (layout: string, platforms: BuiltImage["platforms"], signal: AbortSignal): Promise<Descriptor> => {
  const manifests = platforms.map(({ plan, done }): Descriptor => {
    const { digest } = lastRecord(done);
    const { size } = statSync(blobPath(layout, digest));
    return { mediaType: mediaTypes.manifest, digest, size, platform: platformParts(plan.platform) };
  });
  if (manifests.length === 1) return manifests[0]!;
  const images = platforms.map(({ done }, at) => ({ manifest: manifests[at]!, last: done.at(-1)!.decision.stage }));
  const index = await writeJson(layout, mediaTypes.index, imageIndex(images));
  await nameInLayout(layout, `index-${platforms[0]!.plan.image}`, index, signal);
  return index;
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
