import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { assembleStage, type AssembledStage, type AssembleInput } from "../../../dagger/src/oci-layout/write-stage.js";
import { takeSnapshot } from "../../../dagger/src/filesystem/take-snapshot.js";
import { indexLayers } from "../../../dagger/src/oci-layout/index-layers.js";
import { parentIndexOf } from "../../../dagger/src/pipeline/contents/parent-index.js";
import { configText, layerType, manifestText, mediaTypes } from "../../../dagger/src/pipeline/oci/manifest.js";
import type { PlannedStage } from "../../../dagger/src/pipeline/plan/types.js";
import type { StageKey } from "../../../dagger/src/pipeline/plan/key.js";
import type { StageName } from "../../../dagger/src/pipeline/common/stage.js";
import type { Step } from "../../../dagger/src/pipeline/steps/step.js";
import type { WrittenLayer } from "../../../dagger/src/oci-layout/write-layer.js";

const epoch = 315_619_200;
let folder: string;
let layout: string;
let context: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "factory-assemble-"));
  layout = join(folder, "layout");
  context = join(folder, "context");
  mkdirSync(join(layout, "blobs", "sha256"), { recursive: true });
  mkdirSync(join(context, "app"), { recursive: true });
  writeFileSync(join(context, "app", "a"), "small");
  writeFileSync(join(context, "app", "large"), Buffer.alloc(9 << 20, "large "));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const put = (bytes: string | Uint8Array) => {
  const hex = createHash("sha256").update(bytes).digest("hex");
  writeFileSync(join(layout, "blobs", "sha256", hex), bytes);
  return { digest: `sha256:${hex}`, size: Buffer.byteLength(bytes) };
};
const read = (digest: string) => readFileSync(join(layout, "blobs", digest.replace(":", "/")));
const json = (digest: string) => JSON.parse(read(digest).toString()) as Record<string, never>;
const blobs = () => readdirSync(join(layout, "blobs", "sha256")).sort();

/** An image of one layer that holds nothing. */
const parent = () => {
  const tar = new Uint8Array(1024);
  const layer = { mediaType: layerType("gzip"), ...put(gzipSync(tar)) };
  const diff = `sha256:${createHash("sha256").update(tar).digest("hex")}`;
  const config = {
    mediaType: mediaTypes.config,
    ...put(configText({ architecture: "amd64", os: "linux", rootfs: { type: "layers", diff_ids: [diff] } })),
  };
  return { digest: put(manifestText(config, [layer], [])).digest, layer };
};

const stage = (name: StageName, steps: readonly Step[]): PlannedStage =>
  ({
    stage: name,
    key: name as string as StageKey,
    kind: "assembled",
    ingredients: { steps: steps.map((step) => ({ step, script: null })) },
  }) as unknown as PlannedStage;

type Given = Omit<AssembleInput, "stage"> & { stages: readonly PlannedStage[] };

/** One stage after the other, each on the one before, as a build does it. */
const assembleStages = async ({ stages, ...given }: Given): Promise<{ stages: AssembledStage[] }> => {
  const done: AssembledStage[] = [];
  for (const one of stages) {
    const below = done.at(-1);
    const parent = below === undefined ? {} : { parentDigest: below.digest, parentIndex: below.index };
    done.push(await assembleStage({ ...given, ...parent, stage: one }));
  }
  return { stages: done };
};

const input = async (steps: readonly Step[][]): Promise<Given> => {
  const snapshot = await takeSnapshot(context, { roots: ["app"], texts: [], ignore: [] });
  const below = parent();
  const named = (["application", "runtime"] as const).map((name, at) => stage(name, steps[at] ?? []));
  return {
    layout,
    parentDigest: below.digest,
    parentIndex: parentIndexOf(await indexLayers(layout, [below.layer], null)),
    plan: { epoch, compression: "gzip", stages: named },
    stages: named,
    contextFolder: context,
    snapshot,
    remembered: new Map<string, WrittenLayer>(),
    encoder: { name: "gzip of this Node", load: async () => (piece) => gzipSync(piece) },
  };
};

const copy = async (): Promise<Step> => ({
  do: "copy",
  to: "/opt/app",
  owner: "0:0",
  items: [{ from: "app", to: "/opt/app" }],
  entries: (await takeSnapshot(context, { roots: ["app"], texts: [], ignore: [] })).entries,
});
const cmd: Step = {
  do: "config",
  change: { env: {}, workdir: null, user: null, entrypoint: null, cmd: ["x"], labels: {}, healthcheck: null },
};

