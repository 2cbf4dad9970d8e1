import { type Decision, decide, type Knowledge } from "../decide/decide.js";
import { differences, sameButParent } from "../decide/ingredient-diff.js";
import type { BuildEvent } from "../common/build-event.js";
import type { LayerDescriptor } from "../oci/manifest.js";
import type { Plan, PlannedStage } from "../plan/types.js";
import type { StageName } from "../common/stage.js";
import { type Change, equal } from "./case.js";
import { type Fault, type Failure, failedFault, environmentErrors } from "./fault.js";

/** A layer as an image's manifest and config name it. `createdBy` is its entry of the history. */
export type Layer = LayerDescriptor & { diffId: string; createdBy: string };

/** A stage as it stands in the layout. `settings` is its config without what speaks of layers, as text. */
export type BuiltStage = { digest: string; layers: readonly Layer[]; settings: string };

/** Steps of one stage as the engine itself reported them. */
export type EngineSteps = { ran: number; cached: number };

/** A stage that was made again under the key that it has. `paths` are the first that differ, where something differs. */
export type Remade = { stage: StageName; layers: readonly Layer[]; settings: string; paths: readonly string[] };

/** What was seen of a build: by the engine and in the layout, never what we noted about it. */
export type Evidence = {
  stages: ReadonlyMap<StageName, BuiltStage>;
  steps: ReadonlyMap<StageName, EngineSteps>;
  /** Whether the files of an engine of our own were touched. */
  engineStarted: boolean;
  /** Stages whose key stayed, made again. */
  remade: readonly Remade[];
  /** Changed files that should have arrived in a layer, and did not with the content and mode that they have now. */
  absent: readonly string[];
};

/** How things stand before any change. `stages` is null where nothing could be built. */
export type Before = { plan: Plan; stages: ReadonlyMap<StageName, BuiltStage> | null };

/** How things stand after it. Without evidence the plan is all there is; `failure` is why a build gave none. */
export type After = { plan: Plan; decisions: readonly Decision[]; evidence: Evidence | null; failure: Failure | null };

/** What became of a stage: as the plan says, or as it was seen. */
export type Cell = "execute" | "assemble" | "reuse" | "executed" | "assembled" | "reused";
type Cells = Readonly<Record<StageName, Cell>>;

export type Judgement = { cells: Cells; faults: readonly Fault[]; notTested: string | null };

const nothing: EngineSteps = { ran: 0, cached: 0 };

/** What the planner says after a change, to someone who has the stages of before. */
export const planned = (was: Plan, plan: Plan): Pick<After, "plan" | "decisions" | "evidence"> => {
  const knowledge: Knowledge = {
    known: new Map(was.stages.map(({ key }) => [key, { at: "state" }])),
    previous: new Map(was.stages.map(({ stage, ingredients }) => [stage, ingredients])),
    damaged: new Map(),
  };
  return { plan, decisions: decide(plan, knowledge, false), evidence: null };
};

/**
 * Holds what a change did against what it may do. First the keys: of the stages whose own ingredients the change may move
 * each that must move has a new key, and no other stage has one unless it is built on one that has. Then, where something was
 * built, the bytes and the engine's own reports; and last what the planner said, against those.
 */
export const judge = (change: Change, before: Before, after: After): Judgement => {
  const stages = after.plan.stages.map((_, at) => comparisonOf(change, before.plan, after.plan, at));
  const seen = after.evidence;
  const faults = stages.flatMap((one) => keyFaults(change, one));
  if (seen !== null) {
    for (const one of stages) faults.push(...byteFaults(change, one, before, seen), ...engineFaults(one, after, seen));
    faults.push(...remadeFaults(before, seen));
    faults.push(...seen.absent.map((path): Fault => ({ fault: "not-arrived", path })));
    if (seen.engineStarted && !stages.some(runs) && !seen.remade.some(({ stage }) => seen.steps.has(stage)))
      faults.push({ fault: "engine-started" });
  }
  const { failure } = after;
  const excused = failure !== null && environmentErrors.has(failure.code) && (change.by.by === "again" || stages.some(runs));
  if (failure !== null && !excused) faults.push(failedFault(failure));
  return {
    cells: cellsOf(change, before, after),
    faults,
    notTested: excused && faults.length === 0 ? `${failure.what}: ${failure.why.split("\n")[0]}` : null,
  };
};

