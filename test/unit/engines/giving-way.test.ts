import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildkitEngine } from "../../../ci/engines/buildkit/buildkit-engine.js";
import type { Job } from "../../../ci/engines/interface/engine.js";
import { explainFailure } from "../../../ci/engines/buildkit/explain-failure.js";
import { givingWay } from "../../../ci/engines/giving-way.js";
import { FactoryError } from "../../../dagger/src/pipeline/common/error.js";

/** What happens when an engine that looked well cannot be used. */
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "giving-way-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const job = (): Job => ({
  stage: "base-tools",
  platform: "linux/amd64",
  dockerfile: "",
  context: folder,
  images: {},
  folders: {},
  buildArgs: {},
  secrets: [],
  epoch: 0,
  labels: [],
  compression: "zstd",
  noCache: false,
  output: { to: "nothing" },
});
const error = (code: "ENGINE_FAILED" | "INTERRUPTED" | "DISK_FULL", what: string) =>
  new FactoryError(code, { what, why: "it is so", fix: "none" });
const engineThat = (failure: FactoryError) =>
  buildkitEngine({
    address: "here",
    features: new Set(),
    open: async () => {
      throw failure;
    },
  });
const run = (engine: ReturnType<typeof givingWay>) => engine.execute(job(), () => undefined, new AbortController().signal);

test("two jobs that fail at the same time change the engine once, and say why", async () => {
  const told: string[] = [];
  const first = { name: "dagger", engine: engineThat(error("ENGINE_FAILED", "no session")), because: "" };
  const engine = givingWay(first, async (gone) => {
    told.push(...[...gone].map(([name, why]) => `${name}: ${why}`));
    throw error("ENGINE_FAILED", "none is left");
  });
  const ended = await Promise.allSettled([run(engine), run(engine)]);
  expect(ended.map((one) => (one.status === "rejected" ? (one.reason as FactoryError).explanation.what : ""))).toEqual([
    "none is left",
    "none is left",
  ]);
  expect(told).toEqual(["dagger: no session: it is so"]);
});

test("the next one takes the job, and is what the record names", async () => {
  const first = { name: "dagger", engine: engineThat(error("ENGINE_FAILED", "no session")), because: "" };
  const second = { name: "embedded", engine: engineThat(error("DISK_FULL", "full")), because: "" };
  const engine = givingWay(first, async () => ({ ...second, engine: { ...second.engine, address: "there" } }));
  await expect(run(engine)).rejects.toMatchObject({ code: "DISK_FULL" });
  expect(engine.address).toBe("there");
});

test.each(["INTERRUPTED", "DISK_FULL"] as const)("%s is no reason for another engine", async (code) => {
  const engine = givingWay({ name: "x", engine: engineThat(error(code, "this")), because: "" }, async () => {
    throw new Error("nothing is chosen");
  });
  await expect(run(engine)).rejects.toMatchObject({ code, explanation: { what: "this" } });
});

test("a builder that docker buildx cannot start is an engine that failed, and no step", () => {
  const failed = { name: "[internal] booting buildkit", error: "pull access denied for moby/buildkit", tail: [] };
  expect(explainFailure(job(), "docker buildx builder mine", { exitCode: 1, stray: [], failed })).toMatchObject({
    code: "ENGINE_FAILED",
    explanation: { why: expect.stringContaining("pull access denied") as string },
  });
});
