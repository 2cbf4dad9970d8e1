import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { buildStages } from "../../../dagger/src/build/build-stages.js";
import { checkChain } from "../../../dagger/src/build/chain.js";
import type { StageRecord } from "../../../dagger/src/build/stage-record.js";
import { readRecord } from "../../../ci/state/records.js";
import { stateOf } from "../../../ci/state/state.js";
import { buildImage, contextOf } from "../../../ci/build/build-image.js";
import { openImage, openProject } from "../../../ci/project/project.js";
import type { Decision } from "../../../dagger/src/pipeline/decide/decide.js";
import type { Plan } from "../../../dagger/src/pipeline/plan/types.js";
import { writeStageArtifact } from "../../../dagger/src/oci-layout/stage-store.js";
import { worldAt } from "../../fixtures/world.js";
import { built, command, planned } from "../support/command.js";
import { openToolbox, type Toolbox } from "../support/toolbox.js";

/**
 * A stage counts only with all that it is built on, down to the base: what is lost in the middle is made again, never left out.
 * (application is shown as reuse where its layer is there and only its manifest is written: "its layer does not depend on what changed".)
 */
let box: Toolbox;
let project: string;
let state: string;
let plan: Plan;
let digest: string;
beforeAll(async () => void (box = await openToolbox()));
afterAll(() => box.close());
beforeEach(async () => {
  project = await box.checkout();
  state = await box.machine("executed");
  plan = await box.plan(project);
  digest = await built(project, state);
});

const keyOf = (stage: string) => plan.stages.find((one) => one.stage === stage)!.key;
const forget = (stage: string) => rm(join(state, "stages", `${keyOf(stage)}.json`));
const local = () => stateOf(project, { FACTORY_STATE: state }, "protected");

describe("a stage in the middle that is lost", () => {
  test("dependencies: it is executed again, and nothing is built on base-tools in its place", async () => {
    await forget("dependencies");
    expect(await planned(project, state)).toEqual([
      "base-tools reuse",
      "dependencies execute",
      "application reuse",
      "runtime assemble",
    ]);
    expect((await command(project, state, "plan")).stdout).not.toContain("holds it");
    expect(await command(project, state, "build")).toMatchObject({ code: 69, error: { code: "ENGINE_MISSING" } });
  });

  test("application: it is assembled again, to the same image", async () => {
    await forget("application");
    expect(await planned(project, state)).toEqual([
      "base-tools reuse",
      "dependencies reuse",
      "application reuse",
      "runtime assemble",
    ]);
    expect(await built(project, state)).toBe(digest);
  });

  test("base-tools: dependencies holds all of it", async () => {
    await forget("base-tools");
    expect(await planned(project, state)).toEqual([
      "base-tools reuse",
      "dependencies reuse",
      "application reuse",
      "runtime reuse",
    ]);
    expect(await built(project, state)).toBe(digest);
  });

  test("all that is executed: runtime holds nothing by itself", async () => {
    await forget("base-tools");
    await forget("dependencies");
    expect(await planned(project, state)).toEqual([
      "base-tools execute",
      "dependencies execute",
      "application reuse",
      "runtime assemble",
    ]);
  });

  test("two that are lost, and any part of one that is damaged", async () => {
    await forget("dependencies");
    await forget("application");
    expect((await command(project, state, "build")).code).toBe(69);
    await box.executed(state, project);
    const { digest: kept } = readRecord(local(), keyOf("dependencies"))!;
    await writeFile(join(state, "layout/blobs", kept.replace(":", "/")), "{}");
    expect((await planned(project, state))[1]).toBe("dependencies execute");
  });
});

