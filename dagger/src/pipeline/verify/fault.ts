import type { ErrorCode } from "../common/error.js";
import { sentence as reasonSentence } from "../explain/reasons-text.js";
import type { Reason } from "../decide/reason.js";
import type { StageName } from "../common/stage.js";

/** A build that failed, in the words of its error. */
export type Failure = { code: ErrorCode; what: string; why: string };

/** What can be wrong with a cache: each names the stage, and what is to blame as far as it shows. */
export type Fault =
  /** An ingredient that the key does not hold: a stale result would be reused. */
  | { fault: "key-stayed"; stage: StageName; key: string; because: string }
  /** Something in the key that decides nothing: work would be done for nothing. */
  | { fault: "key-moved"; stage: StageName; was: string; now: string; culprits: readonly Reason[] }
  /** The key says that it is the same, or that only the stage below is another, and the bytes are others. */
  | { fault: "drifted"; stage: StageName; layer: string | null; was: string; now: string }
  /** A new key, and the bytes of before. */
  | { fault: "stale"; stage: StageName; because: string }
  /** Made again from the same ingredients it came out different. */
  | { fault: "not-reproducible"; stage: StageName; layer: string | null; paths: readonly string[] }
  | { fault: "not-arrived"; path: string }
  | { fault: "executed"; stage: StageName; steps: number }
  | { fault: "not-executed"; stage: StageName }
  | { fault: "engine-started" }
  /** The planner said one thing, and the engine's reports say another. */
  | { fault: "contradicted"; stage: StageName; said: string }
  | ({ fault: "failed" } & Failure)
  /** The proof could not be made: that says nothing about the cache. */
  | ({ fault: "proof" } & Failure);

/** Errors that speak of the machine and its network, not of the cache: what they stop was not tested. */
export const environmentErrors: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "ENGINE_MISSING",
  "ENGINE_FAILED",
  "STEP_FAILED",
  "BASE_UNREACHABLE",
  "MIRROR_UNREACHABLE",
  "PACKAGE_GONE",
  "PLATFORM_UNSUPPORTED",
  "HOST_TOOL_MISSING",
  "PERMISSION",
]);

/** Errors by which a build says itself that what is kept does not hold. */
const ofCache: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["CACHE_BROKEN", "NOT_REPRODUCIBLE"]);

/** What a build that failed is: a fault of the cache where it should have needed nothing of the world, else one of the proof. */
export const failedFault = (failure: Failure): Fault => ({
  fault: environmentErrors.has(failure.code) || ofCache.has(failure.code) ? "failed" : "proof",
  ...failure,
});

type Wording = { [F in Fault["fault"]]: (fault: Extract<Fault, { fault: F }>) => string };

const short = (text: string): string => text.slice(0, 12);
const from = (layer: string | null): string => (layer === null ? "" : `, in the layer of "${cut(layer)}"`);
const cut = (text: string): string => (text.length > 80 ? `${text.slice(0, 79)}…` : text);

const words = {
  "key-stayed": ({ stage, key, because }) => `${stage}: its key ${short(key)} stayed, although ${because}`,
  "key-moved": ({ stage, was, now, culprits }) =>
    `${stage}: its key moved (${short(was)} → ${short(now)}), and nothing of it should have: ${culprits.map(reasonSentence).join("; ")}`,
  drifted: ({ stage, layer }) => `${stage}: nothing of it changed, and it holds other bytes now${from(layer)}`,
  stale: ({ stage, because }) => `${stage}: it holds the bytes of before, although ${because}`,
  "not-reproducible": ({ stage, layer, paths }) =>
    `${stage}: made again under the same key it came out different${from(layer)}${paths.length === 0 ? "" : `: ${paths.join(", ")}`}`,
  "not-arrived": ({ path }) => `${path}: what was changed in it is in no layer`,
  executed: ({ stage, steps }) =>
    `${stage}: the engine took ${steps} ${steps === 1 ? "step" : "steps"} for it, and none was to be taken`,
  "not-executed": ({ stage }) => `${stage}: the engine reported no step of it, and it was to be executed`,
  "engine-started": () => "an engine was started, although no stage was to be executed",
  contradicted: ({ stage, said }) => `${stage}: the plan said ${said}, and the engine's own reports say otherwise`,
  failed: ({ code, what, why }) => `it could not be built: ${code}: ${what}: ${why.split("\n")[0]}`,
  proof: ({ code, what, why }) => `the proof itself failed: ${code}: ${what}: ${why.split("\n")[0]}`,
} satisfies Wording;

export const faultText = (fault: Fault): string => (words[fault.fault] as (fault: Fault) => string)(fault);
