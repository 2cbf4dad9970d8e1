/**
 * # ci/verify
 *
 * The proof that the cache holds, on a scratch copy with real builds. A fault of the proof itself has its own code and never counts as a
 * broken cache.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { interrupted } from "../../dagger/src/pipeline/common/error.js";
import type { Plan } from "../../dagger/src/pipeline/plan/types.js";
import type { StageName } from "../../dagger/src/pipeline/common/stage.js";
import { type After, type Before, type Evidence, planned, type Remade } from "../../dagger/src/pipeline/verify/judge.js";
import { type Case, type Change, onPlansAlone } from "../../dagger/src/pipeline/verify/case.js";
import type { CacheReport } from "../../dagger/src/pipeline/verify/case-result.js";
import { failureOf, runCases, type Proving } from "../../dagger/src/verification/run-cases.js";
import type { World } from "../host/world.js";
import { findStage, keepLastKeys } from "../state/records.js";
import type { OpenImage, Project } from "../project/project.js";
import { type Bench, openBench, siteOf, type Wish } from "./setup.js";
import { buildOnce, makeAgain, type Seen, type Site } from "./builds.js";
import { absentFrom, pathsBetween } from "./evidence.js";
import { openScratch } from "./scratch.js";

/** The one case that a fast proof builds. */
const fastCase = "code";

/**
 * Proves that the cache of an image holds: on a scratch copy it makes each kind of change, one at a time and undone after each, and
 * holds what it did against what it may do. Nothing of the user's files and state is changed.
 * @param use gets the report before the scratch copy is removed, which can take as long as some cases
 * @throws FactoryError as openImage, planOf, and as buildImage where the image cannot be built at all
 */
export const proveCache = async <T>(world: World, wish: Wish, use: (report: CacheReport) => T | Promise<T>): Promise<T> => {
  const started = world.now();
  const scratch = await openScratch(world, wish.image);
  try {
    const bench = await openBench(scratch, wish);
    const { subject, before, atHome } = bench;
    const proving = {
      root: scratch.root,
      aside: join(scratch.folder, "aside"),
      subject,
      before,
      atHome,
      look: (one: Case, change: Change, was: Before) => look(bench, one, change, was),
    };
    const cases = await runCases(proving, wish.only, { now: world.now, told: wish.told });
    const { image, platform } = before.plan;
    return await use({ format: 1, image, platform, cases, seconds: (world.now() - started) / 1000 });
  } finally {
    // An engine's files are many: on a slow disk a person would wonder what takes so long after the result.
    if (existsSync(join(scratch.folder, "state", "engine"))) world.stderr("removing the scratch copy\n");
    scratch.close();
  }
};

const look = async (bench: Bench, one: Case, change: Change, before: Before): ReturnType<Proving["look"]> => {
  const { scratch, wish } = bench;
  if (scratch.world.signal.aborted) throw interrupted("the proof was stopped on request; nothing of yours was changed");
  const opened = await scratch.reopen();
  const plan = wish.planner(opened.project, opened.open, bench.platform, change.buildArgs);
  const why = plansOnly(bench, one, change, plan);
  const executed = why === null ? executedBy(bench, change, plan) : [];
  if (executed.length > 0) scratch.world.stderr(`executing ${executed.join(", ")}: ${one.title}\n`);
  const after = why === null ? await built(bench, change, opened, plan) : { ...planned(before.plan, plan), failure: null };
  const note = change.by.by === "again" && why === null && wish.depth !== "deep" ? "base-tools is made again with --deep" : why;
  // A build that was promised and could not be made is no proof, whatever its plan says.
  return { after, promised: why !== null && why === bench.plansOnly ? why : null, note };
};

/** Why a change is proved on plans alone; null where it is built. */
const plansOnly = ({ wish, before, plansOnly: nothing }: Bench, { id }: Case, change: Change, plan: Plan): string | null => {
  const never = onPlansAlone(change);
  if (never !== null) return never;
  if (wish.depth === "fast" && id !== fastCase) return "--fast";
  if (nothing !== null) return nothing;
  const executed = movedOf(before.plan, plan);
  return executed.includes("base-tools") && wish.depth !== "deep" ? "it executes base-tools: --deep builds it" : null;
};

/** The executed stages whose keys are new. */
const movedOf = (was: Plan, now: Plan): StageName[] =>
  now.stages.filter(({ kind, key }, at) => kind === "executed" && key !== was.stages[at]!.key).map(({ stage }) => stage);

/** The stages that building a change takes an engine for. */
const executedBy = (bench: Bench, { by }: Change, plan: Plan): StageName[] => {
  if (by.by !== "again") return movedOf(bench.before.plan, plan);
  const again = madeAgain(bench, plan);
  return plan.stages.filter(({ kind, stage }) => kind === "executed" && again.includes(stage)).map(({ stage }) => stage);
};

/** What is made again to see whether it comes out the same: each stage whose parent is here by itself; base-tools takes long. */
const madeAgain = ({ wish, state }: Bench, { stages }: Plan): StageName[] =>
  stages
    .filter((_, at) => (at === 0 ? wish.depth === "deep" : findStage(state, stages[at - 1]!.key) !== null))
    .map(({ stage }) => stage);

/** Builds what was changed, and makes again what must not have changed. What cannot be built is judged on its plan. */
const built = async (bench: Bench, change: Change, opened: { project: Project; open: OpenImage }, plan: Plan): Promise<After> => {
  const { scratch, wish, before } = bench;
  const site = siteOf(scratch, wish, opened, false);
  try {
    if (change.by.by === "again") {
      const again = await makeAgain(site, plan, new Set(madeAgain(bench, plan)));
      const evidence = await evidenceOf(bench, site, change, { ...again, stages: before.stages! }, again);
      return { ...planned(before.plan, plan), evidence, failure: null };
    }
    const seen = await buildOnce(site, plan, wish.verbose);
    const stayed = plan.stages.filter(({ key, kind }, at) => kind === "assembled" && key === before.plan.stages[at]!.key);
    const which = stayed.map(({ stage }) => stage).filter((stage) => madeAgain(bench, plan).includes(stage));
    const again = which.length === 0 ? null : await makeAgain(site, plan, new Set(which));
    return { plan, decisions: seen.decisions, evidence: await evidenceOf(bench, site, change, seen, again), failure: null };
  } catch (error) {
    return { ...planned(before.plan, plan), failure: failureOf(error) };
  } finally {
    const keys = Object.fromEntries(before.plan.stages.map(({ stage, key }) => [stage, key]));
    keepLastKeys(bench.state, plan.image, plan.platform, keys);
  }
};

const evidenceOf = async (
  { before, scratch: { world } }: Bench,
  { project, open }: Site,
  change: Change,
  seen: Seen,
  again: Seen | null,
): Promise<Evidence> => {
  const { layout } = project.state;
  const remade: Remade[] = [];
  for (const stage of again?.made ?? []) {
    const [was, now] = [seen.stages.get(stage) ?? before.stages?.get(stage), again?.stages.get(stage)];
    if (was === undefined || now === undefined) continue;
    const paths = await pathsBetween(layout, was.layers, now.layers, world.signal);
    remade.push({ stage, layers: now.layers, settings: now.settings, paths });
  }
  const carriers = change.must.flatMap((stage) => seen.stages.get(stage) ?? []);
  const absent = await absentFrom(layout, carriers, open, change.arrives, world.signal);
  return { stages: seen.stages, steps: seen.steps, engineStarted: seen.engineStarted, remade, absent };
};
