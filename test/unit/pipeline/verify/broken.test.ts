import { statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { StageKey } from "../../../../dagger/src/pipeline/plan/key.js";
import { faultLines } from "../../../../dagger/src/pipeline/verify/case-result.js";
import { forgetsContent, type Planner, withKeys } from "../../../fixtures/broken-keys.js";
import { scratchFolder } from "../../../fixtures/scratch.js";
import { prove, usual } from "../../../fixtures/usual-project.js";

const { at, put } = scratchFolder();

describe("a broken planner is found, with the stage to blame", () => {
  const mtime = (folder: string) => Math.round(statSync(join(folder, "app/src/app/main.py")).mtimeMs / 1000);
  const broken: [string, Planner, readonly string[], RegExp[]][] = [
    [
      "forgets the content of files",
      forgetsContent,
      ["code", "junk"],
      [/^code: application: its key [0-9a-f]{12} stayed, although app\/src\/app\/main.py has a line more$/],
    ],
    [
      "forgets the executable bit",
      withKeys((ingredients) => ({
        of: JSON.parse(JSON.stringify(ingredients).replaceAll('"executable":true', '"executable":false')),
      })),
      ["code", "mode"],
      [/^mode: application: its key .* although app\/src\/app\/main.py is executable now$/],
    ],
    [
      "forgets the stage below",
      withKeys((ingredients) => ({ of: { ...ingredients, parent: { key: "" as StageKey } } })),
      ["code"],
      [/^code: runtime: its key .* stayed, although the stage below it has another key$/],
    ],
    [
      "knows the time of a file",
      withKeys((ingredients, _, { folder }) =>
        ingredients.stage === "application" ? { of: ingredients, and: mtime(folder) } : { of: ingredients },
      ),
      ["mode", "times"],
      [/^times: application: its key moved .* nothing of it should have: the keys differ but no ingredient does/],
    ],
    [
      "knows where the checkout stands",
      withKeys((ingredients, project) => ({ of: ingredients, and: project.root })),
      ["folder", "nothing"],
      [/^folder: base-tools: its key moved/],
    ],
    [
      "reads the whole of pyproject.toml for the dependencies",
      withKeys((ingredients, _, { snapshot }) =>
        ingredients.stage === "dependencies" ? { of: ingredients, and: [...snapshot.texts] } : { of: ingredients },
      ),
      ["description", "code"],
      [/^description: dependencies: its key moved/],
    ],
  ];
  test.each(broken)("that %s", async (_, planner, only, expected) => {
    usual(put);
    const faults = faultLines(await prove(at(""), planner, only));
    expect(faults).toHaveLength(expected.length);
    for (const [index, pattern] of expected.entries()) expect(faults[index]).toMatch(pattern);
  });
});
