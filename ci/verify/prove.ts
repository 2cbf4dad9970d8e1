import { existsSync } from "node:fs";
import { join } from "node:path";
import { FactoryError } from "../../dagger/src/pipeline/error.js";
import type { Plan } from "../../dagger/src/pipeline/plan.js";
import type { StageName } from "../../dagger/src/pipeline/stage.js";
import { type After, type Evidence, judge, type Remade } from "../../dagger/src/pipeline/verify.js";
import { type Case, type Change, changeOf } from "../../dagger/src/pipeline/verify-case.js";
import { cases } from "../../dagger/src/pipeline/verify-cases.js";
import type { Failure } from "../../dagger/src/pipeline/verify-fault.js";
import {
  absentOutcome,
  type CacheReport,
  type CaseResult,
  failedOutcome,
  outcomeOf,
} from "../../dagger/src/pipeline/verify-report.js";
import type { World } from "../command.js";
import { findStage, keepLastKeys } from "../io/records.js";
import type { OpenImage, Project } from "../project.js";
import { type Bench, openBench, planned, siteOf, type Wish } from "./bench.js";
import { buildOnce, makeAgain, type Seen, type Site } from "./build.js";
import { apply } from "./edit.js";
import { absentFrom, pathsBetween } from "./evidence.js";
import { openScratch } from "./scratch.js";

/** The one case that a fast proof builds. */
const fastCase = "code";

/**
 * Proves that the cache of an image holds: on a scratch copy it makes each kind of change, one at a time and undone after each, and
 * holds what it did against what it may do. Nothing of the user's files and state is changed.
 * @throws FactoryError as openImage, planOf, and as makeImage where the image cannot be built at all
 */
export const proveCache = async (world: World, wish: Wish): Promise<CacheReport> => {
  const started = world.now();
  const scratch = await openScratch(world, wish.image);
  try {
    const bench = await openBench(scratch, wish);
    const results: CaseResult[] = [];
    for (const one of cases.filter(({ id }) => wish.only === null || wish.only.includes(id))) {
      if (world.signal.aborted) throw interrupted();
      const at = world.now();
      const outcome = await proved(bench, one);
      const result = { id: one.id, title: one.title, ...outcome, seconds: (world.now() - at) / 1000 };
      wish.told(result);
      results.push(result);
    }
    const { image, platform } = bench.before.plan;
    return { format: 1, image, platform, cases: results, seconds: (world.now() - started) / 1000 };
  } finally {
    // An engine's files are many: on a slow disk a person would wonder what takes so long.
    if (existsSync(join(scratch.folder, "state", "engine"))) world.stderr("removing the scratch copy\n");
    scratch.close();
  }
};

const interrupted = () =>
  new FactoryError("INTERRUPTED", {
    what: "interrupted",
    why: "the proof was stopped on request",
    fix: "run it again; nothing of yours was changed",
  });

const proved = async (bench: Bench, one: Case) => {
  const { scratch, subject } = bench;
  const change = changeOf(one, subject);
  if ("absent" in change) return absentOutcome(change.absent);
  const before = change.by.by === "copy" ? { plan: bench.atHome, stages: null } : bench.before;
  const undo = apply(scratch.root, change.edits, join(scratch.folder, "aside"));
  try {
    const opened = await scratch.reopen();
    const plan = bench.wish.planner(opened.project, opened.open, bench.platform, change.buildArgs);
    const why = plansOnly(bench, one, change, plan);
    const after = why === null ? await built(bench, change, opened, plan) : { ...planned(before.plan, plan), failure: null };
    const judged = judge(change, before, after);
    // A build that was promised and could not be made is no proof, whatever its plan says.
    const notTested = judged.notTested ?? (why !== null && why === bench.plansOnly && judged.faults.length === 0 ? why : null);
    return outcomeOf(change, before, after, { ...judged, notTested }, why);
  } catch (error) {
    return failedOutcome(change.says, { fault: "failed", ...failureOf(error) });
  } finally {
    undo();
  }
};

