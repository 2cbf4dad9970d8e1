import { describe, expect, test } from "vitest";
import { causesOf, decide, type Knowledge } from "../../../../dagger/src/pipeline/decide/decide.js";
import { causeOf, sentence } from "../../../../dagger/src/pipeline/explain/reasons-text.js";
import type { Ingredients } from "../../../../dagger/src/pipeline/plan/key.js";
import type { Plan } from "../../../../dagger/src/pipeline/plan/types.js";
import type { StageName } from "../../../../dagger/src/pipeline/common/stage.js";
import { type Change, entries, file, hex, planOf, pyproject, replaced } from "../../../fixtures/box.js";

const knowledge = (plan: Plan, more: Partial<Knowledge> = {}): Knowledge => ({
  known: new Map(plan.stages.map(({ key }) => [key, { at: "state" }])),
  previous: new Map<StageName, Ingredients>(plan.stages.map(({ stage, ingredients }) => [stage, ingredients])),
  damaged: new Map(),
  ...more,
});
const actions = (change: Change) =>
  decide(planOf(change), knowledge(planOf()), false).map(({ stage, action }) => `${stage.stage} ${action}`);
const assembled = replaced(', run: [{ name: warm, command: "true", inputs: [conf/from] }]', "");

describe("decisions", () => {
  test("nothing changed: everything is reused, and nothing is a cause", () => {
    const decisions = decide(planOf(), knowledge(planOf()), false);
    expect(decisions.map(({ action }) => action)).toEqual(["reuse", "reuse", "reuse", "reuse"]);
    expect(causesOf(decisions)).toEqual([]);
  });

  test("a run step makes its stage an executed one", () =>
    expect(actions({ entries: [file("app/main.py", hex("1")), ...entries.slice(1)] })).toEqual([
      "base-tools reuse",
      "dependencies reuse",
      "application execute",
      "runtime assemble",
    ]));

  test("an assembled layer that reads nothing below is there after a change below it", () => {
    const was = planOf({ spec: assembled });
    const now = planOf({ spec: assembled, pyproject, buildArgs: { TASK_VERSION: "1.1.0" } });
    const decisions = decide(now, knowledge(was), false);
    expect(decisions.map(({ action, reasons }) => [action, ...reasons.map(sentence)])).toEqual([
      ["execute", "tool task 1.0.0 → 1.1.0"],
      ["execute", "after base-tools"],
      ["reuse", "its layer does not depend on what changed"],
      ["assemble", "after application (reads its account files)"],
    ]);
    expect(causesOf(decisions).map(causeOf)).toEqual(["images.yaml"]);
  });

  test("never built, asked and damaged say so", () => {
    const plan = planOf();
    const of = (known: Knowledge, anew = false) => decide(plan, known, anew).map(({ reasons }) => reasons.map(sentence).join());
    expect(new Set(of({ known: new Map(), previous: new Map(), damaged: new Map() }))).toEqual(
      new Set(["never built: nothing is known of this stage"]),
    );
    expect(new Set(of(knowledge(plan), true))).toEqual(new Set(["NO_CACHE asks for it"]));
    const [first] = plan.stages;
    expect(of(knowledge(plan, { known: new Map(), damaged: new Map([[first!.key, "a blob is gone"]]) }))[0]).toBe(
      "what is kept is damaged: a blob is gone",
    );
  });

  test("what was made of the same and is kept no more was forgotten, and nobody's change is the cause", () => {
    const plan = planOf();
    const known = new Map(plan.stages.slice(0, 3).map(({ key }) => [key, { at: "state" } as const]));
    const decisions = decide(plan, knowledge(plan, { known }), false);
    expect(sentence(decisions[3]!.reasons[0]!)).toBe("it was made of the same, and what was kept of it is gone");
    expect(causesOf(decisions).map(causeOf)).toEqual([null]);
  });

  test("an executed stage that is known holds those below it; an assembled one counts only where all below it is there", () => {
    const plan = planOf({ spec: assembled });
    const knowing = (...at: number[]) => new Map([...knowledge(plan).known].filter((_, index) => at.includes(index)));
    const of = (...at: number[]) =>
      decide(plan, { known: knowing(...at), previous: new Map(), damaged: new Map() }, false).map(({ action }) => action);
    expect(of(1)).toEqual(["reuse", "reuse", "assemble", "assemble"]);
    expect(of(1, 2, 3)).toEqual(["reuse", "reuse", "reuse", "reuse"]);
    expect(of(3)).toEqual(["execute", "execute", "assemble", "assemble"]);
    expect(of(2)).toEqual(["execute", "execute", "assemble", "assemble"]);
    expect(of(1, 3)).toEqual(["reuse", "reuse", "assemble", "assemble"]);
    expect(of(0, 3)).toEqual(["reuse", "execute", "assemble", "assemble"]);
    expect(of(0, 2, 3)).toEqual(["reuse", "execute", "assemble", "assemble"]);
  });
});
