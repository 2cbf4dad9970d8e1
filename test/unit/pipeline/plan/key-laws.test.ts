import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { canonical } from "../../../../dagger/src/pipeline/common/canonical.js";
import { type StageName, stageNames } from "../../../../dagger/src/pipeline/common/stage.js";
import type { KeyChange } from "../../../fixtures/key-change.js";
import { ownChanges } from "../../../fixtures/key-changes-own.js";
import { resolvedChanges } from "../../../fixtures/key-changes-resolved.js";
import { keysOf, planOf, type PlanWorld, pyproject, stageText, worlds } from "../../../fixtures/spec-world.js";

const stage = fc.constantFrom(...stageNames);

describe("an ingredient changes the key of its stage and of all above it, and of none below", () => {
  test.each([...resolvedChanges, ...ownChanges].map((change) => [change.name, change] as const))("%s", (_, change) => {
    fc.assert(
      fc.property(worlds, stage, (generated, chosen) => {
        const { before, after, lowest } = changed(change, generated, chosen);
        const first = stageNames.indexOf(lowest);
        expect(after.slice(0, first)).toEqual(before.slice(0, first));
        for (const [at, key] of after.entries()) if (at >= first) expect(key).not.toBe(before[at]);
      }),
      { numRuns: 30 },
    );
  });
});

const changed = (change: KeyChange, generated: PlanWorld, chosen: StageName) => {
  const world = structuredClone(generated);
  const lowest = change.moves === "chosen" ? chosen : change.moves;
  change.prepare?.(world, lowest);
  const before = keysOf(planOf(world));
  change.change(world, lowest);
  return { before, after: keysOf(planOf(world)), lowest };
};

describe("what is no ingredient changes no key", () => {
  const still: Record<string, (world: PlanWorld) => void> = {
    "the registry": ({ spec }) => (spec.registry = "other.example"),
    "the repository": ({ spec }) => (spec.images["it"]!.repository = "renamed"),
    "a secret": ({ spec }) => (spec.secrets = { token: { from: "env:A", as: "env:B" } }),
    "another image": ({ spec }) => (spec.images["other"] = structuredClone(spec.images["it"]!)),
    "a tool that no stage has": ({ spec }) =>
      (spec.tools["idle"] = { version: "1", download: { url: "https://x.example/idle" } }),
    "a file that no stage reads": ({ files }) => (files["README"] = { text: "read me" }),
    "where the context lies": ({ spec }) => (spec.images["it"]!.context = "elsewhere"),
    "ignore lines that match nothing": ({ spec }) => (spec.images["it"]!.ignore = ["*.nothing"]),
    "a platform less": (world) => (world.spec.images["it"]!.platforms = [world.platform]),
    "the order of packages, and one that stands twice": (world) => {
      for (const name of stageNames)
        stageText(world, name)
          .packages?.reverse()
          .push(...(stageText(world, name).packages ?? []));
    },
    "the name that a command is shown under": (world) => {
      for (const name of stageNames) for (const command of stageText(world, name).run ?? []) command.name = "another name";
    },
    "the reference that a base's digest was found under": ({ spec, lock }) => {
      const { base } = spec.images["it"]!;
      if (base["image"] === undefined) return;
      base["image"] = "mirror.example/copy:9";
      lock.bases["mirror.example/copy:9"] = lock.bases["registry.example/base:9"]!;
    },
  };
  test.each(Object.entries(still))("%s", (_, change) => {
    fc.assert(
      fc.property(worlds, (generated) => {
        const world = structuredClone(generated);
        const before = keysOf(planOf(world));
        change(world);
        expect(keysOf(planOf(world))).toEqual(before);
      }),
      { numRuns: 50 },
    );
  });
});

describe("a changed description", () => {
  const described = (generated: PlanWorld, isCopied: boolean) => {
    const world = structuredClone(generated);
    stageText(world, "dependencies").python = { projects: ["py/pyproject.toml"] };
    if (isCopied) Object.assign(stageText(world, "application"), { copy: [{ path: "py", to: "py" }], to: "/opt/it" });
    const keys = ["An application", "The same, in other words"].map((description) => {
      world.files["py/pyproject.toml"] = { text: pyproject(["pyyaml>=6"], description) };
      return keysOf(planOf(world));
    });
    return [keys[0]!, keys[1]!] as const;
  };

  test("changes nothing where the project is not copied", () => {
    fc.assert(
      fc.property(worlds, (world) => {
        const [before, after] = described(world, false);
        expect(after).toEqual(before);
      }),
    );
  });

  test("changes the stage that copies the project, and never the dependencies", () => {
    fc.assert(
      fc.property(worlds, (world) => {
        const [before, after] = described(world, true);
        expect(after.slice(0, 2)).toEqual(before.slice(0, 2));
        expect(after[2]).not.toBe(before[2]);
      }),
    );
  });
});

describe("a key is the hash of one printable value", () => {
  test("whose text can be read back, so that different values have different texts", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(JSON.parse(canonical(value))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  test("equal ingredients, equal keys; different ingredients, different keys", () => {
    const seen = new Map<string, string>();
    fc.assert(
      fc.property(worlds, (world) => {
        for (const { key, ingredients } of planOf(world).stages) {
          const text = canonical(ingredients);
          expect(seen.get(key) ?? text).toBe(text);
          seen.set(key, text);
          expect(key).toMatch(/^[0-9a-f]{24}$/);
        }
      }),
      { numRuns: 500 },
    );
    expect(new Set(seen.values()).size).toBe(seen.size);
  });
});