type Compared = {
  was: PlannedStage;
  now: PlannedStage;
  must: boolean;
  may: boolean;
  /** Whether its key is another one. */
  moved: boolean;
  /** Whether the key below it is another one. */
  onMoved: boolean;
  /** Whether nothing but the stage below differs. */
  ownStayed: boolean;
  movedBelow: readonly PlannedStage[];
};

const comparisonOf = (change: Change, before: Plan, after: Plan, at: number): Compared => {
  const [was, now] = [before.stages[at]!, after.stages[at]!];
  const parentKey = ({ ingredients: { parent } }: PlannedStage) => ("key" in parent ? parent.key : null);
  return {
    was,
    now,
    must: change.must.includes(now.stage),
    may: change.may.includes(now.stage),
    moved: was.key !== now.key,
    onMoved: parentKey(was) !== parentKey(now),
    ownStayed: sameButParent(was.ingredients, now.ingredients) && equal(baseOf(was), baseOf(now)),
    movedBelow: after.stages.slice(0, at).filter(({ key }, index) => before.stages[index]!.key !== key),
  };
};

/** What the first stage is built on is an ingredient of its own. */
const baseOf = ({ ingredients: { parent } }: PlannedStage): unknown => ("base" in parent ? parent.base : null);

/** Whether an engine must run it: it is an executed stage, and nothing is known under its new key. */
const runs = ({ now, moved }: Compared): boolean => moved && now.kind === "executed";

const keyFaults = (change: Change, { was, now, must, may, moved, onMoved, ownStayed }: Compared): Fault[] => {
  const { stage } = now;
  if (!moved && must) return [{ fault: "key-stayed", stage, key: now.key, because: change.says }];
  if (!moved && onMoved) return [{ fault: "key-stayed", stage, key: now.key, because: "the stage below it has another key" }];
  if (!moved || must || may || (onMoved && ownStayed)) return [];
  const culprits = differences(was.ingredients, now.ingredients);
  return [
    {
      fault: "key-moved",
      stage,
      was: was.key,
      now: now.key,
      culprits: onMoved || culprits.length > 0 ? culprits : [{ why: "nothing-obvious" }],
    },
  ];
};

/** Whether what changed below may move its bytes: it runs there, or adds an account to the account files that were made there. */
const readsBelow = ({ now, movedBelow, onMoved }: Compared): boolean =>
  onMoved &&
  (now.kind === "executed" || (now.ingredients.steps.some(({ step }) => step.do === "user") && movedBelow.some(makesAccounts)));
const makesAccounts = ({ kind, ingredients }: PlannedStage): boolean =>
  kind === "executed" || ingredients.steps.some(({ step }) => step.do === "user");

const byteFaults = (change: Change, one: Compared, { stages }: Before, seen: Evidence): Fault[] => {
  const { stage } = one.now;
  const was = stages?.get(stage);
  const now = seen.stages.get(stage);
  if (was === undefined || now === undefined) return [];
  const faults: Fault[] = [];
  const same = layersOf(was) === layersOf(now);
  if (one.moved && change.bytes.includes(stage) && same && was.settings === now.settings)
    faults.push({ fault: "stale", stage, because: change.says });
  if (!one.moved && was.digest !== now.digest)
    faults.push({ fault: "drifted", stage, layer: other(was.layers, now.layers), was: was.digest, now: now.digest });
  else if (one.moved && one.ownStayed && !same && !readsBelow(one))
    faults.push({ fault: "drifted", stage, layer: other(was.layers, now.layers), was: layersOf(was), now: layersOf(now) });
  return faults;
};