describe("whatever was decided", () => {
  const build = async (decide: (plan: Plan) => Decision[]) => {
    const { world } = worldAt(project, {
      FACTORY_STATE: state,
      FACTORY_REMOTE: "off",
      FACTORY_BUILDKIT: "none",
      FACTORY_SCOPE: "protected",
    });
    const opened = await openProject(world);
    const engine = () => Promise.reject(new Error("no engine is asked for"));
    const open = await openImage(opened, undefined);
    const context = contextOf({ project: opened, open, world, engine, emit: () => undefined }, null);
    return buildStages(context, plan, decide(plan), "no");
  };
  const reuse = (stage: Plan["stages"][number]): Decision => ({
    stage,
    action: "reuse",
    reasons: [{ why: "kept", where: { at: "state" } }],
  });
  const held = (stage: Plan["stages"][number]): Decision => ({
    stage,
    action: "reuse",
    reasons: [{ why: "held", by: "runtime" }],
  });
  const make = (stage: Plan["stages"][number]): Decision => ({
    stage,
    action: stage.kind === "executed" ? "execute" : "assemble",
    reasons: [{ why: "asked" }],
  });

  test.each<[string, readonly ((stage: Plan["stages"][number]) => Decision)[]]>([
    ["assembled on base-tools", [reuse, held, make, reuse]],
    ["assembled on dependencies in place of application", [reuse, reuse, held, make]],
    ["assembled on nothing", [held, held, make, make]],
    ["executed on nothing", [held, make, make, make]],
    ["reused without what it is built on", [held, held, held, reuse]],
  ])("no stage is %s", async (_, decisions) => {
    await forget("application");
    await forget("runtime");
    await expect(build(({ stages }) => stages.map((stage, at) => decisions[at]!(stage)))).rejects.toMatchObject({
      code: "CACHE_BROKEN",
    });
  });
});

test("an image of another platform becomes no stage: a base that is for one platform alone is taken by engines for any", async () => {
  const { stages } = await box.plan(project, "linux/arm64");
  const { digest: amd64 } = readRecord(local(), keyOf("base-tools"))!;
  await expect(writeStageArtifact(local().layout, stages[0]!, amd64, null)).rejects.toMatchObject({
    code: "CONFIG_INVALID",
    explanation: { what: "base-tools for linux/arm64 came out as an image for linux/amd64" },
  });
});

describe("before any tag, an image is held against its plan", () => {
  const made = async () => {
    const { world } = worldAt(project, {
      FACTORY_STATE: state,
      FACTORY_REMOTE: "off",
      FACTORY_BUILDKIT: "none",
      FACTORY_SCOPE: "protected",
    });
    const opened = await openProject(world);
    return buildImage(opened, await openImage(opened, undefined), world, {
      plans: [plan],
      upTo: "runtime",
      rebuild: "no",
      engine: "auto",
      verbose: false,
      cache: null,
      prefer: "local",
      untrusted: new Set(),
    });
  };

  test("one that is whole passes; one that lacks a stage, a layer or trust does not", async () => {
    const image = await made();
    expect(() => checkChain(local(), image)).not.toThrow();
    const [one] = image.platforms;
    const withRecord = (at: number, change: (record: StageRecord) => StageRecord | null) => ({
      ...image,
      platforms: [
        { ...one!, done: one!.done.map((done, index) => (index === at ? { ...done, record: change(done.record!) } : done)) },
      ],
    });
    const broken = expect.objectContaining({ code: "CACHE_BROKEN" }) as Error;
    const wrong = [
      withRecord(1, () => null),
      withRecord(2, () => null),
      withRecord(3, () => null),
      withRecord(2, (record) => ({ ...record, parent: one!.done[0]!.record!.digest })),
      withRecord(3, (record) => ({ ...record, parent: one!.done[1]!.record!.digest })),
      withRecord(3, (record) => ({ ...record, digest: one!.done[1]!.record!.digest })),
      withRecord(1, (record) => ({ ...record, ref: one!.done[0]!.record!.ref })),
      withRecord(1, (record) => ({ ...record, trust: "branch" })),
      { ...image, platforms: [{ ...one!, done: one!.done.slice(0, 3) }] },
      { ...image, platforms: [{ ...one!, plan: { ...plan, platform: "linux/arm64" as const } }] },
      { ...image, root: { ...image.root, digest: one!.done[2]!.record!.digest } },
    ];
    for (const [at, each] of wrong.entries()) expect(() => checkChain(local(), each), `case ${at}`).toThrow(broken);
  });
});
