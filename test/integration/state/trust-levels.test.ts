import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { rememberedFrames, rememberedLayers } from "../../../ci/state/known-layers.js";
import { allStages, findStage, keepStage, readRecord } from "../../../ci/state/records.js";
import { stateOf } from "../../../ci/state/state.js";
import { lowestTrust, type TrustLevel } from "../../../dagger/src/pipeline/common/trust-level.js";
import { built, command, planned } from "../support/command.js";
import { openPublishing, type Publishing } from "../support/publishing.js";
import { whyNoRegistry } from "../support/registry.js";
import { openToolbox, type Toolbox } from "../support/toolbox.js";

/** One state folder, used by builds of different trust: what a lower one made or fetched does not exist for a higher one. */
const stateAt = (root: string, trust: TrustLevel) => stateOf("/", { FACTORY_STATE: root }, trust);
const trustOf = (root: string) =>
  Object.fromEntries(allStages(stateAt(root, "fork")).map(({ stage, platform, trust }) => [`${stage} ${platform}`, trust]));
const as = (scope: TrustLevel) => ({ FACTORY_SCOPE: scope });

test("the lowest of several levels counts", () => {
  expect(lowestTrust("protected", "branch", "protected")).toBe("branch");
  expect(lowestTrust("branch", "protected", "fork")).toBe("fork");
  expect(lowestTrust("protected")).toBe("protected");
});

describe("what a branch made", () => {
  let box: Toolbox;
  let project: string;
  let state: string;
  beforeAll(async () => void (box = await openToolbox()));
  afterAll(() => box.close());
  beforeEach(async () => {
    project = await box.checkout();
    state = await box.machine("executed");
  });
  const key = async (at: number) => (await box.plan(project)).stages[at]!.key;

  test("is used by a branch, and neither used nor overwritten in silence by a protected build", async () => {
    // As a branch leaves it that executed dependencies on a base that it pulled from its sibling repository.
    const dependencies = readRecord(stateAt(state, "protected"), await key(1))!;
    keepStage(stateAt(state, "branch"), { ...dependencies, trust: "branch" });
    const digest = await built(project, state, [], as("branch"));
    expect(trustOf(state)).toMatchObject({
      "base-tools linux/amd64": "protected",
      "application linux/amd64": "branch",
      "runtime linux/amd64": "branch",
    });

    expect(await planned(project, state, as("protected"))).toEqual([
      "base-tools reuse",
      "dependencies execute",
      "application assemble",
      "runtime assemble",
    ]);
    expect((await command(project, state, "plan", [], as("protected"))).stdout).toContain(
      "it comes from a build of a branch, and this build is protected",
    );
    expect(await command(project, state, "build", ["--output", `oci:${join(box.root, "out")}`], as("protected"))).toMatchObject({
      code: 69,
    });
    expect(await command(project, state, "report", [], as("protected"))).toMatchObject({ code: 66 });
    expect(await command(project, state, "shell", [], as("protected"))).toMatchObject({ code: 66 });
    // The branch still has what it had.
    expect(await built(project, state, [], as("branch"))).toBe(digest);
    // What the protected build makes is its own, all the way up.
    await box.executed(state, project);
    expect(await built(project, state, [], as("protected"))).toBe(digest);
    expect(trustOf(state)).toMatchObject({
      "dependencies linux/amd64": "protected",
      "application linux/amd64": "protected",
      "runtime linux/amd64": "protected",
    });
  });

  test.each<[TrustLevel, TrustLevel]>([
    ["branch", "protected"],
    ["fork", "branch"],
    ["fork", "protected"],
  ])("layers and frames that a %s remembered are not taken by one that is %s", (low, high) => {
    const layer = { mediaType: "layer", digest: `sha256:${"a".repeat(64)}`, size: 1, diffId: `sha256:${"b".repeat(64)}` };
    rememberedLayers(stateAt(state, low), false).set("key", layer);
    expect(rememberedLayers(stateAt(state, low), false).get("key")).toEqual(layer);
    expect(rememberedLayers(stateAt(state, high), false).get("key")).toBeUndefined();
    const frames = { layer: layer.digest, frames: [] };
    rememberedFrames(stateAt(state, low), "place", false).set("zstd", frames);
    expect(rememberedFrames(stateAt(state, low), "place", false).get("zstd")).toMatchObject(frames);
    expect(rememberedFrames(stateAt(state, high), "place", false).get("zstd")).toBeNull();
    expect(rememberedFrames(stateAt(state, low), "place", false).get("gzip")).toBeNull();
    rememberedLayers(stateAt(state, high), false).set("key", layer);
    expect(rememberedLayers(stateAt(state, low), false).get("key")).toEqual(layer);
  });

  test("a record without a level, or with one that is none, is no record", async () => {
    const record = readRecord(stateAt(state, "protected"), await key(0))!;
    for (const trust of [undefined, "", "root", "__proto__"]) {
      keepStage(stateAt(state, "protected"), { ...record, trust: trust as TrustLevel });
      for (const level of ["protected", "branch", "fork"] as const)
        expect(findStage(stateAt(state, level), record.key)).toBeNull();
    }
  });
});

const why = await whyNoRegistry();
describe.skipIf(why !== null)(`what was fetched${why === null ? "" : ` (skipped: ${why})`}`, () => {
  let at: Publishing;
  beforeAll(async () => void (at = await openPublishing()));
  afterAll(() => at.close());

  test("has the level of its repository, or of the build where that is lower", async () => {
    const project = await at.box.checkout();
    const builder = await at.box.machine("executed");
    await at.publish(project, builder, [], as("branch"));
    const shared = await at.box.machine("empty");
    expect((await at.run(project, shared, ["build"], as("branch"))).code).toBe(0);
    expect(new Set(Object.values(trustOf(shared)))).toEqual(new Set(["branch"]));

    // The protected build finds nothing, asks nobody but its own repository, and pushes nothing.
    at.front.clear();
    const refused = await at.run(project, shared, ["publish"], as("protected"));
    expect(refused).toMatchObject({ code: 69 });
    expect(at.front.log.filter(({ method, path }) => method === "PUT" || path.includes("small-branches"))).toEqual([]);
    const offline = await at.run(project, shared, ["build", "--remote", "off"], as("protected"));
    expect(offline).toMatchObject({ code: 69 });

    // From the image's repository it is protected, for who is.
    await at.publish(project, builder, [], as("protected"));
    expect((await at.run(project, shared, ["build"], as("protected"))).code).toBe(0);
    expect(Object.values(trustOf(shared)).filter((level) => level === "protected")).toHaveLength(3);
    const fork = await at.box.machine("empty");
    expect((await at.run(project, fork, ["build"], as("fork"))).code).toBe(0);
    expect(new Set(Object.values(trustOf(fork)))).toEqual(new Set(["fork"]));
    expect(await readdir(join(fork, "stages"))).not.toEqual([]);
    await rm(fork, { recursive: true });
  });
});
