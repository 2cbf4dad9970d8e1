import { describe, expect, test } from "vitest";
import { differences } from "../../../../dagger/src/pipeline/decide/ingredient-diff.js";
import { sentence } from "../../../../dagger/src/pipeline/explain/reasons-text.js";
import type { Ingredients } from "../../../../dagger/src/pipeline/plan/key.js";
import { type Change, entries, file, hex, lock, lockWith, planOf, pyproject, replaced } from "../../../fixtures/box.js";

/** Per stage, what is said of a change, without what follows from a parent. */
const said = (change: Change): Record<string, string[]> => {
  const [was, now] = [planOf(), planOf(change)];
  return Object.fromEntries(
    now.stages.flatMap(({ stage, ingredients }, at) => {
      const found = differences(was.stages[at]!.ingredients, ingredients, now.declared);
      return found.length === 0 ? [] : [[stage, found.map(sentence)]];
    }),
  );
};

const base = lock.images["box"]!.packages!["base-tools"]!["linux/amd64"]!;
const cases: [string, Change, Record<string, string[]>][] = [
  ["nothing", {}, {}],
  [
    "base digest",
    { lock: lockWith((copy) => (copy.bases["docker.io/library/debian:12"] = `sha256:${hex("f")}`)) },
    { "base-tools": ["base docker.io/library/debian:12@sha256:aaaaaaaaaaaa → docker.io/library/debian:12@sha256:ffffffffffff"] },
  ],
  [
    "package version in the lock",
    {
      lock: lockWith(
        (copy) =>
          (copy.images["box"]!.packages!["base-tools"]!["linux/amd64"] = {
            ...base,
            packages: ["git=1:2.40", "jq=1.6", "libjq=1.7"],
          }),
      ),
    },
    { "base-tools": ["images.lock: git 1:2.39 → 1:2.40", "images.lock: libjq 1.6 → 1.7"] },
  ],
  [
    "package added, with what it brings",
    {
      spec: replaced("[git, jq]", "[git, jq, curl]"),
      lock: lockWith(
        (copy) =>
          (copy.images["box"]!.packages!["base-tools"]!["linux/amd64"] = {
            requested: ["curl", "git", "jq"],
            packages: ["curl=8", "git=1:2.39", "jq=1.6", "libcurl=8", "libjq=1.6"],
          }),
      ),
    },
    { "base-tools": ["package added: curl"] },
  ],
  ["tool version", { buildArgs: { TASK_VERSION: "1.1.0" } }, { "base-tools": ["tool task 1.0.0 → 1.1.0"] }],
  [
    "checksum of the same version",
    { lock: lockWith((copy) => (copy.tools["task"]!["download"]!["1.0.0"] = { "linux/amd64": { sha256: hex("9") } })) },
    { "base-tools": ["tool task: another file of the same version (sha256 cccccccccccc → 999999999999)"] },
  ],
  [
    "dependency changed",
    { pyproject: pyproject.replace("pyyaml>=6", "pyyaml>=7") },
    {
      dependencies: ['app/pyproject.toml: dependency pyyaml changed: "pyyaml>=6" → "pyyaml>=7"'],
      application: ["what installing app/pyproject.toml leaves is another"],
    },
  ],
  [
    "dependency removed",
    { pyproject: pyproject.replace('"pyyaml>=6"', "") },
    { dependencies: ['dependency removed "pyyaml>=6"'], application: ["what installing app/pyproject.toml leaves is another"] },
  ],
  [
    "description only",
    { pyproject: pyproject.replace("A box", "Another box") },
    { application: ["what installing app/pyproject.toml leaves is another"] },
  ],
  [
    "file changed",
    { entries: [file("app/main.py", hex("1")), ...entries.slice(1)] },
    { application: ["app/main.py changed (eeeeeeeeeeee → 111111111111)"] },
  ],
  [
    "file executable",
    { entries: [file("app/main.py", hex("e"), true), ...entries.slice(1)] },
    { application: ["app/main.py is executable now"] },
  ],
  [
    "file added and removed",
    { entries: [file("app/other.py"), ...entries.slice(1)] },
    { application: ["app/main.py removed", "app/other.py added"] },
  ],
  [
    "file of a file step",
    { entries: [...entries.slice(0, 2), file("conf/from", hex("2"))] },
    {
      "base-tools": [expect.stringMatching(/^conf\/from changed \(/) as string],
      application: ["conf/from changed (eeeeeeeeeeee → 222222222222)"],
    },
  ],
  ["run command", { spec: replaced('command: "true"', 'command: "false"') }, { application: ["warm: command true → false"] }],
  [
    "config",
    { spec: replaced('LEVEL: "1"', 'LEVEL: "2", MORE: x') },
    { runtime: ["config env.LEVEL 1 → 2", "config env.MORE added (x)"] },
  ],
  ["directory mode", { spec: replaced('"2775"', '"755"') }, { runtime: ["/workspace: mode 2775 → 755"] }],
  [
    "user",
    { spec: replaced("uid: 1001", "uid: 1002") },
    { runtime: ["user box: uid 1001 → 1002", "config user 1001:0 → 1002:0"] },
  ],
  [
    "epoch",
    { spec: (text) => `epoch: 2001-01-01T00:00:00Z\n${text}` },
    Object.fromEntries(
      ["base-tools", "dependencies", "application", "runtime"].map((stage) => [
        stage,
        ["epoch 1980-01-02T00:00:00Z → 2001-01-01T00:00:00Z"],
      ]),
    ),
  ],
];

describe("what differs is named", () => {
  test.each(cases)("%s", (_name, change, wanted) => expect(said(change)).toEqual(wanted));

  // The promise behind `nothing-obvious`: two stages whose own ingredients differ always have a difference to tell.
  test.each(cases)("%s: a stage has differences exactly when its own ingredients moved", (_name, change) => {
    const [was, now] = [planOf(), planOf(change)];
    for (const [at, { ingredients }] of now.stages.entries()) {
      const own = (value: Ingredients) => JSON.stringify({ ...value, parent: "base" in value.parent ? value.parent : null });
      const before = was.stages[at]!.ingredients;
      expect(differences(before, ingredients).length > 0).toBe(own(before) !== own(ingredients));
    }
  });
});
