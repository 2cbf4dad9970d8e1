import { type ErrorCode, FactoryError } from "../../pipeline/common/error.js";

/**
 * What a registry knows. `absent` only when the registry said so: whoever takes an error for an absence builds
 * everything anew, and then fails at the push.
 */
export type Lookup<T> =
  | { state: "found"; value: T }
  | { state: "absent" }
  /** Nobody knows. `why` is one line for a warning; `error` is for those who cannot go on. */
  | { state: "unknown"; why: string; error: FactoryError };

export const found = <T>(value: T): Lookup<T> => ({ state: "found", value });
export const absent: Lookup<never> = { state: "absent" };
export const unknown = (error: FactoryError): Lookup<never> => ({
  state: "unknown",
  why: `${error.explanation.what}: ${error.explanation.why.split("\n")[0]}`,
  error,
});

/** What can happen to a question; a full disk, an interruption and our own bugs are no answers. */
const unanswered: ReadonlySet<ErrorCode> = new Set([
  "REGISTRY_UNREACHABLE",
  "REGISTRY_DENIED",
  "REGISTRY_FAILED",
  "CHECKSUM_MISMATCH",
  "CREDENTIALS_INVALID",
]);

/** Runs a look-up; what the registry does not answer is unknown. */
export const lookUp = async <T>(work: () => Promise<Lookup<T>>): Promise<Lookup<T>> => {
  try {
    return await work();
  } catch (error) {
    if (error instanceof FactoryError && unanswered.has(error.code)) return unknown(error);
    throw error;
  }
};

/** The value, or null where it is absent. @throws FactoryError what makes it unknown */
export const known = <T>(lookup: Lookup<T>): T | null => {
  if (lookup.state === "unknown") throw lookup.error;
  return lookup.state === "found" ? lookup.value : null;
};
