/** Python versions and version specifiers (PEP 440), as far as the pipeline compares them: as text in one canonical form. */

const release = String.raw`v?(?:(\d+)!)?(\d+(?:\.\d+)*)`;
const pre = String.raw`(?:[-_.]?(alpha|a|beta|b|preview|pre|c|rc)[-_.]?(\d*))?`;
const post = String.raw`(?:-(\d+)|[-_.]?(post|rev|r)[-_.]?(\d*))?`;
const dev = String.raw`(?:[-_.]?(dev)[-_.]?(\d*))?`;
const local = String.raw`(?:\+([a-z0-9]+(?:[-_.][a-z0-9]+)*))?`;
const versionPattern = new RegExp(`^${release}${pre}${post}${dev}${local}$`, "i");
const publicPattern = new RegExp(`^${release}${pre}${post}${dev}$`, "i");
const wildcardPattern = new RegExp(`^${release}${pre}${post}\\.\\*$`, "i");
const operatorPattern = /^(===|~=|==|!=|<=|>=|<|>)/;

export const isVersion = (text: string): boolean => versionPattern.test(text.trim());

/** The normal form that wheels and `.dist-info` folders carry: `V1.0-RC.1` is `1.0rc1`; null when the text is no version. */
export function normalVersion(text: string): string | null {
  const match = versionPattern.exec(text.trim().toLowerCase());
  if (match === null) return null;
  const [, epoch, numbers = "", preWord, preNumber, implicitPost, postWord, postNumber, devWord, devNumber, tag] = match;
  const letter = { alpha: "a", beta: "b", preview: "rc", pre: "rc", c: "rc" }[preWord ?? ""] ?? preWord;
  return [
    epoch === undefined || plain(epoch) === "0" ? "" : `${plain(epoch)}!`,
    numbers.split(".").map(plain).join("."),
    letter === undefined ? "" : `${letter}${plain(preNumber)}`,
    implicitPost !== undefined || postWord !== undefined ? `.post${plain(implicitPost ?? postNumber)}` : "",
    devWord === undefined ? "" : `.dev${plain(devNumber)}`,
    tag === undefined
      ? ""
      : `+${tag
          .split(/[-_.]/)
          .map((part) => (/^\d+$/.test(part) ? plain(part) : part))
          .join(".")}`,
  ].join("");
}

const plain = (digits = ""): string => (digits === "" ? "0" : digits.replace(/^0+(?=\d)/, ""));

export type Specifiers =
  | { ok: true; text: string }
  /** `at` is the offset of the mistake in the given text. */
  | { ok: false; message: string; at: number; hint?: string };

/**
 * A set of specifiers in canonical form: no white space, each clause once, sorted by code unit (their order means nothing).
 * Versions are kept as written: `1.0` and `1.0.0` are the same to pip, but a lock must show what the project says.
 */
export function readSpecifiers(text: string): Specifiers {
  const clauses = new Set<string>();
  let at = 0;
  for (const part of text.split(",")) {
    const clause = part.trim();
    const start = at + (part.length - part.trimStart().length);
    at += part.length + 1;
    // A comma at the end is allowed by pip; one alone, or two in a row, is not.
    if (clause === "" && (at > text.length || text.trim() === "")) continue;
    const mistake = clauseMistake(clause);
    if (mistake !== null) return { ok: false, at: start, ...mistake };
    clauses.add(clause.replace(/\s+/g, ""));
  }
  return { ok: true, text: [...clauses].sort().join(",") };
}

function clauseMistake(clause: string): { message: string; hint?: string } | null {
  if (clause === "") return { message: "a version is missing between two commas" };
  const operator = operatorPattern.exec(clause)?.[0];
  if (operator === undefined) return withoutOperator(clause);
  const version = clause.slice(operator.length).trim();
  if (version === "") return { message: `a version is missing after ${operator}` };
  if (operator === "===") return /\s/.test(version) ? { message: `${version} is no version` } : null;
  const next = /(?:===|~=|==|!=|<=|>=|<|>)/.exec(version);
  if (next !== null) return { message: `a comma is missing before ${version.slice(next.index).trim()}` };
  const equality = operator === "==" || operator === "!=";
  if (version.endsWith(".*")) {
    if (!wildcardPattern.test(version)) return { message: `${version} is no version` };
    return equality
      ? null
      : {
          message: `.* does not go with ${operator}`,
          hint: `write ${operator}${version.slice(0, -2)}`,
        };
  }
  if (!(equality ? versionPattern : publicPattern).test(version)) return { message: `${version} is no version` };
  if (operator === "~=" && !/^v?(?:\d+!)?\d+\.\d+/i.test(version)) {
    return {
      message: `~=${version} needs two numbers`,
      hint: `write ~=${version}.0 or >=${version}`,
    };
  }
  return null;
}

function withoutOperator(clause: string): { message: string; hint?: string } {
  const caret = /^\^\s*(\d+)(?:\.(\d+))?(.*)$/.exec(clause);
  if (caret !== null) {
    const [, major = "", minor, rest] = caret;
    const below = major === "0" && minor !== undefined ? `0.${Number(minor) + 1}` : `${Number(major) + 1}`;
    return {
      message: "^ is not an operator here",
      hint: `write >=${major}${minor === undefined ? "" : `.${minor}`}${rest},<${below}`,
    };
  }
  const assignment = /^=\s*(\S.*)$/.exec(clause);
  if (assignment !== null) return { message: "= is not an operator here", hint: `write ==${assignment[1]}` };
  if (isVersion(clause)) return { message: `${clause} has no operator`, hint: `write ==${clause} or >=${clause}` };
  return { message: `expected a version with an operator, found ${JSON.stringify(clause)}` };
}
