import { type Allowance, allowances } from "../../dagger/src/pipeline/compare/allowances.js";
import { differenceText } from "../../dagger/src/pipeline/compare/differences-text.js";
import type { ImageDifference } from "../../dagger/src/pipeline/compare/image-difference.js";
import { plural, table } from "../../dagger/src/pipeline/common/format.js";

type Side = { name: string; digest: string | null; config: object | null };
export type Comparison = {
  a: Side;
  b: Side;
  /** How many paths B has. */
  paths: number;
  differences: readonly ImageDifference[];
  /** What was left out. */
  left: ReadonlySet<Allowance>;
};

/** The answer first, then what differs, then what was not looked at. */
export const comparisonText = ({ a, b, paths, differences, left }: Comparison, limit: number): string => {
  const shown = limit > 0 ? differences.slice(0, limit) : differences;
  const more = differences.length - shown.length;
  const files = a.config === null || b.config === null ? " (files only: a root filesystem has no config)" : "";
  return [
    table([
      ["A", a.name, a.digest ?? ""],
      ["B", b.name, b.digest ?? ""],
    ]),
    differences.length === 0
      ? `equal: ${plural(paths, "path")}${files === "" ? " and the config" : files}`
      : `different in ${plural(differences.length, "point")}${files}`,
    ...shown.map((one) => `  ${differenceText(one)}`),
    ...(more > 0 ? [`  and ${more} more: --limit 0 prints all`] : []),
    left.size === 0 ? "left out: nothing" : `left out: ${[...left].join(", ")}; --rules says why, --strict leaves out nothing`,
    "",
  ].join("\n");
};

/** For programs: `format` counts its shape. */
export const comparisonJson = ({ a, b, paths, differences, left }: Comparison): string => {
  const side = ({ name, digest }: Side) => ({ name, digest });
  const config = a.config !== null && b.config !== null;
  return `${JSON.stringify({ format: 1, equal: differences.length === 0, a: side(a), b: side(b), compared: { paths, config }, differences, leftOut: [...left] }, null, 2)}\n`;
};

export const rulesText = (): string =>
  `${Object.entries(allowances)
    .map(([name, { what, why }]) => `${name}\n  ${what}\n  ${why}`)
    .join(
      "\n",
    )}\nnever seen, for a stage index does not hold them: times of files, device numbers, in which layer a path stands\nall else counts\n`;
