import dockerignore from "@balena/dockerignore";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compileIgnore, ignoreText, readIgnoreLines, selectPaths } from "../../../../dagger/src/pipeline/context/dockerignore.js";
import { tree } from "../../../fixtures/tree.js";

const part = fc.constantFrom("a", "b", "ab", "c.md", "x", "node_modules", "README.md");
const filePath = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("/"));
const patternPart = fc.constantFrom(
  "a",
  "b",
  "ab",
  "c.md",
  "*",
  "**",
  "?",
  "*.md",
  "a*",
  "[ab]",
  "[^a]",
  "x",
  "\\a",
  "a**b",
  "*|b",
);
const pattern = fc
  .tuple(
    fc.constantFrom("", "", "!", "/"),
    fc.array(patternPart, { minLength: 1, maxLength: 3 }),
    fc.constantFrom("", "", "/", "/**", "/*"),
  )
  .map(([before, parts, behind]) => `${before}${parts.join("/")}${behind}`);
const patterns = fc.array(pattern, { maxLength: 6 });
/** Files and folders that can stand beside each other. */
const trees = fc.array(filePath, { maxLength: 25 }).map((paths) => {
  const all = [...new Set(paths)];
  return tree(all.map((path) => (all.some((other) => other.startsWith(`${path}/`)) ? `${path}/` : path)));
});

describe("laws", () => {
  test("the order in which paths are found does not matter", () => {
    fc.assert(
      fc.property(patterns, trees, (lines, found) => {
        const rules = compileIgnore(lines);
        expect(selectPaths(found.toReversed(), compileIgnore(lines))).toEqual(selectPaths(found, rules));
        expect(selectPaths([...found, ...found], rules)).toEqual(selectPaths(found, rules));
      }),
    );
  });

  test("one more ignored file changes nothing", () => {
    fc.assert(
      fc.property(patterns, trees, filePath, (lines, found, path) => {
        const rules = compileIgnore(lines);
        fc.pre(rules.ignores(path) && !found.some((other) => other.path === path));
        expect(selectPaths([...found, { kind: "file", path }], rules)).toEqual(selectPaths(found, rules));
      }),
    );
  });

  test("nothing below a folder that can be skipped is sent", () => {
    fc.assert(
      fc.property(patterns, filePath, filePath, (lines, folder, below) => {
        const rules = compileIgnore(lines);
        fc.pre(rules.canSkip(folder));
        expect(rules.ignores(folder)).toBe(true);
        expect(rules.ignores(`${folder}/${below}`)).toBe(true);
        expect(rules.canSkip(`${folder}/${below}`)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  test("lines survive being written and read", () => {
    const text = fc.string({
      unit: fc.constantFrom("a", "b", "/", "!", "#", " ", "*", ".", "\t", "\\*", "\u00a0"),
      maxLength: 8,
    });
    const valid = fc.array(text, { maxLength: 4 }).map((lines) => lines.join("\n"));
    fc.assert(
      fc.property(valid, (given) => {
        const lines = attempt(() => readIgnoreLines(given));
        fc.pre(lines !== null);
        expect(readIgnoreLines(ignoreText(lines ?? []))).toEqual(lines);
      }),
      { numRuns: 1_000 },
    );
  });

  test("a second implementation agrees, where it follows Docker", () => {
    // It asks every pattern about every folder above a path; BuildKit's sender asks only where the answer could change
    // the outcome for that folder. So exceptions come last here, and match files themselves.
    const name = fc.constantFrom("a", "b", "c.md", "*", "*.md", "x");
    const positive = fc
      .tuple(fc.constantFrom("", "**/"), fc.array(name, { minLength: 1, maxLength: 3 }))
      .map(([before, parts]) => `${before}${parts.join("/")}`);
    const exception = fc.constantFrom("a", "b", "x").map((folder) => `!${folder}/**`);
    const simple = fc
      .tuple(fc.array(positive, { maxLength: 4 }), fc.array(exception, { maxLength: 2 }))
      .map(([ignored, sent]) => ignored.concat(sent));
    fc.assert(
      fc.property(simple, filePath, (lines, path) => {
        const rules = compileIgnore(lines);
        expect(rules.ignores(path)).toBe(
          dockerignore
            .default()
            .add([...lines])
            .ignores(path),
        );
      }),
      { numRuns: 500 },
    );
  });
});

function attempt<T>(work: () => T): T | null {
  try {
    return work();
  } catch {
    return null;
  }
}
