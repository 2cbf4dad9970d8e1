import { describe, expect, test } from "vitest";
import { FactoryError } from "../../../../dagger/src/pipeline/common/error.js";
import { compileIgnore, readIgnoreLines, selectPaths } from "../../../../dagger/src/pipeline/context/dockerignore.js";
import { ignoreRules, refusedLines } from "../../../fixtures/ignore-rules.js";
import { tree } from "../../../fixtures/tree.js";

const compile = (text: string) => compileIgnore(readIgnoreLines(text));
const trimmed = (paths: readonly string[]) => paths.map((path) => path.replace(/\/$/, "")).sort();

describe("the rules", () => {
  test.each(ignoreRules)("$name", ({ ignore, sent, left }) => {
    const rules = compile(ignore);
    const listed = trimmed([...sent, ...left]);
    const selected = selectPaths(tree([...sent, ...left]), rules).map(({ path }) => path);
    expect(selected.filter((path) => listed.includes(path))).toEqual(trimmed(sent));
    expect(trimmed(left).filter((path) => !rules.ignores(path))).toEqual([]);
  });

  test("each row's paths can stand in one folder", () => {
    for (const { name, sent, left } of ignoreRules) {
      const all = [...sent, ...left];
      expect([name, all.filter((path) => all.some((other) => other.startsWith(`${path}/`)))]).toEqual([name, []]);
    }
  });

  test("there are enough of them, and none twice", () => {
    expect(ignoreRules.length).toBeGreaterThanOrEqual(60);
    expect(new Set(ignoreRules.map(({ name }) => name)).size).toBe(ignoreRules.length);
  });
});

describe("what cannot be read", () => {
  const failure = (work: () => unknown) => {
    try {
      work();
    } catch (error) {
      if (error instanceof FactoryError) return error;
      throw error;
    }
    return undefined;
  };

  test.each(refusedLines)("$line", ({ line }) => {
    const error = failure(() => readIgnoreLines(`# one\nfine\n${line}\nalso fine\n`, "app/.dockerignore"));
    expect(error?.code).toBe("CONFIG_INVALID");
    expect(error?.explanation.problems?.map(({ position }) => position)).toEqual([
      { file: "app/.dockerignore", line: 3, col: 1, excerpt: line },
    ]);
    expect(error?.message).toContain(JSON.stringify(line));
  });

  test("all bad lines are told at once", () => {
    const error = failure(() => readIgnoreLines("[\nfine\n  !\n"));
    expect(error?.explanation.problems?.map(({ position }) => [position?.line, position?.col])).toEqual([
      [1, 1],
      [3, 3],
    ]);
  });

  test("a list of lines is checked as well", () => {
    expect(failure(() => compileIgnore(["fine", "["]))?.message).toContain('pattern 2, "["');
  });
});

test("the pattern that decided is told as it stands in the file", () => {
  const rules = compile("**/*.md\n!docs/**\ndocs/private\n");
  expect(["a.md", "docs/a.md", "docs/private/b/c", "x.py"].map(rules.decidedBy)).toEqual([
    "**/*.md",
    "!docs/**",
    "docs/private",
    null,
  ]);
});

describe("which folders need no reading", () => {
  const skipped = (text: string, ...folders: string[]) => folders.filter(compile(text).canSkip);

  test("an ignored folder without exceptions", () => {
    expect(skipped("**/node_modules", "node_modules", "app/node_modules", "app")).toEqual(["node_modules", "app/node_modules"]);
  });
  test("an exception at any depth opens them all", () => {
    expect(skipped("**/node_modules\n!**/README.md", "node_modules", "app/node_modules")).toEqual([]);
  });
  test("an exception that stands before does not", () => {
    expect(skipped("!**/README.md\n**/node_modules", "node_modules")).toEqual(["node_modules"]);
  });
  test("an exception elsewhere does not", () => {
    expect(skipped("*\n!app/**/*.py", "node_modules", "app", "app/x")).toEqual(["node_modules"]);
  });
  test("a wildcard exception opens as deep as it has parts", () => {
    expect(skipped("*\n!*/keep*", "a", "a/b")).toEqual(["a/b"]);
  });
});
