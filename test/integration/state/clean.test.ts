import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { clean } from "../../../ci/commands/clean.js";
import { nameInLayout } from "../../../ci/state/layout-index.js";
import { findStage, hasRecord, keepLastKeys, keepStage } from "../../../ci/state/records.js";
import { type State, stateOf } from "../../../ci/state/state.js";
import { writeBlob, writeJson } from "../../../dagger/src/oci-layout/blobs.js";
import { writeStageArtifact } from "../../../dagger/src/oci-layout/stage-store.js";
import type { PlannedStage } from "../../../dagger/src/pipeline/plan/types.js";
import { mediaTypes } from "../../../dagger/src/pipeline/oci/manifest.js";
import { worldAt } from "../../fixtures/world.js";

let folder = "";
let state: State;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "factory-clean-"));
  state = stateOf(folder, {});
  await writeFile(
    join(folder, "images.yaml"),
    `registry: registry.example\nimages:\n  box:\n    repository: box\n    platforms: [linux/amd64]\n    base: { bootstrap: debian, suite: bookworm, packages: apt }\n    stages: { base-tools: {}, dependencies: {}, application: {}, runtime: {} }\n`,
  );
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** A result of a stage: an image of its own in the layout, and the record of it. */
const result = async (key: string, stage: "dependencies" | "runtime", at: number) => {
  const about = JSON.stringify({ os: "linux", architecture: "amd64", rootfs: { type: "layers", diff_ids: [] }, key });
  const config = { mediaType: mediaTypes.config, ...(await writeBlob(state.layout, [Buffer.from(about)])) };
  const image = await writeJson(state.layout, mediaTypes.manifest, { schemaVersion: 2, config, layers: [] });
  // An assembled stage has no artifact.
  const planned = { stage, key, ingredients: { platform: "linux/amd64" } } as unknown as PlannedStage;
  const ref = stage === "runtime" ? null : await writeStageArtifact(state.layout, planned, image.digest, null);
  await nameInLayout(state.layout, key, ref ?? image);
  const record = { image: "box", platform: "linux/amd64", digest: image.digest, ref: ref?.digest ?? null } as const;
  keepStage(state, {
    key,
    stage,
    ...record,
    elsewhere: null,
    parent: null,
    trust: "protected",
    engine: "a test",
    at,
    seconds: 1,
  });
};

test("the newest results of each stage stay, executed or assembled; older ones are forgotten with their blobs", async () => {
  for (const at of [1, 2, 3]) {
    await result(`dependencies-${at}`, "dependencies", at);
    await result(`runtime-${at}`, "runtime", at);
  }
  const { world, stdout } = worldAt(folder, {});
  expect(await clean.run(["--keep", "2"], world)).toBe(0);
  expect(stdout()).toMatch(/^forgot 2 stages, freed [\d.]+ k?B\n$/);
  for (const stage of ["dependencies", "runtime"]) {
    expect(hasRecord(state, `${stage}-1`)).toBe(false);
    for (const at of [2, 3]) expect(findStage(state, `${stage}-${at}`)).toMatchObject({ at });
  }
});

test("what the last build of an image is built on stays, however old it is", async () => {
  for (const at of [11, 12, 13]) await result(`dependencies-${at}`, "dependencies", at);
  keepLastKeys(state, "box", "linux/amd64", { dependencies: "dependencies-11" });
  const { world } = worldAt(folder, {});
  expect(await clean.run(["--keep", "1"], world)).toBe(0);
  expect([11, 12, 13].map((at) => hasRecord(state, `dependencies-${at}`))).toEqual([true, false, true]);
});

test("--all empties a state folder of what is ours, and touches nothing else that stands there", async () => {
  await result("runtime-20", "runtime", 20);
  const { world, stdout } = worldAt(folder, {});
  expect(await clean.run(["--all"], world)).toBe(0);
  expect(stdout()).toBe(`removed ${state.root}\n`);
  expect(existsSync(state.root)).toBe(false);

  const shared = join(folder, "shared");
  await mkdir(join(shared, "runs"), { recursive: true });
  await writeFile(join(shared, "thesis.txt"), "years of work");
  const other = worldAt(folder, { FACTORY_STATE: shared });
  expect(await clean.run(["--all"], other.world)).toBe(0);
  expect(await readdir(shared)).toEqual(["thesis.txt"]);
  expect(other.stderr()).toContain("thesis.txt");
});

test.each(["abc", "-1", ""])("KEEP=%j is no number of results", async (keep) => {
  const { world } = worldAt(folder, {});
  await expect(clean.run(["--keep", keep], world)).rejects.toMatchObject({ code: "USAGE" });
});
