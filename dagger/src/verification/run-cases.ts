/**
 * # dagger/src/verification
 *
 * Runs the cases of a proof on a scratch copy of a project. The project itself is never written to.
 */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { apply, NoSuchEdit } from "./apply-edits.js";
import { FactoryError } from "../pipeline/common/error.js";
import type { ContextSnapshot, ContextInputs } from "../pipeline/context/snapshot.js";
import type { Lock } from "../pipeline/config/lock.js";
import type { Plan } from "../pipeline/plan/types.js";
import { compileIgnore } from "../pipeline/context/dockerignore.js";
import type { Spec } from "../pipeline/config/spec.js";
import { type After, type Before, judge } from "../pipeline/verify/judge.js";
import { type Case, type Change, changeOf, type Subject } from "../pipeline/verify/case.js";
import { cases } from "../pipeline/verify/cases.js";
import type { Failure } from "../pipeline/verify/fault.js";
import { absentOutcome, type CaseResult, failedOutcome, outcomeOf, untestedOutcome } from "../pipeline/verify/case-result.js";

/** A project that may be changed, and how to look at it after a change: all that a proof needs of its surroundings. */
export type Proving = {
  /** The folder of the scratch copy's images.yaml. */
  root: string;
  /** A path of the same file system where nothing is. */
  aside: string;
  subject: Subject;
  /** The copy as it is. */
  before: Before;
  /** The plan of what was copied. */
  atHome: Plan;
  /** Plans the copy as a change left it, and builds as much of it as is to be built. @throws FactoryError */
  look(one: Case, change: Change, before: Before): Promise<CaseLook>;
};

/** What became of a change. */
type CaseLook = {
  after: After;
  /** Why its verdict is none, where a build was promised and could not be made. */
  promised: string | null;
  /** What to say beside the verdict: why nothing was built, or not everything. */
  note: string | null;
};

/** The clock of a proof, and who hears of each case as it ends. */
type Watch = { now: () => number; told: (result: CaseResult) => void };

/** What changes are made from, of a copy in a folder. */
export const subjectOf = (
  root: string,
  { spec, lock }: { spec: Spec; lock: Lock },
  { name, wanted, snapshot }: { name: string; wanted: ContextInputs; snapshot: ContextSnapshot },
  plan: Plan,
): Subject => ({
  image: name,
  spec,
  specText: readFileSync(join(root, "images.yaml"), "utf8"),
  lock,
  snapshot,
  ignore: compileIgnore(wanted.ignore),
  plan,
  // Seven digits: their number is small enough for every version scheme.
  nonce: randomBytes(4).toString("hex").slice(0, 7),
  isRoot: process.getuid?.() === 0,
});

/**
 * Makes each kind of change, one at a time and undone after each, and holds what it did against what it may do.
 * @param only cases by id; all when null
 * @throws FactoryError INTERRUPTED, and whatever is no error of ours
 */
export const runCases = async (proving: Proving, only: readonly string[] | null, { now, told }: Watch): Promise<CaseResult[]> => {
  const results: CaseResult[] = [];
  for (const one of cases.filter(({ id }) => only === null || only.includes(id))) {
    const at = now();
    const outcome = await proved(proving, one);
    const result = { id: one.id, title: one.title, ...outcome, seconds: (now() - at) / 1000 };
    told(result);
    results.push(result);
  }
  return results;
};

const proved = async (proving: Proving, one: Case) => {
  const change = changeOf(one, proving.subject);
  if ("absent" in change) return absentOutcome(change.absent);
  const before = change.by.by === "copy" ? { plan: proving.atHome, stages: null } : proving.before;
  let undo: () => void = () => undefined;
  try {
    undo = apply(proving.root, change.edits, proving.aside);
    const { after, promised, note } = await proving.look(one, change, before);
    const judged = judge(change, before, after);
    const notTested = judged.notTested ?? (judged.faults.length === 0 ? promised : null);
    return outcomeOf(change, before, after, { ...judged, notTested }, note);
  } catch (error) {
    if (error instanceof NoSuchEdit) return untestedOutcome(change.says, error.message);
    return failedOutcome(change.says, { fault: "proof", ...failureOf(error) });
  } finally {
    undo();
  }
};

/** @throws whatever is no error of ours, and an interruption */
export const failureOf = (error: unknown): Failure => {
  if (!(error instanceof FactoryError) || error.code === "INTERRUPTED") throw error;
  return { code: error.code, what: error.explanation.what, why: error.explanation.why };
};
