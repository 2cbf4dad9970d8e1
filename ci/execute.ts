import type { Decision } from "../dagger/src/pipeline/decide.js";
import { baseContextOf, renderStage } from "../dagger/src/pipeline/dockerfile.js";
import { FactoryError } from "../dagger/src/pipeline/error.js";
import type { BuildEvent } from "../dagger/src/pipeline/event.js";
import { noteText } from "../dagger/src/pipeline/explain.js";
import type { Entry, Facts } from "../dagger/src/pipeline/facts.js";
import { type Base, baseKeyOf } from "../dagger/src/pipeline/key.js";
import type { Plan, PlannedStage } from "../dagger/src/pipeline/plan.js";
import { labelsOf } from "../dagger/src/pipeline/label.js";
import { architectureOf, parentOf } from "../dagger/src/pipeline/stage.js";
import { bootstrapDebian } from "./bootstrap/debian.js";
import type { World } from "./command.js";
import type { Engine, Job, Secret } from "./engines/engine.js";
import { stageContext } from "./io/context.js";
import { gatherSecrets, proxies } from "./io/secrets.js";
import { findStage, keepStage, type StageRecord } from "./io/records.js";
import { readManifest } from "../dagger/src/layout.js";
import type { Descriptor } from "../dagger/src/pipeline/oci.js";
import type { OpenImage, Project } from "./project.js";

/** What carrying out decisions needs beside them. */
export type Workshop = {
  project: Project;
  open: OpenImage;
  world: World;
  /** Asked for only when a stage must be executed. */
  engine: () => Promise<Engine>;
  emit: (event: BuildEvent) => void;
};

/** A stage that exists now, with the layers it adds to the one below. */
export type Done = { decision: Decision; record: StageRecord; seconds: number; layers: readonly Descriptor[]; compared: boolean };

/**
 * Carries out decisions from base-tools upwards, up to and with the wanted stage. Each stage is executed on the result of the
 * one below as it is kept, so that the first machine and every later one take the same path to the same digest.
 * @throws FactoryError LOCK_STALE before anything runs, and whatever an engine throws
 */
export const carryOut = async (
  shop: Workshop,
  plan: Plan,
  decisions: readonly Decision[],
  fresh: "no" | "compare" | "replace",
): Promise<Done[]> => {
  refuseStale(plan, decisions);
  const done: Done[] = [];
  const { layout } = shop.project.state;
  const finish = (decision: Decision, record: StageRecord, seconds: number, compared = false) => {
    const below = new Set(done.flatMap(({ layers }) => layers.map(({ digest }) => digest)));
    done.push({
      decision,
      record,
      seconds,
      layers: readManifest(layout, record.digest).layers.filter(({ digest }) => !below.has(digest)),
      compared,
    });
  };
  for (const decision of decisions) {
    const { stage } = decision;
    const kept = findStage(shop.project.state, stage.key);
    if (decision.action === "reuse" && kept !== null) {
      finish(decision, kept, 0);
      continue;
    }
    const parent = done.at(-1)?.record.digest ?? null;
    const record = await execute(shop, plan, stage, parent, fresh !== "no");
    if (fresh === "compare" && kept !== null) compare(stage, kept, record);
    else keepStage(shop.project.state, record);
    const compared = fresh === "compare" && kept !== null;
    finish(decision, compared ? kept : record, record.seconds, compared);
  }
  return done;
};

const refuseStale = (plan: Plan, decisions: readonly Decision[]): void => {
  const executed = new Set(decisions.filter(({ action }) => action === "execute").map(({ stage }) => stage.stage));
  const stale = plan.notes.filter((note) => note.note === "stale" && executed.has(note.stage));
  if (stale.length === 0) return;
  throw new FactoryError("LOCK_STALE", {
    what: "images.lock does not answer what images.yaml asks",
    why: stale.map(noteText).join("\n"),
    fix: `./task lock IMAGE=${plan.image}`,
  });
};

const compare = (stage: PlannedStage, kept: StageRecord, fresh: StageRecord): void => {
  if (kept.digest === fresh.digest) return;
  throw new FactoryError("NOT_REPRODUCIBLE", {
    what: `${stage.stage} came out different from what is kept under its key ${stage.key}`,
    why: `kept: ${kept.digest}\nnow:  ${fresh.digest}`,
    fix: "nothing was overwritten; REFRESH=1 keeps the new one. A run step that reads the time or a floating package is the usual cause",
  });
};