/** Why a change is proved on plans alone; null where it is built. */
const plansOnly = ({ wish, before, plansOnly: nothing }: Bench, { id }: Case, { by }: Change, plan: Plan): string | null => {
  if (by.by === "plan") return by.why;
  if (by.by === "copy") return "keys are all that it could move";
  if (wish.depth === "fast" && id !== fastCase) return "--fast";
  if (nothing !== null) return nothing;
  const executed = executedAnew(before.plan, plan);
  return executed.includes("base-tools") && wish.depth !== "deep" ? "it executes base-tools: --deep builds it" : null;
};

const executedAnew = (was: Plan, now: Plan): StageName[] =>
  now.stages.filter(({ kind, key }, at) => kind === "executed" && key !== was.stages[at]!.key).map(({ stage }) => stage);

/** Builds what was changed, and makes again what must not have changed. What cannot be built is judged on its plan. */
const built = async (bench: Bench, change: Change, opened: { project: Project; open: OpenImage }, plan: Plan): Promise<After> => {
  const { scratch, wish, before } = bench;
  const site = siteOf(scratch, wish, opened, false);
  const { state } = opened.project;
  try {
    if (change.by.by === "again") {
      const which = plan.stages.filter(
        (stage, at) => canBeMadeAgain(site, plan, at) && (stage.stage !== "base-tools" || wish.depth === "deep"),
      );
      const seen = await makeAgain(site, plan, new Set(which.map(({ stage }) => stage)));
      const evidence = await evidenceOf(
        bench,
        site,
        change,
        { ...seen, stages: before.stages! },
        seen,
        which.map(({ stage }) => stage),
      );
      return { ...planned(before.plan, plan), evidence, failure: null };
    }
    const seen = await buildOnce(site, plan, wish.verbose);
    const stayed = plan.stages.filter(
      ({ key, kind }, at) => kind === "assembled" && key === before.plan.stages[at]!.key && canBeMadeAgain(site, plan, at),
    );
    const again = stayed.length === 0 ? null : await makeAgain(site, plan, new Set(stayed.map(({ stage }) => stage)));
    const evidence = await evidenceOf(
      bench,
      site,
      change,
      seen,
      again,
      stayed.map(({ stage }) => stage),
    );
    return { plan, decisions: seen.decisions, evidence, failure: null };
  } catch (error) {
    return { ...planned(before.plan, plan), failure: failureOf(error) };
  } finally {
    keepLastKeys(state, plan.image, plan.platform, Object.fromEntries(before.plan.stages.map(({ stage, key }) => [stage, key])));
  }
};

/** A stage is made on the one below it, which must be here by itself. */
const canBeMadeAgain = ({ project }: Site, { stages }: Plan, at: number): boolean =>
  at === 0 || findStage(project.state, stages[at - 1]!.key) !== null;

const evidenceOf = async (
  { before, scratch: { world } }: Bench,
  { project, open }: Site,
  change: Change,
  seen: Seen,
  again: Seen | null,
  which: readonly StageName[],
): Promise<Evidence> => {
  const { layout } = project.state;
  const remade: Remade[] = [];
  for (const stage of which) {
    const [was, now] = [seen.stages.get(stage) ?? before.stages?.get(stage), again?.stages.get(stage)];
    if (was === undefined || now === undefined) continue;
    remade.push({
      stage,
      layers: now.layers,
      settings: now.settings,
      paths: await pathsBetween(layout, was.layers, now.layers, world.signal),
    });
  }
  const carriers = change.must.flatMap((stage) => seen.stages.get(stage) ?? []);
  const absent = await absentFrom(layout, carriers, open, change.arrives, world.signal);
  return { stages: seen.stages, steps: seen.steps, engineStarted: seen.engineStarted, remade, absent };
};

/** @throws whatever is no error of ours, and an interruption */
const failureOf = (error: unknown): Failure => {
  if (!(error instanceof FactoryError) || error.code === "INTERRUPTED") throw error;
  return { code: error.code, what: error.explanation.what, why: error.explanation.why };
};
