import { FactoryError, type Problem } from "../common/error.js";
import { compilePattern, type Pattern } from "./dockerignore-pattern.js";

/**
 * Which paths of a context are sent: Docker's .dockerignore dialect, with the outcome of BuildKit's own sender
 * (moby/patternmatcher's MatchesUsingParentResults inside tonistiigi/fsutil's FilterFS), because what is hashed must be
 * what is sent. test/e2e/buildkit/ignore.test.ts holds this file against BuildKit itself.
 * Paths are relative to the context, with `/` between parts and none at either end.
 */
export type Ignore = {
  /** The patterns in order, cleaned. */
  patterns: readonly string[];
  /** Whether a path is left out. A directory that is ignored is sent all the same when something below it is. */
  ignores: (path: string) => boolean;
  /** Whether a directory is ignored with everything below it, so that nobody needs to read it. */
  canSkip: (directory: string) => boolean;
  /** The pattern that decided about a path (for an ignored one: what to change); null when none matched. */
  decidedBy: (path: string) => string | null;
};

/** What is known of a path: which patterns matched it or a directory above it, and what follows. */
type IgnoreVerdict = {
  ignored: boolean;
  matched: readonly boolean[];
  /** Index of the last pattern that changed the outcome, or -1. */
  by: number;
  /** BuildKit's sender does not enter: everything below is left out, whatever a pattern says. */
  closed: boolean;
};

/**
 * The patterns of an ignore file's text, one a line: a `#` in the first column starts a comment, white space around a
 * pattern and a leading `/` mean nothing, `!` makes an exception. To add lines to a file's, join them to its text first.
 * @param file how messages call the text
 * @throws FactoryError CONFIG_INVALID with the line of each pattern that BuildKit could not read
 */
export function readIgnoreLines(text: string, file = ".dockerignore"): string[] {
  const patterns: string[] = [];
  const problems: Problem[] = [];
  const withoutMark = text.replace(/^\uFEFF/, "");
  for (const [index, line] of withoutMark.split("\n").entries()) {
    const pattern = readLine(line);
    if (pattern === null) continue;
    const compiled = compileLine(pattern);
    if (typeof compiled === "string")
      problems.push({
        position: {
          file,
          line: index + 1,
          col: line.length - line.trimStart().length + 1,
          excerpt: line,
        },
        message: `cannot read the pattern ${JSON.stringify(trim(line))}: ${compiled}`,
      });
    else if (compiled !== null) patterns.push(pattern);
  }
  if (problems.length > 0) throw invalid(file, problems);
  return patterns;
}

/** One line, cleaned; null for a comment or a blank. */
function readLine(line: string): string | null {
  const trimmed = trim(line);
  if (line.startsWith("#") || trimmed === "") return null;
  const mark = trimmed.startsWith("!") ? "!" : "";
  const body = trim(trimmed.slice(mark.length));
  const cleaned = body === "" ? "" : cleanPath(body);
  return mark + (cleaned.length > 1 && cleaned.startsWith("/") ? cleaned.slice(1) : cleaned);
}

/** The text of an ignore file that reads back as these lines; a `/` at an end, which means nothing, protects a `#` or a blank there. */
export const ignoreText = (lines: readonly string[]): string =>
  lines.map((line) => `${[line, `${line}/`, `/${line}/`].find((form) => readLine(form) === line) ?? line}\n`).join("");

/**
 * @param lines as readIgnoreLines gives them; the last one that matches a path decides
 * @throws FactoryError CONFIG_INVALID with each line that BuildKit could not read
 */
