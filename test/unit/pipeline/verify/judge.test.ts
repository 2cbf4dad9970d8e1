import { describe, expect, test } from "vitest";
import type { Plan } from "../../../../dagger/src/pipeline/plan/types.js";
import type { StageName } from "../../../../dagger/src/pipeline/common/stage.js";
import {
  type After,
  type Before,
  type EngineSteps,
  type Evidence,
  type BuiltStage,
  judge,
  planned,
} from "../../../../dagger/src/pipeline/verify/judge.js";
import type { Change } from "../../../../dagger/src/pipeline/verify/case.js";
import { type Fault, faultText } from "../../../../dagger/src/pipeline/verify/fault.js";
import { outcomeOf } from "../../../../dagger/src/pipeline/verify/case-result.js";
import { entries, file, hex, lockWith, planOf, pyproject, replaced } from "../../../fixtures/box.js";

/** An image whose application is assembled, as most are. */
const assembled = replaced(', run: [{ name: warm, command: "true", inputs: [conf/from] }]', "");
const was = planOf({ spec: assembled });
const coded = planOf({ spec: assembled, entries: [file("app/main.py", hex("1")), ...entries.slice(1)] });
const retooled = planOf({ spec: assembled, buildArgs: { TASK_VERSION: "1.1.0" } });

const layer = (name: string) => ({
  mediaType: "tar",
  digest: `sha256:${name}`,
  size: 1,
  diffId: `plain ${name}`,
  createdBy: `made ${name}`,
});
/** What a stage holds: one layer of that name. */
const holds = (name: string, settings = "{}"): BuiltStage => ({
  digest: `image of ${name} ${settings}`,
  layers: [layer(name)],
  settings,
});
const names: readonly StageName[] = ["base-tools", "dependencies", "application", "runtime"];
const held = (changed: Partial<Record<StageName, BuiltStage>> = {}) =>
  new Map(names.map((name) => [name, changed[name] ?? holds(name)]));
/** A stage that is built on another one: an image of its own with the layers of before. */
const restood = (name: StageName): BuiltStage => ({ ...holds(name), digest: `image of ${name} elsewhere` });

const before: Before = { plan: was, stages: held() };
const change = (more: Partial<Change>): Change => ({
  says: "app/main.py has a line more",
  edits: [],
  buildArgs: {},
  must: [],
  may: [],
  bytes: [],
  arrives: [],
  by: { by: "build" },
  ...more,
});
const code = change({ must: ["application"], may: ["application"], bytes: ["application"] });
const evidence = (more: Partial<Evidence>): Evidence => ({
  stages: held(),
  steps: new Map(),
  engineStarted: false,
  remade: [],
  absent: [],
  ...more,
});
const steps = (given: Partial<Record<StageName, EngineSteps>>) => new Map(Object.entries(given) as [StageName, EngineSteps][]);
const after = (plan: Plan, seen: Partial<Evidence> | null, failure: After["failure"] = null): After => ({
  ...planned(was, plan),
  evidence: seen === null ? null : evidence(seen),
  failure,
});
const told = (one: Change, then: After, from: Before = before) => judge(one, from, then).faults.map(faultText);
const good = held({ application: holds("new"), runtime: restood("runtime") });

describe("a change that did what it may", () => {
  test("has no fault, and each stage is called what was seen of it", () => {
    expect(judge(code, before, after(coded, { stages: good }))).toEqual({
      cells: { "base-tools": "reused", dependencies: "reused", application: "assembled", runtime: "reused" },
      faults: [],
      notTested: null,
    });
  });

  test("on a plan alone says what the plan says", () => {
    expect(judge(code, before, after(coded, null)).cells).toEqual({
      "base-tools": "reuse",
      dependencies: "reuse",
      application: "assemble",
      runtime: "assemble",
    });
  });

  test("may execute what is built on a changed base, and move the bytes that read its account files", () => {
    const tool = change({ must: ["base-tools"], may: ["base-tools"], bytes: ["base-tools"] });
    const stages = held({
      "base-tools": holds("t"),
      dependencies: holds("d"),
      application: restood("application"),
      runtime: holds("r"),
    });
    const seen = {
      stages,
      steps: steps({ "base-tools": { ran: 2, cached: 0 }, dependencies: { ran: 0, cached: 1 } }),
      engineStarted: true,
    };
    expect(judge(tool, before, after(retooled, seen))).toMatchObject({
      cells: { "base-tools": "executed", dependencies: "executed", application: "reused", runtime: "assembled" },
      faults: [],
    });
  });
});

test("another base is a change of base-tools itself, whose bytes it may move", () => {
  const based = planOf({
    spec: assembled,
    lock: lockWith((copy) => (copy.bases["docker.io/library/debian:12"] = `sha256:${hex("f")}`)),
  });
  const stages = held({
    "base-tools": holds("b"),
    dependencies: holds("d"),
    application: restood("application"),
    runtime: holds("r"),
  });
  const seen = {
    stages,
    steps: steps({ "base-tools": { ran: 2, cached: 0 }, dependencies: { ran: 1, cached: 0 } }),
    engineStarted: true,
  };
  expect(told(change({ must: ["base-tools"], may: ["base-tools"] }), after(based, seen))).toEqual([]);
});

