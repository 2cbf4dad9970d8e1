import type { ImageDifference } from "./image-difference.js";

type Words = { [D in ImageDifference["differs"]]: (difference: Extract<ImageDifference, { differs: D }>) => string };

/** Each kind of difference, worded once: A's value → B's value. */
const words = {
  config: ({ field, a, b }) => `${field}: ${shown(a)} → ${shown(b)}`,
  presence: ({ path, only, type, below }) =>
    `${name(path)}: ${only === "a" ? "only in A" : "only in B"} (${type}${below === 0 ? "" : ` with ${below} ${below === 1 ? "path" : "paths"} below`})`,
  type: ({ path, a, b }) => `${name(path)}: ${a} → ${b}`,
  content: ({ path, a, b }) => `${name(path)}: content ${content(a)} → ${content(b)}`,
  target: ({ path, a, b }) => `${name(path)}: points to ${name(a)} → ${name(b)}`,
  mode: ({ path, a, b }) => `${name(path)}: mode ${a} → ${b}`,
  owner: ({ path, a, b }) => `${name(path)}: owner ${a} → ${b}`,
  xattr: ({ path, name: attribute, a, b }) => `${name(path)}: ${attribute} ${shown(a)} → ${shown(b)}`,
  hardlinks: ({ path, a, b }) => `${name(path)}: one inode with ${others(path, a)} → with ${others(path, b)}`,
} satisfies Words;

export const differenceText = (difference: ImageDifference): string =>
  (words[difference.differs] as (difference: ImageDifference) => string)(difference);

/** A path on one line of plain text: what a terminal would act on is escaped. */
const name = (path: string): string => (/^[\x21-\x7e\u00a1-\ud7ff]*$/.test(path) ? path : JSON.stringify(path));

const content = ({ size, sha256 }: { size: number; sha256: string }): string => `${sha256.slice(0, 12)} (${size} B)`;

const others = (path: string, group: readonly string[]): string =>
  group
    .filter((one) => one !== path)
    .map(name)
    .join(", ") || "nothing";

/** A value as it stands where it can be read so; what is empty, or a terminal would act on, in quotes. */
const shown = (value: string | null): string => {
  if (value === null) return "absent";
  const text = value.length > 120 ? `${value.slice(0, 119)}…` : value;
  return /^[\x20-\x7e\u00a1-\ud7ff]+$/.test(text) ? text : JSON.stringify(text);
};