export function compileIgnore(lines: readonly string[]): Ignore {
  const patterns: Pattern[] = [];
  const problems: Problem[] = [];
  for (const [index, line] of lines.entries()) {
    const compiled = compileLine(line);
    if (typeof compiled === "string")
      problems.push({
        message: `cannot read pattern ${index + 1}, ${JSON.stringify(line)}: ${compiled}`,
      });
    else if (compiled !== null) patterns.push(compiled);
  }
  if (problems.length > 0) throw invalid("the list of ignored paths", problems);

  const prefixes = patterns.filter((pattern) => pattern.exception).map((pattern) => pattern.plainPrefix);
  const closes = (directory: string) => prefixes.every((prefix) => prefix !== null && !`${prefix}/`.startsWith(`${directory}/`));

  const judge = (path: string, parent: IgnoreVerdict | null): IgnoreVerdict => {
    if (parent?.closed) return parent;
    const matched: boolean[] = [];
    let ignored = false;
    let by = -1;
    for (let index = 0; index < patterns.length; index++) {
      const { exception, matches } = patterns[index]!;
      const inherited = parent !== null && parent.matched[index]!;
      const found = inherited || (exception === ignored && matches(path));
      matched.push(found);
      if (!found) continue;
      if (ignored === exception) by = index;
      ignored = !exception;
    }
    return { ignored, matched, by, closed: false };
  };

  const directories = new Map<string, IgnoreVerdict>();
  const parentOf = (path: string): IgnoreVerdict | null => {
    const slash = path.lastIndexOf("/");
    return slash < 0 ? null : directory(path.slice(0, slash));
  };
  const directory = (path: string): IgnoreVerdict => {
    const known = directories.get(path);
    if (known !== undefined) return known;
    const open = judge(path, parentOf(path));
    const verdict = open.ignored && !open.closed && closes(path) ? { ...open, closed: true } : open;
    directories.set(path, verdict);
    return verdict;
  };
  /** A directory's verdict serves for the path itself too: closing it changes only what is below. */
  const verdictOf = (path: string) => directories.get(path) ?? judge(path, parentOf(path));
  return {
    patterns: patterns.map((pattern) => pattern.text),
    ignores: (path) => verdictOf(path).ignored,
    decidedBy: (path) => patterns[verdictOf(path).by]?.text ?? null,
    canSkip: (path) => {
      const { ignored, closed, matched } = directory(path);
      if (closed || !ignored) return closed;
      const last = patterns.findLastIndex((pattern, index) => !pattern.exception && matched[index]);
      return !patterns.some((pattern, index) => index > last && pattern.exception && pattern.reaches(path));
    },
  };
}

/** Of the paths that were found, those that are sent, each once, sorted by code unit; the order of `found` does not matter. */
export function selectPaths<T extends { kind: string; path: string }>(found: readonly T[], ignore: Ignore): T[] {
  const kept = new Set<string>();
  for (const { path } of found) {
    if (ignore.ignores(path)) continue;
    for (let above = path; above !== "" && !kept.has(above); above = above.slice(0, Math.max(above.lastIndexOf("/"), 0)))
      kept.add(above);
  }
  const once = new Map(found.filter(({ path }) => kept.has(path)).map((one) => [one.path, one]));
  return [...once.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
}

function compileLine(line: string): Pattern | string | null {
  const trimmed = trim(line);
  if (trimmed === "") return null;
  const cleaned = cleanPath(trimmed);
  if (cleaned === "!") return "an exception needs a path after its !";
  return cleaned.startsWith("!") ? compilePattern(cleaned.slice(1), true) : compilePattern(cleaned, false);
}

/** White space as Go's strings.TrimSpace knows it: with U+0085, without the byte order mark. */
const isSpace = (char: string) => /[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/.test(char);
const trim = (text: string) => {
  let [start, end] = [0, text.length];
  while (start < end && isSpace(text[start]!)) start++;
  while (end > start && isSpace(text[end - 1]!)) end--;
  return text.slice(start, end);
};

/** Go's path.Clean: no empty or `.` parts, `..` resolved as far as it can be. */
function cleanPath(path: string): string {
  const rooted = path.startsWith("/");
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") parts.push(part);
    else if (parts.length > 0 && parts.at(-1) !== "..") parts.pop();
    else if (!rooted) parts.push("..");
  }
  return (rooted ? "/" : "") + parts.join("/") || ".";
}

const invalid = (what: string, problems: readonly Problem[]) =>
  new FactoryError("CONFIG_INVALID", {
    what: `cannot read ${what}`,
    why: problems
      .map(({ position, message }) => `${position === undefined ? "" : `${position.file}:${position.line}: `}${message}`)
      .join("\n"),
    fix: "write the pattern as Docker's .dockerignore takes it; a backslash makes *, ?, [ and \\ plain characters",
    problems,
  });