describe("assembling", () => {
  test("makes each stage an image on the one below, whose layers hold what they say", async () => {
    const { stages } = await assembleStages(await input([[await copy()], [cmd]]));
    const [application, runtime] = stages;
    const manifest = json(runtime!.digest) as unknown as {
      layers: { digest: string }[];
      config: { digest: string };
      annotations: object;
    };
    expect(manifest.layers).toHaveLength(2);
    expect(manifest.annotations).toEqual({
      "io.image-factory.stage.application": "application",
      "io.image-factory.stage.runtime": "runtime",
    });
    expect(runtime!.layer).toBeNull();
    expect(json(application!.digest)["annotations"]).toEqual({ "io.image-factory.stage.application": "application" });
    const config = json(manifest.config.digest) as unknown as {
      rootfs: { diff_ids: string[] };
      config: object;
      history: object[];
    };
    const tar = gunzipSync(read(manifest.layers[1]!.digest));
    expect(config.rootfs.diff_ids[1]).toBe(`sha256:${createHash("sha256").update(tar).digest("hex")}`);
    expect(config.config).toMatchObject({ Cmd: ["x"] });
    expect(config.history.map((one) => (one as { created_by: string }).created_by)).toEqual([
      "unknown (base image)",
      "image-factory application: copy app to /opt/app",
      "image-factory runtime: config",
    ]);
    const { entries } = await indexLayers(layout, [application!.layer!], null);
    expect(entries.map(({ path }) => path)).toEqual(["/", "/opt", "/opt/app", "/opt/app/a", "/opt/app/large"]);
  });

  test("twice gives the same digests", async () => {
    const first = await assembleStages(await input([[await copy()], [cmd]]));
    const second = await assembleStages(await input([[await copy()], [cmd]]));
    expect(second.stages.map(({ digest }) => digest)).toEqual(first.stages.map(({ digest }) => digest));
  });

  test("compresses nothing that is remembered and there, and again what is gone", async () => {
    const given = await input([[await copy()], [cmd]]);
    const first = await assembleStages(given);
    const never = async () => Promise.reject(new Error("nothing is to be compressed"));
    const again = await assembleStages({ ...given, encoder: { name: "gzip of this Node", load: never } });
    expect(again.stages[0]!.layer).toEqual({ ...first.stages[0]!.layer, reused: true });
    expect(again.stages[1]!.digest).toBe(first.stages[1]!.digest);
    rmSync(join(layout, "blobs", first.stages[0]!.layer!.digest.replace(":", "/")));
    expect((await assembleStages(given)).stages[0]!.layer).toMatchObject({
      reused: false,
      digest: first.stages[0]!.layer!.digest,
    });
  });

  test.each([
    ["small", "a", "other"],
    ["large, of the same size", "large", Buffer.alloc(9 << 20, "Large ")],
    ["large, cut off", "large", "short"],
  ])("a file that changed (%s) is an error and leaves nothing", async (_name, file, now) => {
    const given = await input([[await copy()], [cmd]]);
    const before = blobs();
    writeFileSync(join(context, "app", file), now);
    await expect(assembleStages(given)).rejects.toMatchObject({ code: "INPUT_MISSING" });
    expect(blobs()).toEqual(before);
  });

  test("a file that is gone is an error and leaves nothing", async () => {
    const given = await input([[await copy()]]);
    const before = blobs();
    rmSync(join(context, "app", "a"));
    await expect(assembleStages(given)).rejects.toMatchObject({ code: "INPUT_MISSING" });
    expect(blobs()).toEqual(before);
  });

  test("an interrupt leaves nothing", async () => {
    const given = await input([[await copy()]]);
    const before = blobs();
    await expect(assembleStages({ ...given, signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "INTERRUPTED" });
    expect(blobs()).toEqual(before);
  });
});

test("a layer whose blob is damaged is told by its digest", async () => {
  const { layer } = parent();
  writeFileSync(join(layout, "blobs", layer.digest.replace(":", "/")), gzipSync(new Uint8Array(2048)));
  await expect(indexLayers(layout, [layer], null)).rejects.toMatchObject({ code: "CHECKSUM_MISMATCH" });
  await expect(indexLayers(layout, [{ ...layer, digest: `sha256:${"0".repeat(64)}` }], null)).rejects.toMatchObject({
    code: "CHECKSUM_MISMATCH",
  });
});
