import { type Item, itemsOf, literal } from "./go-regexp.js";
import { linearMatcher } from "./linear-match.js";

/**
 * One pattern of an ignore file, compiled the way BuildKit compiles it (github.com/moby/patternmatcher).
 * That library turns a pattern into the text of a Go regular expression, and some of what it accepts only makes sense
 * as such (`[*]`, a backslash before a letter). So the same two steps are taken here: pattern → Go expression → matcher.
 * What we cannot carry over exactly is refused, never guessed: a wrong guess would send other files than were hashed.
 */
export type Pattern = {
  /** As it stands after cleaning, with its `!`. */
  text: string;
  /** True for a `!` pattern: what it matches is sent again. */
  exception: boolean;
  matches: (path: string) => boolean;
  /** Whether a path strictly below a directory could match; errs on the side of yes. */
  reaches: (directory: string) => boolean;
  /**
   * BuildKit's sender does not look below an ignored directory when all exceptions are plain names and none starts
   * there. This is the name it compares; null when the pattern holds wildcards.
   */
  plainPrefix: string | null;
};

/** @returns the pattern, or in words why BuildKit (or we) cannot read it. `cleaned` comes without its `!`. */
export function compilePattern(cleaned: string, exception: boolean): Pattern | string {
  const problem = syntaxProblem(cleaned);
  if (problem !== null) return problem;
  const matches = matcher(cleaned);
  if (typeof matches === "string") return matches;
  const prefix = withoutSuffix(withoutSuffix(cleaned, "/**"), "/*");
  return {
    text: exception ? `!${cleaned}` : cleaned,
    exception,
    matches,
    reaches: reach(cleaned),
    plainPrefix: /[*[\]?^\\]/.test(prefix) ? null : prefix,
  };
}

const withoutSuffix = (text: string, suffix: string) => (text.endsWith(suffix) ? text.slice(0, -suffix.length) : text);

/**
 * The syntax that Go's filepath.Match demands of a pattern compared with ".", which patternmatcher asks for first. It stops
 * at the first part between two `*` that does not match, so `[-_]` is refused in front and taken behind `app/*`.
 */
function syntaxProblem(pattern: string): string | null {
  const chars = [...pattern];
  let at = 0;
  for (let before = "."; at < chars.length; before = "") {
    while (chars[at] === "*") at++;
    let elements = 0;
    let dot = false;
    for (; at < chars.length && chars[at] !== "*"; elements++) {
      const element = matchElement(chars, at);
      if ("problem" in element) return element.problem;
      at = element.end;
      dot = element.dot;
    }
    if (before !== "." || elements !== 1 || !dot) return null;
  }
  return null;
}

type Element = { end: number; dot: boolean } | { problem: string };

/** One element of a filepath.Match pattern: where it ends, and whether it matches a dot. */
function matchElement(chars: readonly string[], start: number): Element {
  let at = start;
  const char = chars[at++] ?? "";
  if (char === "\\") {
    if (at >= chars.length) return { problem: "a backslash at the end has nothing to escape" };
    return { end: at + 1, dot: chars[at] === "." };
  }
  if (char !== "[") return { end: at, dot: char === "." || char === "?" };
  const member = (): string | null => {
    const first = chars[at] ?? "]";
    if (first === "-" || first === "]") return null;
    if (first === "\\") at++;
    return at + 1 < chars.length ? (chars[at++] ?? null) : null;
  };
  const negated = chars[at] === "^";
  if (negated) at++;
  let dot = false;
  for (let members = 0; chars[at] !== "]" || members === 0; members++) {
    const low = member();
    let high = low;
    if (chars[at] === "-" && low !== null) {
      at++;
      high = member();
    }
    if (low === null || high === null)
      return {
        problem: "brackets without their end, or with a - or ] that needs a backslash before it",
      };
    dot ||= low <= "." && "." <= high;
  }
  return { end: at + 1, dot: dot !== negated };
}

/** The four ways patternmatcher compares; they differ, so the choice between them is part of the dialect. */
function matcher(pattern: string): ((path: string) => boolean) | string {
  const { kind, expression } = goExpression(pattern);
  switch (kind) {
    case "exact":
      return (path) => path === pattern;
    case "prefix": {
      const prefix = pattern.slice(0, -2);
      return (path) => path.startsWith(prefix);
    }
    case "suffix": {
      const suffix = pattern.slice(2);
      return suffix.startsWith("/")
        ? (path) => path.endsWith(suffix) || path === suffix.slice(1)
        : (path) => path.endsWith(suffix);
    }
    case "expression": {
      const items = itemsOf(`^${expression}$`);
      return "problem" in items ? items.problem : linearMatcher(items);
    }
  }
}

/** `|`, `{` and `}` are left as they are: patternmatcher means to escape them, and its table of such characters ends before them. */
type PatternKind = "exact" | "prefix" | "suffix" | "expression";

function goExpression(pattern: string): { kind: PatternKind; expression: string } {
  const chars = [...pattern];
  let kind: PatternKind = "exact";
  let expression = "";
  for (let at = 0; at < chars.length; at++) {
    const char = chars[at] ?? "";
    const first = at === 0;
    if (char === "*" && chars[at + 1] === "*") {
      at++;
      if (chars[at + 1] === "/") at++;
      if (at + 1 < chars.length) {
        expression += "(.*/)?";
        kind = "expression";
      } else if (kind === "exact") {
        kind = "prefix";
      } else {
        expression += ".*";
        kind = "expression";
      }
      if (first) kind = "suffix";
    } else if (char === "*" || char === "?") {
      expression += char === "*" ? "[^/]*" : "[^/]";
      kind = "expression";
    } else if (char === "\\") {
      expression += `\\${chars[++at] ?? ""}`;
      kind = "expression";
    } else if (char === "[" || char === "]") {
      expression += char;
      kind = "expression";
    } else {
      expression += ".+()$".includes(char) ? `\\${char}` : char;
    }
  }
  return { kind, expression };
}

/**
 * Part by part, as far as the parts are plain names, `*` and `?`, which cannot match a `/`.
 * From the first part on that holds more than that, anything is possible.
 */
function reach(pattern: string): (directory: string) => boolean {
  if (pattern.includes("|")) return () => true;
  const parts = pattern.split("/").map((part) => {
    if (part.includes("**") || /[[\]\\^]/.test(part)) return null;
    const any = "[\\0-\\u{10ffff}]";
    const items = [...part].map((char): Item => {
      if (char === "*") return { kind: "many", set: any };
      return { kind: "one", set: char === "?" ? any : literal(char) };
    });
    return linearMatcher([{ kind: "assert", that: "start" }, ...items, { kind: "assert", that: "end" }]);
  });
  return (directory) => {
    const names = directory.split("/");
    for (const [index, name] of names.entries()) {
      const part = parts[index];
      if (part === null) return true;
      if (part === undefined || !part(name)) return false;
    }
    return parts.length > names.length;
  };
}