describe("faults", () => {
  const executed = { dependencies: { ran: 1, cached: 0 } } as const;
  const found: [string, Change, After, string[]][] = [
    [
      "a key that stayed",
      code,
      after(was, {}),
      [`application: its key ${was.stages[2]!.key.slice(0, 12)} stayed, although app/main.py has a line more`],
    ],
    [
      "a key that moved, with the ingredient",
      change({}),
      after(coded, null),
      [
        `application: its key moved (${was.stages[2]!.key.slice(0, 12)} → ${coded.stages[2]!.key.slice(0, 12)}), and nothing of it should have: app/main.py changed (eeeeeeeeeeee → 111111111111)`,
      ],
    ],
    [
      "other bytes under a key that stayed",
      change({}),
      after(was, { stages: held({ runtime: holds("odd") }) }),
      ['runtime: nothing of it changed, and it holds other bytes now, in the layer of "made odd"'],
    ],
    [
      "other bytes where only the stage below changed",
      code,
      after(coded, { stages: held({ application: holds("new"), runtime: holds("odd") }) }),
      ['runtime: nothing of it changed, and it holds other bytes now, in the layer of "made odd"'],
    ],
    [
      "a new key and the bytes of before",
      code,
      after(coded, { stages: held({ application: restood("application"), runtime: restood("runtime") }) }),
      ["application: it holds the bytes of before, although app/main.py has a line more"],
    ],
    [
      "a stage that comes out different",
      change({ by: { by: "again" } }),
      after(was, { remade: [{ stage: "application", layers: [layer("now")], settings: "{}", paths: ["/opt/stamp"] }] }),
      ['application: made again under the same key it came out different, in the layer of "made now": /opt/stamp'],
    ],
    [
      "a change that did not arrive",
      code,
      after(coded, { stages: good, absent: ["app/main.py"] }),
      ["app/main.py: what was changed in it is in no layer"],
    ],
    [
      "an engine that ran for nothing",
      code,
      after(coded, { stages: good, steps: steps(executed), engineStarted: true }),
      [
        "dependencies: the engine took 1 step for it, and none was to be taken",
        "an engine was started, although no stage was to be executed",
      ],
    ],
    [
      "an engine that was started for nothing",
      change({}),
      after(was, { engineStarted: true }),
      ["an engine was started, although no stage was to be executed"],
    ],
    [
      "a stage that was not executed",
      change({ must: ["dependencies"], may: ["dependencies", "application"] }),
      after(planOf({ spec: assembled, pyproject: pyproject.replace("pyyaml>=6", "pyyaml>=7") }), {
        stages: held({ application: holds("a"), runtime: restood("runtime") }),
      }),
      ["dependencies: the engine reported no step of it, and it was to be executed"],
    ],
    [
      "a build that failed where nothing was to be executed",
      code,
      after(coded, null, { code: "ENGINE_MISSING", what: "no engine can execute a stage here", why: "none" }),
      ["it could not be built: ENGINE_MISSING: no engine can execute a stage here: none"],
    ],
  ];
  test.each(found)("%s", (_, one, then, texts) => expect(told(one, then)).toEqual(texts));

  test("what the planner said is held against the engine's reports", () => {
    const tool = change({ must: ["base-tools"], may: ["base-tools"] });
    const seen = after(retooled, {
      steps: steps({ "base-tools": { ran: 1, cached: 0 }, dependencies: { ran: 1, cached: 0 } }),
      engineStarted: true,
    });
    const lying = {
      ...seen,
      decisions: seen.decisions.map((one) => (one.stage.stage === "dependencies" ? { ...one, action: "reuse" as const } : one)),
    };
    expect(told(tool, lying)).toEqual(["dependencies: the plan said reuse, and the engine's own reports say otherwise"]);
  });

  test("a machine that cannot execute is no fault of the cache: not tested, and why", () => {
    const dependency = change({ must: ["dependencies"], may: ["dependencies", "application"] });
    const plan = planOf({ spec: assembled, pyproject: pyproject.replace("pyyaml>=6", "pyyaml>=7") });
    const then = after(plan, null, { code: "STEP_FAILED", what: "the install failed", why: "no route to the index\nmore" });
    const judgement = judge(dependency, before, then);
    expect(judgement).toMatchObject({ faults: [], notTested: "the install failed: no route to the index" });
    expect(outcomeOf(dependency, before, then, judgement, null)).toMatchObject({ verdict: "not-tested", proof: "plan" });
    // What the proof's own change broke says nothing of the cache either, and is an error.
    expect(told(dependency, { ...then, failure: { code: "LOCK_STALE", what: "w", why: "y" } })).toEqual([
      "the proof itself failed: LOCK_STALE: w: y",
    ]);
  });
});

test("every fault has its words", () => {
  const all: Fault[] = [
    { fault: "contradicted", stage: "runtime", said: "reuse" },
    { fault: "stale", stage: "runtime", because: "x" },
    { fault: "key-moved", stage: "runtime", was: "a", now: "b", culprits: [{ why: "nothing-obvious" }] },
  ];
  expect(all.map(faultText).every((text) => text.startsWith("runtime: "))).toBe(true);
});