const execute = async (
  shop: Workshop,
  plan: Plan,
  stage: PlannedStage,
  parent: string | null,
  noCache: boolean,
): Promise<StageRecord> => {
  const { project, world, emit } = shop;
  const started = world.now();
  emit({ type: "stage-started", at: started, stage: stage.stage, platform: plan.platform });
  const base = parent === null && plan.base.kind === "bootstrap" ? await ensureBase(shop, plan, plan.base) : null;
  const engine = await shop.engine();
  const secrets = gatherSecrets(plan.secrets, world.env, project.root);
  try {
    const job = await jobFor(shop, plan, stage, { parent, base, secrets: secrets.list, noCache });
    const { digest } = await engine.execute(job, emit, world.signal);
    if (digest === null)
      throw new FactoryError("ENGINE_FAILED", {
        what: "the engine gave no digest",
        why: `${engine.name} (${engine.address})`,
        fix: "run it again with FACTORY_DEBUG=1",
      });
    emit({ type: "stage-ended", at: world.now(), stage: stage.stage, platform: plan.platform, digest });
    return {
      key: stage.key,
      stage: stage.stage,
      image: plan.image,
      platform: plan.platform,
      digest,
      engine: `${engine.name} (${engine.address})`,
      at: started,
      seconds: (world.now() - started) / 1000,
    };
  } finally {
    secrets.remove();
  }
};

type Inputs = { parent: string | null; base: string | null; secrets: readonly Secret[]; noCache: boolean };

/** One stage as an engine takes it. */
export const jobFor = async (
  { project, open, world }: Pick<Workshop, "project" | "open" | "world">,
  plan: Plan,
  stage: PlannedStage,
  inputs: Inputs,
): Promise<Job> => {
  const below = parentOf(stage.stage);
  const { layout } = project.state;
  return {
    stage: stage.stage,
    platform: plan.platform,
    dockerfile: renderStage(plan, stage.stage),
    context: await stageContext(open.folder, entriesOf(stage, open.facts), project.state.contexts),
    images: {
      ...(inputs.base === null ? {} : { [baseContextOf(plan)]: { layout, digest: inputs.base } }),
      ...(below === null || inputs.parent === null ? {} : { [below]: { layout, digest: inputs.parent } }),
    },
    folders: {},
    buildArgs: proxies(world.env),
    secrets: inputs.secrets,
    epoch: plan.epoch,
    labels: labelsOf(stage),
    compression: plan.compression,
    noCache: inputs.noCache,
    output: { to: "oci-layout", folder: layout, name: `${stage.stage}-${stage.key}` },
  };
};

/** What a stage reads of the context: all that is sent for it. */
const entriesOf = (stage: PlannedStage, facts: Facts): Entry[] => {
  const all = stage.ingredients.steps.flatMap(({ step }): readonly Entry[] => {
    if (step.do !== "file") return "entries" in step ? step.entries : [];
    const { source } = step;
    return "from" in source ? facts.entries.filter(({ path }) => path === source.from) : [];
  });
  return [...new Map(all.map((entry) => [entry.path, entry])).values()].sort((a, b) => (a.path < b.path ? -1 : 1));
};

/** The bootstrapped base of a plan: from the state folder, or made now. */
export const ensureBase = async (
  { project, world }: Pick<Workshop, "project" | "world">,
  plan: Pick<Plan, "image" | "platform" | "epoch">,
  base: Extract<Base, { kind: "bootstrap" }>,
): Promise<string> => {
  const key = baseKeyOf(base, plan.platform, plan.epoch);
  const kept = findStage(project.state, key);
  if (kept !== null) return kept.digest;
  const started = world.now();
  const { digest } = await bootstrapDebian({
    suite: base.suite,
    mirror: base.mirror,
    architecture: architectureOf(plan.platform),
    include: base.include,
    packages: base.packages,
    epoch: plan.epoch,
    folder: project.state.layout,
    name: `base-${key}`,
    cache: project.state.cache,
    signal: world.signal,
    report: (line) => world.stderr(`base: ${line}\n`),
  });
  keepStage(project.state, {
    key,
    stage: "base",
    image: plan.image,
    platform: plan.platform,
    digest,
    engine: "mmdebstrap",
    at: started,
    seconds: (world.now() - started) / 1000,
  });
  return digest;
};
