import { pinName } from "../config/pin.js";
import type { PackageSet } from "../config/lock.js";

/**
 * A locked set for another request, where its pins are what that comes to as well: everything that was requested still is, and all that is
 * requested is pinned. Null where only the package manager knows.
 * @param below pins of what is installed already
 */
export const stillMet = (
  locked: PackageSet | undefined,
  requested: readonly string[],
  below: readonly string[] = [],
): PackageSet | null => {
  if (locked === undefined) return null;
  const pins = [...locked.packages, ...below];
  /** The pin that a word asks for: `git`, or `git=1:2.39` in full. */
  const pinOf = (word: string) => pins.find((pin) => pin === word || pinName(pin)[0] === word);
  const asked = new Set(requested.map((word) => pinOf(word) ?? word));
  const dropped = locked.requested.some((word) => !asked.has(pinOf(word) ?? word));
  const unmet = requested.some((word) => pinOf(word) === undefined && !locked.requested.includes(word));
  return dropped || unmet ? null : { ...locked, requested: [...requested] };
};
