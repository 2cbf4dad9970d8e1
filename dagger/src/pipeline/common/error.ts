/**
 * # dagger/src/pipeline/common
 *
 * What every other folder of the core may use: errors, stages, platforms, text for people, canonical JSON. It knows nothing of images, and
 * imports no other folder.
 */
import type { Fix } from "./fix.js";

/**
 * Every way in which the pipeline can fail, with the exit code of the process that meets it.
 * The numbers follow sysexits(3) where it has a fitting one, so that a script can tell a typo from an outage.
 */
export const exitCodes = {
  USAGE: 64,
  UNKNOWN_IMAGE: 64,
  UNKNOWN_STAGE: 64,
  UNKNOWN_PLATFORM: 64,
  UNKNOWN_BUILD_ARG: 64,
  CONFIG_INVALID: 65,
  PROJECT_INVALID: 65,
  IMAGE_INVALID: 65,
  LOCK_INVALID: 65,
  REFERENCE_INVALID: 65,
  INPUT_MISSING: 66,
  PLAN_UNKNOWN: 66,
  LOCK_MISSING: 67,
  LOCK_STALE: 67,
  VERSION_UNKNOWN: 67,
  PACKAGE_GONE: 67,
  CHECKSUM_MISMATCH: 68,
  ENGINE_MISSING: 69,
  ENGINE_FAILED: 69,
  MIRROR_UNREACHABLE: 69,
  BASE_UNREACHABLE: 69,
  REGISTRY_UNREACHABLE: 69,
  PLATFORM_UNSUPPORTED: 69,
  STEP_FAILED: 70,
  IMAGE_FAILED: 70,
  VERIFY_FAILED: 70,
  HOST_TOOL_MISSING: 72,
  OUTPUT_FAILED: 73,
  TAG_IMMUTABLE: 73,
  TAG_NARROWED: 73,
  DISK_FULL: 74,
  NOT_REPRODUCIBLE: 75,
  CACHE_BROKEN: 75,
  REGISTRY_FAILED: 76,
  MIRROR_FAILED: 76,
  PERMISSION: 77,
  REGISTRY_DENIED: 77,
  CREDENTIALS_INVALID: 78,
  INTERRUPTED: 130,
} as const;

/**
 * Exit codes of a command that ended well and whose answer is not yes, so that a script can tell an answer from an outage. Below
 * those of errors, and never 1, which is a bug. `no`: the images differ, a check failed, a file is not current. `unknown`: nothing failed, because
 * nothing could be tried.
 */
export const answers = { yes: 0, no: 2, unknown: 3 } as const;

export type ErrorCode = keyof typeof exitCodes;

/** Where in a text a problem stands; line and column count from 1. */
export type Position = { file: string; line: number; col: number; excerpt: string };

export type Explanation = {
  /** What happened, one line. */
  what: string;
  /** Why, as far as it is known; may hold several lines (a tool's own words). */
  why: string;
  /** What to type or change next. */
  fix: Fix;
  /** For problems of a text: all of them, each with its place. */
  problems?: readonly Problem[];
};

export type Problem = { position?: Position; message: string; hint?: string };

/** An error that a user can act on; anything else that is thrown is a bug. */
export class FactoryError extends Error {
  readonly code: ErrorCode;
  readonly explanation: Explanation;

  /** @param explanation with the error behind it, which is kept as `cause` and not told */
  constructor(code: ErrorCode, { cause, ...explanation }: Explanation & { cause?: unknown }) {
    super(`${code}: ${explanation.what}: ${explanation.why}`, cause === undefined ? undefined : { cause });
    this.name = "FactoryError";
    this.code = code;
    this.explanation = explanation;
  }

  get exitCode(): number {
    return exitCodes[this.code];
  }
}

/** Work that was stopped on request. @param why what was stopped, in words */
export const interrupted = (why: string, cause?: unknown): FactoryError =>
  new FactoryError("INTERRUPTED", {
    what: "interrupted",
    why,
    fix: "run the same command again; what was finished is kept",
    cause,
  });
