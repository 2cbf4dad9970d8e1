import { cachesOf } from "../../dagger/src/pipeline/steps/cache-names.js";
import { baseContextOf, renderStage } from "../../dagger/src/pipeline/render/dockerfile.js";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import type { Entry, ContextSnapshot } from "../../dagger/src/pipeline/context/snapshot.js";
import { baseKeyOf } from "../../dagger/src/pipeline/plan/key.js";
import { type Base } from "../../dagger/src/pipeline/steps/base.js";
import type { Plan, PlannedStage } from "../../dagger/src/pipeline/plan/types.js";
import { labelsOf } from "../../dagger/src/pipeline/render/step-labels.js";
import { architectureOf, parentOf } from "../../dagger/src/pipeline/common/stage.js";
import { dropDamaged, readManifest } from "../../dagger/src/oci-layout/blobs.js";
import { bootstrapDebian } from "../bootstrap/debian.js";
import type { Job } from "../engines/interface/engine.js";
import { gatherSecrets, openProxies, type Secret, secretProxies } from "../host/secrets.js";
import { stageContext } from "../state/staged-context.js";
import { findStage, keepStage } from "../state/records.js";
import type { EngineSite } from "./engine-site.js";
import type { Execution } from "../../dagger/src/build/ports.js";

/**
 * Executes one stage with an engine, on its parent or on the base.
 * @throws FactoryError whatever an engine throws
 */
export const executeStage = async (
  site: EngineSite,
  { plan, stage, parent, noCache }: Execution,
): Promise<{ digest: string; engine: string }> => {
  const { project, world, emit } = site;
  // Before the base is bootstrapped or a layer is fetched: without an engine both would be in vain.
  const engine = await site.engine();
  const base = parent === null && plan.base.kind === "bootstrap" ? await ensureBase(site, plan, plan.base) : null;
  await parent?.ensureLocal();
  const secrets = gatherSecrets(plan.secrets, world.env, project.trust.level).list;
  const job = await jobFor(site, plan, stage, { parent: parent?.digest ?? null, base, secrets, noCache });
  const { digest } = await engine.execute(job, emit, world.signal);
  if (digest === null)
    throw new FactoryError("ENGINE_FAILED", {
      what: "the engine gave no digest",
      why: `${engine.name} (${engine.address})`,
      fix: "run it again with FACTORY_DEBUG=1",
    });
  return { digest, engine: `${engine.name} (${engine.address})` };
};

type Inputs = { parent: string | null; base: string | null; secrets: readonly Secret[]; noCache: boolean };

/** One stage as an engine takes it. */
const jobFor = async ({ project, open, world }: EngineSite, plan: Plan, stage: PlannedStage, inputs: Inputs): Promise<Job> => {
  const below = parentOf(stage.stage);
  const { layout } = project.state;
  // The login of a proxy is passed as a declared secret. Keys are computed already, so none depends on it.
  const caches = cachesOf(plan.repository, project.state.trust);
  const { declared, list } = secretProxies(world.env);
  return {
    stage: stage.stage,
    platform: plan.platform,
    dockerfile: renderStage({ ...plan, secrets: { ...plan.secrets, ...declared } }, stage.stage, caches),
    planned: { plan, stage, caches },
    context: await stageContext(open.folder, entriesOf(stage, open.snapshot), project.state.contexts),
    images: {
      ...(inputs.base === null ? {} : { [baseContextOf(plan)]: { layout, digest: inputs.base } }),
      ...(below === null || inputs.parent === null ? {} : { [below]: { layout, digest: inputs.parent } }),
    },
    folders: {},
    buildArgs: openProxies(world.env),
    secrets: [...inputs.secrets, ...list],
    epoch: plan.epoch,
    labels: labelsOf(stage),
    compression: plan.compression,
    noCache: inputs.noCache,
    output: { to: "oci-layout", folder: layout, name: `${stage.stage}-${stage.key}` },
  };
};

/** The entries of the context that a stage reads: nothing else is sent for it. */
const entriesOf = (stage: PlannedStage, snapshot: ContextSnapshot): Entry[] => {
  const all = stage.ingredients.steps.flatMap(({ step }): readonly Entry[] => {
    if (step.do !== "file") return "entries" in step ? step.entries : [];
    const { source } = step;
    return "from" in source ? snapshot.entries.filter(({ path }) => path === source.from) : [];
  });
  return [...new Map(all.map((entry) => [entry.path, entry])).values()].sort((a, b) => (a.path < b.path ? -1 : 1));
};

/** The bootstrapped base of a plan: from the state folder, or made now. */
export const ensureBase = async (
  { project, world }: Pick<EngineSite, "project" | "world">,
  plan: Pick<Plan, "image" | "platform" | "epoch">,
  base: Extract<Base, { kind: "bootstrap" }>,
): Promise<string> => {
  const key = baseKeyOf(base, plan.platform, plan.epoch);
  const recorded = findStage(project.state, key);
  // The engine reads its layers: a damaged one is removed, and the base bootstrapped again.
  if (recorded !== null)
    await dropDamaged(project.state.layout, readManifest(project.state.layout, recorded.digest).layers, world.signal);
  const whole = findStage(project.state, key);
  if (whole !== null) return whole.digest;
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
    ref: null,
    parent: null,
    trust: project.state.trust,
    elsewhere: null,
    engine: "mmdebstrap",
    at: started,
    seconds: (world.now() - started) / 1000,
  });
  return digest;
};