const engineFaults = (one: Compared, { decisions }: After, seen: Evidence): Fault[] => {
  const { stage } = one.now;
  const { ran, cached } = seen.steps.get(stage) ?? nothing;
  const remade = seen.remade.some((again) => again.stage === stage);
  const said = decisions.find((decision) => decision.stage.stage === stage)?.action;
  if (ran + cached > 0 && !runs(one) && !remade) return [{ fault: "executed", stage, steps: ran + cached }];
  if (ran + cached === 0 && (runs(one) || (remade && one.now.kind === "executed"))) return [{ fault: "not-executed", stage }];
  return remade || (said === "execute") === ran + cached > 0 ? [] : [{ fault: "contradicted", stage, said: said ?? "nothing" }];
};

const remadeFaults = ({ stages }: Before, seen: Evidence): Fault[] =>
  seen.remade.flatMap(({ stage, layers, settings, paths }): Fault[] => {
    const was = seen.stages.get(stage) ?? stages?.get(stage);
    if (was === undefined || (layersOf(was) === layersOf({ layers }) && was.settings === settings)) return [];
    return [{ fault: "not-reproducible", stage, layer: other(was.layers, layers), paths }];
  });

const layersOf = ({ layers }: Pick<BuiltStage, "layers">): string =>
  layers.map(({ digest, diffId }) => `${digest} ${diffId}`).join("\n");

/** What made the first layer that is another one. */
const other = (was: readonly Layer[], now: readonly Layer[]): string | null =>
  now.find(({ digest, diffId }, at) => was[at]?.digest !== digest || was[at]?.diffId !== diffId)?.createdBy ?? null;

const cellsOf = ({ by }: Change, { stages }: Before, { decisions, evidence }: After): Cells => {
  const cell = ({ stage: { stage }, action }: Decision): Cell => {
    if (evidence === null) return action;
    const { ran, cached } = evidence.steps.get(stage) ?? nothing;
    if (ran + cached > 0) return "executed";
    if (by.by === "again" && evidence.remade.some((again) => again.stage === stage)) return "assembled";
    const [was, now] = [stages?.get(stage), evidence.stages.get(stage)];
    const reused = was === undefined || now === undefined || (layersOf(was) === layersOf(now) && was.settings === now.settings);
    return reused ? "reused" : "assembled";
  };
  return Object.fromEntries(decisions.map((decision) => [decision.stage.stage, cell(decision)])) as Cells;
};

/** What an engine does for itself: it is no step of a stage. */
const chores = /^(?:\[(?:internal|context|auth)\b|exporting )/;

/**
 * Counts an engine's own steps by stage, from the events of a run. A step that starts more than once counts once; it is cached when
 * the engine said so at its last end. What the assembler reports of itself is left out.
 * @param isAssembler tells the assembler's steps from the engine's
 */
export const countSteps = (events: Iterable<BuildEvent>, isAssembler: (step: string) => boolean): Map<StageName, EngineSteps> => {
  const steps = new Map<string, { stage: StageName; cached: boolean }>();
  for (const event of events) {
    if (!("step" in event) || isAssembler(event.step)) continue;
    if (event.type === "step-started" && event.stage !== undefined && !chores.test(event.name))
      steps.set(event.step, { stage: event.stage, cached: steps.get(event.step)?.cached ?? false });
    else if (event.type === "step-ended") {
      const known = steps.get(event.step);
      if (known !== undefined) known.cached = event.cached;
    }
  }
  const counts = new Map<StageName, EngineSteps>();
  for (const { stage, cached } of steps.values()) {
    const { ran, cached: reused } = counts.get(stage) ?? nothing;
    counts.set(stage, cached ? { ran, cached: reused + 1 } : { ran: ran + 1, cached: reused });
  }
  return counts;
};
