import type { Fix } from "../common/fix.js";
import { FactoryError } from "../common/error.js";
import type { Platform, StageName } from "../common/stage.js";
import { plural } from "../common/format.js";
import type { After, Before, Cell, EngineSteps, Evidence, Judgement } from "./judge.js";
import type { Change } from "./case.js";
import { type Fault, faultText } from "./fault.js";

/** `error`: the proof itself failed, and says nothing about the cache. */
export type CaseVerdict = "pass" | "fail" | "error" | "not-applicable" | "not-tested";

/** How a case was proved: by building what it changed, by making stages again, or on plans. */
type Proof = "build" | "again" | "plan";

type StageResult = {
  stage: StageName;
  did: Cell;
  key: string;
  moved: boolean;
  /** The engine's own steps for it; null where nothing was built. */
  steps: EngineSteps | null;
  /** Digests of its own layers; null where nothing was built. */
  layers: readonly string[] | null;
};

export type CaseResult = {
  id: string;
  title: string;
  verdict: CaseVerdict;
  /** Null where the case does not apply or could not be planned. */
  proof: Proof | null;
  /** What was changed; empty where the case does not apply. */
  says: string;
  stages: readonly StageResult[];
  evidence: string;
  /** Why it does not apply, was not tested, or was not wholly built; null where there is nothing to say. */
  why: string | null;
  faults: readonly Fault[];
  seconds: number;
};

/** What was proved of one image's cache. Versioned: other programs read it. */
export type CacheReport = {
  format: 1;
  image: string;
  platform: Platform;
  cases: readonly CaseResult[];
  seconds: number;
};

type CaseOutcome = Pick<CaseResult, "verdict" | "proof" | "says" | "stages" | "evidence" | "why" | "faults">;

const unseen = { proof: null, stages: [], evidence: "", faults: [] } as const;

/** What to say of a case that this project gives no occasion for. */
export const absentOutcome = (why: string): CaseOutcome => ({ ...unseen, verdict: "not-applicable", says: "", why });

/** What to say of a change that cannot be made on this machine. */
export const untestedOutcome = (says: string, why: string): CaseOutcome => ({ ...unseen, verdict: "not-tested", says, why });

/** What to say of a change that could not even be planned. */
export const failedOutcome = (says: string, fault: Fault): CaseOutcome => ({
  ...unseen,
  verdict: verdictOf([fault]),
  says,
  why: null,
  faults: [fault],
});

const verdictOf = (faults: readonly Fault[]): CaseVerdict => (faults.every(({ fault }) => fault === "proof") ? "error" : "fail");

/** A judged case. `why` is why there was no build, where there was none. */
export const outcomeOf = (
  change: Change,
  before: Before,
  after: After,
  judgement: Judgement,
  why: string | null,
): CaseOutcome => {
  const { evidence } = after;
  const { cells, faults, notTested } = judgement;
  const proof: Proof = evidence === null ? "plan" : change.by.by === "again" ? "again" : "build";
  return {
    verdict: faults.length > 0 ? verdictOf(faults) : notTested === null ? "pass" : "not-tested",
    proof,
    says: change.says,
    stages: after.plan.stages.map(({ stage, key }, at) => ({
      stage,
      did: cells[stage],
      key,
      moved: before.plan.stages[at]!.key !== key,
      steps: evidence === null ? null : (evidence.steps.get(stage) ?? { ran: 0, cached: 0 }),
      layers: evidence?.stages.get(stage)?.layers.map(({ digest }) => digest) ?? null,
    })),
    evidence: evidenceText(change, before, after, faults),
    why: notTested ?? why,
    faults,
  };
};

/** What was seen, in a few words. */
const evidenceText = ({ by }: Change, before: Before, { plan, evidence }: After, faults: readonly Fault[]): string => {
  if (evidence === null) {
    const count = plan.stages.filter(({ key }, at) => before.plan.stages[at]!.key !== key).length;
    return count === 0 ? "no key moved" : `${count} of ${plan.stages.length} keys moved`;
  }
  const all = [...evidence.steps.values()];
  const steps = all.reduce((sum, { ran, cached }) => sum + ran + cached, 0);
  const cached = all.reduce((sum, one) => sum + one.cached, 0);
  const remade = evidence.remade.map(({ stage }) => stage);
  const same = faults.some(({ fault }) => fault === "not-reproducible") ? "other bytes" : "same bytes";
  return [
    steps === 0 ? "no engine" : `engine: ${steps} ${steps === 1 ? "step" : "steps"}${cached === 0 ? "" : `, ${cached} cached`}`,
    ...(by.by === "again" ? [] : [bytesText(before, plan.stages.at(-1)!.stage, evidence)]),
    ...(remade.length === 0 ? [] : [`${remade.length === 1 ? remade[0] : `${remade.length} stages`} made again: ${same}`]),
  ].join("; ");
};

const bytesText = (before: Before, top: StageName, { stages }: Evidence): string => {
  if (before.stages?.get(top)?.digest === stages.get(top)?.digest) return "same digest";
  const layers = (held: Before["stages"]) => [...(held?.values() ?? [])].flatMap((one) => one.layers.map(({ digest }) => digest));
  const [was, now] = [new Set(layers(before.stages)), layers(stages)];
  return `${now.filter((digest) => !was.has(digest)).length} of ${now.length} layers new`;
};

export const countOf = ({ cases }: Pick<CacheReport, "cases">, verdict: CaseVerdict): number =>
  cases.filter((one) => one.verdict === verdict).length;

/** Every fault of a report, each with the case that found it. */
export const faultLines = ({ cases }: Pick<CacheReport, "cases">): string[] =>
  cases.flatMap(({ id, faults }) => faults.map((fault) => `${id}: ${faultText(fault)}`));

/**
 * @param fix what to do about a fault
 * @throws FactoryError CACHE_BROKEN with every fault of a report, VERIFY_FAILED where all of them are the proof's own
 */
export const refuseFaults = (report: CacheReport, fix: Fix): void => {
  const faults = faultLines(report);
  if (faults.length === 0) return;
  if (countOf(report, "fail") === 0) {
    throw new FactoryError("VERIFY_FAILED", {
      what: `${plural(countOf(report, "error"), "case")} of the cache of ${report.image} could not be proved`,
      why: faults.join("\n"),
      fix: [
        "this says nothing about the cache: fix what is named there, or report it; the other cases alone: ",
        { run: "verify:cache", flags: "--case IDS" },
      ],
    });
  }
  const what = `the cache of ${report.image} does not hold: ${plural(faults.length, "fault")}`;
  throw new FactoryError("CACHE_BROKEN", { what, why: faults.join("\n"), fix });
};
