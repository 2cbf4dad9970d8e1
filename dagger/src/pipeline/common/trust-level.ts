/**
 * How far the origin of a result is trusted: that of the build that made it, or of the repository that it was fetched from, or of
 * what it is built on, whichever is lowest. The words are those of ci/trust/trust-level.ts, which says what a build counts as.
 */
export type TrustLevel = "protected" | "branch" | "fork";

const ranks: Readonly<Record<TrustLevel, number>> = { protected: 2, branch: 1, fork: 0 };

export const lowestTrust = (first: TrustLevel, ...others: readonly TrustLevel[]): TrustLevel =>
  others.reduce((lowest, level) => (ranks[level] < ranks[lowest] ? level : lowest), first);

/** Whether a build at `needed` may use what has this level. False for anything that is no level. */
export const isTrustedAt = (level: TrustLevel, needed: TrustLevel): boolean => ranks[level] >= ranks[needed];
