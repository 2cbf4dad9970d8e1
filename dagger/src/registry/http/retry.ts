import type { Broken, Breakage } from "./broken.js";

/** The outside world of waiting. Tests bring their own, and wait for nothing. */
export type Clock = {
  /** Milliseconds since the Unix epoch. */
  now(): number;
  /** @throws AbortError when the signal fires */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** From 0 to below 1. */
  random(): number;
};

/** How often something is tried, and how long is waited in between; milliseconds. */
export type RetryPolicy = {
  /** Tries in all. */
  tries: number;
  firstWait: number;
  longestWait: number;
  /** A registry that asks for a longer wait than this is taken as one that refuses. */
  longestRetryAfter: number;
  timeouts: Timeouts;
};

/** How long nothing may happen, in milliseconds. */
export type Timeouts = {
  /** Until the connection stands, with TLS and tunnel. */
  connect: number;
  /** From the last byte sent to the first of the answer. */
  answer: number;
  /** Between two parts, up or down; a body that brings less than a kibibyte in this time has stalled too. */
  idle: number;
};

/** For work that would be lost: a push, a download. */
export const persistent: RetryPolicy = {
  tries: 6,
  firstWait: 500,
  longestWait: 15_000,
  longestRetryAfter: 60_000,
  timeouts: { connect: 15_000, answer: 60_000, idle: 60_000 },
};
/** For a question that can go unanswered: what the registry knows is worth two tries, and the build goes on without. */
export const quick: RetryPolicy = {
  tries: 2,
  firstWait: 200,
  longestWait: 200,
  longestRetryAfter: 1_000,
  timeouts: { connect: 4_000, answer: 15_000, idle: 30_000 },
};

export type ExchangeOutcome = { status: number; retryAfter: string | undefined } | { broken: Broken };

/** RFC 9110 and RFC 6585: statuses that say "later". 500 too, because registries answer so while their storage is out of breath. */
const laterStatuses = new Set([408, 425, 429, 500, 502, 503, 504]);
const laterBreakages: ReadonlySet<Breakage> = new Set<Breakage>(["connect", "reset", "stale", "truncated", "timeout"]);

export const isLater = (status: number): boolean => laterStatuses.has(status);

/**
 * How long to wait before the next try, or null where another makes no sense.
 * The wait doubles with each try, and is drawn from its upper half, so that many builders do not come back at once.
 * @param tried tries so far, from 1
 */
export const waitBefore = (
  outcome: ExchangeOutcome,
  tried: number,
  retryPolicy: RetryPolicy,
  clock: Pick<Clock, "now" | "random">,
): number | null => {
  if ("broken" in outcome) {
    // A kept connection that was closed meanwhile says nothing about the registry; the next one is new.
    if (outcome.broken.kind === "stale" && tried === 1) return 0;
    // A name that does not exist will not exist in a second; EAI_AGAIN is the resolver's word for "later".
    if (!laterBreakages.has(outcome.broken.kind) || outcome.broken.code === "ENOTFOUND") return null;
  } else if (!laterStatuses.has(outcome.status)) return null;
  if (tried >= retryPolicy.tries) return null;
  const backoff = Math.min(retryPolicy.longestWait, retryPolicy.firstWait * 2 ** (tried - 1)) * (0.5 + clock.random() / 2);
  const asked = "status" in outcome ? retryAfterMs(outcome.retryAfter, clock.now()) : null;
  if (asked === null) return backoff;
  return asked > retryPolicy.longestRetryAfter ? null : Math.max(asked, backoff);
};

/** Retry-After as RFC 9110, 10.2.3 has it: seconds, or a date. Milliseconds from now, or null where it is neither. */
export const retryAfterMs = (value: string | undefined, now: number): number | null => {
  const text = value?.trim() ?? "";
  if (/^\d+(\.\d+)?$/.test(text)) return Math.ceil(Number(text) * 1000);
  const date = /^[A-Z][a-z]{2}/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(date) ? null : Math.max(0, date - now);
};

export const systemClock: Clock = {
  now: () => Date.now(),
  random: () => Math.random(),
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      const aborted = () => {
        clearTimeout(timer);
        reject(signal?.reason as Error);
      };
      const timer = setTimeout(() => {
        signal?.removeEventListener("abort", aborted);
        resolve();
      }, ms);
      if (signal?.aborted) aborted();
      else signal?.addEventListener("abort", aborted, { once: true });
    }),
};
