import * as fc from "fast-check";
import { expect, test } from "vitest";
import { itemsOf } from "../../../../dagger/src/pipeline/context/go-regexp.js";
import { linearMatcher, sourceOf } from "../../../../dagger/src/pipeline/context/linear-match.js";
import { compileIgnore, readIgnoreLines } from "../../../../dagger/src/pipeline/context/dockerignore.js";

const piece = fc.constantFrom(
  "a",
  "b",
  "/",
  "[^/]*",
  "[^/]",
  ".*",
  "(.*/)?",
  "[ab]",
  "|",
  "^",
  "$",
  "\\A",
  "\\z",
  "\\b",
  "\\B",
  "\\w",
  "é",
);
const expression = fc.array(piece, { maxLength: 9 }).map((parts) => `^${parts.join("")}$`);
const path = fc.string({ unit: fc.constantFrom("a", "b", "/", "é", "\n", ".", "😀"), maxLength: 12 });

test("an expression matches what JavaScript's own does, followed all ways at once", () => {
  fc.assert(
    fc.property(expression, path, (go, text) => {
      const items = itemsOf(go);
      if ("problem" in items) throw new Error(items.problem);
      // Behind 300 characters that no piece names, the other way is taken.
      const far = `${text}${"\u0001".repeat(300)}`;
      for (const one of [text, far]) expect(linearMatcher(items)(one)).toBe(new RegExp(sourceOf(items), "u").test(one));
    }),
    { numRuns: 1_000 },
  );
});

test.each([
  `app/${"a*".repeat(40)}b`,
  `app/${"*a".repeat(40)}b`,
  `${"**/a".repeat(40)}b`,
  `app/${"?*".repeat(40)}b`,
  `app/${"[a-z]*".repeat(40)}b`,
  `${"a|a*".repeat(40)}b`,
  `${"a**".repeat(40)}/b`,
])("a pattern of many repetitions is answered: %s", (pattern) => {
  const rules = compileIgnore(readIgnoreLines(`${pattern}\n!${pattern}/x\n`));
  const long = `app/${"a".repeat(250)}`;
  for (const one of [long, `${long}b`, `${"a/".repeat(150)}b`, `${"a/".repeat(150)}c`]) {
    rules.ignores(one);
    rules.canSkip(one);
  }
  expect(rules.ignores("zzz")).toBe(false);
});

test("the right answer for a path that many repetitions match", () => {
  const rules = compileIgnore(["app/a*a*a*a*a*a*a*b"]);
  const run = "a".repeat(200);
  expect(rules.ignores(`app/${run}b`)).toBe(true);
  expect(rules.ignores(`app/${run}c`)).toBe(false);
  expect(rules.ignores(`app/${run}b/below`)).toBe(true);
});

test("a line of spaces, braces or brackets is read at once", () => {
  expect(readIgnoreLines(`a${" ".repeat(50_000)}b`)).toHaveLength(1);
  expect(() => readIgnoreLines("[:".repeat(30_000))).toThrow(/cannot read/);
  expect(readIgnoreLines("{".repeat(30_000))).toHaveLength(1);
});
