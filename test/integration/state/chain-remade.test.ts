import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { keepStage, readRecord } from "../../../ci/state/records.js";
import { stateOf } from "../../../ci/state/state.js";
import { readBlob, readManifest, writeJson } from "../../../dagger/src/oci-layout/blobs.js";
import { type ImageIndex, mediaTypes } from "../../../dagger/src/pipeline/oci/manifest.js";
import type { Plan } from "../../../dagger/src/pipeline/plan/types.js";
import { built, command, planned } from "../support/command.js";
import { openToolbox, type Toolbox } from "../support/toolbox.js";

/** A stage that was made again under its key, and the stages that were built on what it was before. */
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
const local = () => stateOf(project, { FACTORY_STATE: state }, "protected");

describe("a stage below that has another result now", () => {
  test("what was built on the one before does not count", async () => {
    const other = await box.machine("empty");
    await box.executed(other, project, "other");
    // As NO_CACHE=1 REFRESH=1 STAGE=dependencies leaves a state folder: a new result under the same key.
    await box.executed(state, project, "other");
    expect(await planned(project, state)).toEqual([
      "base-tools reuse",
      "dependencies reuse",
      "application reuse",
      "runtime assemble",
    ]);
    expect(await built(project, state)).toBe(await built(project, other));
    expect(await built(project, state)).not.toBe(digest);
  });

  test("of base-tools alone: dependencies is executed again", async () => {
    const other = await box.machine("empty");
    await box.executed(other, project, "other");
    const before = readRecord(local(), keyOf("dependencies"))!;
    const base = readRecord(local(), keyOf("base-tools"))!.digest;
    await box.executed(state, project, "other");
    keepStage(local(), { ...before, parent: base });
    expect(await planned(project, state)).toEqual([
      "base-tools reuse",
      "dependencies execute",
      "application reuse",
      "runtime assemble",
    ]);
    expect((await command(project, state, "plan")).stdout).toContain("it was built on another result of the stage below");
  });
});

describe("report", () => {
  test.each<["here" | "elsewhere"]>([["here"], ["elsewhere"]])(
    "tells nothing of dependencies that were executed %s on another base-tools than is kept",
    async (where) => {
      const whole = await command(project, state, "report");
      expect(whole.code).toBe(0);
      const before = readRecord(local(), keyOf("dependencies"))!;
      const base = readRecord(local(), keyOf("base-tools"))!.digest;
      await box.executed(state, project, "other");
      keepStage(local(), { ...before, parent: where === "here" ? base : null });
      expect(await command(project, state, "report")).toMatchObject({
        error: {
          code: "INPUT_MISSING",
          explanation: {
            what: "dependencies of small for linux/amd64 is not built",
            why: "what is kept of it was built on another result of the stage below",
          },
        },
      });
    },
  );
});

test("a record of a cached stage that this version does not read is as good as absent: as an earlier version left it", async () => {
  const { layout } = local();
  const before = readRecord(local(), keyOf("dependencies"))!;
  const ref = readBlob<ImageIndex>(layout, before.ref!);
  const { annotations: _none, ...artifact } = readManifest(layout, ref.manifests[1]!.digest);
  const old = await writeJson(layout, mediaTypes.manifest, artifact);
  const manifests = [ref.manifests[0]!, { ...ref.manifests[1]!, ...old }];
  const { digest: kept } = await writeJson(layout, mediaTypes.index, { ...ref, manifests });
  keepStage(local(), { ...before, ref: kept });
  expect((await planned(project, state))[1]).toBe("dependencies execute");
  expect((await command(project, state, "plan")).stdout).toContain("a part of it is missing or damaged");
  expect(await command(project, state, "build")).toMatchObject({ code: 69, error: { code: "ENGINE_MISSING" } });
  expect(await command(project, state, "report")).toMatchObject({ error: { code: "INPUT_MISSING" } });
  await box.executed(state, project);
  expect(await built(project, state)).toBe(digest);
});
