import { describe, expect, test } from "vitest";
import {
  type ImageConfig,
  imageConfig,
  type RuntimeConfig,
  type StagePart,
  timeOf,
} from "../../../../dagger/src/pipeline/oci/image-config.js";
import type { StageKey } from "../../../../dagger/src/pipeline/plan/key.js";
import { configText, manifestText } from "../../../../dagger/src/pipeline/oci/manifest.js";
import type { ConfigChange } from "../../../../dagger/src/pipeline/steps/step.js";

const epoch = 315_619_200;
const nothing: ConfigChange = { env: {}, workdir: null, user: null, entrypoint: null, cmd: null, labels: {}, healthcheck: null };
const part = (change: Partial<ConfigChange>, diffId: string | null = null): StagePart => ({
  steps: [{ do: "config", change: { ...nothing, ...change } }],
  layer: diffId === null ? null : { diffId },
  createdBy: "image-factory runtime: config",
});
const base = (config: RuntimeConfig = {}): ImageConfig => ({
  architecture: "arm64",
  variant: "v8",
  os: "linux",
  author: "someone",
  created: "2026-01-01T00:00:00Z",
  config,
  rootfs: { type: "layers", diff_ids: ["sha256:1"] },
  history: [{ created_by: "base" }],
});
const merged = (config: RuntimeConfig, ...changes: Partial<ConfigChange>[]) =>
  imageConfig(
    base(config),
    changes.map((change) => part(change)),
    epoch,
  ).config;
const path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

describe("config of a base and a change", () => {
  test.each<[string, RuntimeConfig, Partial<ConfigChange>[], RuntimeConfig]>([
    ["a base without PATH gets the usual one", {}, [], { Env: [path] }],
    ["null is absent", { Env: null, Cmd: null, Entrypoint: null }, [], { Env: [path] }],
    [
      "a variable keeps its place; new ones follow by name",
      { Env: ["B=1", "PATH=/x", "A=2=3"] },
      [{ env: { Z: "9", A: "new", C: "" } }],
      { Env: ["B=1", "PATH=/x", "A=new", "C=", "Z=9"] },
    ],
    ["PATH is a variable like others", { Env: ["PATH=/x"] }, [{ env: { PATH: "/y" } }], { Env: ["PATH=/y"] }],
    [
      "an inherited Entrypoint and Cmd stay",
      { Entrypoint: ["e"], Cmd: ["c"] },
      [{}],
      { Env: [path], Entrypoint: ["e"], Cmd: ["c"] },
    ],
    [
      "an Entrypoint resets an inherited Cmd",
      { Entrypoint: ["e"], Cmd: ["c"] },
      [{ entrypoint: ["n"] }],
      { Env: [path], Entrypoint: ["n"] },
    ],
    [
      "a Cmd leaves the Entrypoint",
      { Entrypoint: ["e"], Cmd: ["c"] },
      [{ cmd: ["n"] }],
      { Env: [path], Entrypoint: ["e"], Cmd: ["n"] },
    ],
    [
      "both",
      { Cmd: ["c"], ArgsEscaped: true },
      [{ cmd: ["n"], entrypoint: ["e"] }],
      { Env: [path], Entrypoint: ["e"], Cmd: ["n"] },
    ],
    [
      "a later Entrypoint resets an earlier stage's Cmd",
      {},
      [{ cmd: ["c"] }, { entrypoint: ["e"] }],
      { Env: [path], Entrypoint: ["e"] },
    ],
    ["an empty Cmd is a Cmd", { Cmd: ["c"] }, [{ cmd: [] }], { Env: [path], Cmd: [] }],
    ["OnBuild is dropped", { OnBuild: ["RUN x"] }, [], { Env: [path] }],
    [
      "labels are merged",
      { Labels: { a: "1", b: "2" } },
      [{ labels: { b: "3", c: "4" } }],
      { Env: [path], Labels: { a: "1", b: "3", c: "4" } },
    ],
    [
      "volumes, ports, stop signal and unknown fields are inherited",
      { Volumes: { "/data": {} }, ExposedPorts: { "80/tcp": {} }, StopSignal: "SIGINT", Shell: ["/bin/bash"] },
      [{ user: "1001:0" }],
      {
        Env: [path],
        Volumes: { "/data": {} },
        ExposedPorts: { "80/tcp": {} },
        StopSignal: "SIGINT",
        Shell: ["/bin/bash"],
        User: "1001:0",
      },
    ],
    ["a working directory is replaced", { WorkingDir: "/a" }, [{ workdir: "/b/" }], { Env: [path], WorkingDir: "/b" }],
    ["the root as working directory", {}, [{ workdir: "/" }], { Env: [path], WorkingDir: "/" }],
    [
      "a healthcheck is replaced whole",
      { Healthcheck: { Test: ["NONE"], Timeout: 1 } },
      [{ healthcheck: { test: ["h"], interval: 30e9, timeout: 5e9, startPeriod: 0, retries: 3 } }],
      { Env: [path], Healthcheck: { Test: ["CMD", "h"], Interval: 30e9, Timeout: 5e9, Retries: 3 } },
    ],
  ])("%s", (_name, config, changes, wanted) => {
    expect(merged(config, ...changes)).toEqual(wanted);
  });
});

describe("the rest of a config", () => {
  test("platform and author stay, created is the epoch, layers and history grow together", () => {
    const config = imageConfig(base(), [part({}, "sha256:2"), part({ cmd: ["c"] })], epoch);
    expect(config).toMatchObject({
      architecture: "arm64",
      variant: "v8",
      os: "linux",
      author: "someone",
      created: "1980-01-02T00:00:00Z",
      rootfs: { type: "layers", diff_ids: ["sha256:1", "sha256:2"] },
    });
    const created = "1980-01-02T00:00:00Z";
    const created_by = "image-factory runtime: config";
    expect(config.history).toEqual([{ created_by: "base" }, { created, created_by }, { created, created_by, empty_layer: true }]);
  });

  test("a base with less history than layers", () => {
    const short: ImageConfig = { ...base(), rootfs: { type: "layers", diff_ids: ["sha256:1", "sha256:2"] } };
    const { history, rootfs } = imageConfig(short, [part({}, "sha256:3")], epoch);
    expect(history!.filter(({ empty_layer }) => empty_layer !== true)).toHaveLength(rootfs.diff_ids.length);
  });

  test("a time that Go reads", () => expect(timeOf(0)).toBe("1970-01-01T00:00:00Z"));
});

describe("texts", () => {
  test("equal configs have equal texts, whatever order a base's file had", () => {
    const one = imageConfig(base({ User: "a", Labels: { b: "1", a: "2" } }), [], epoch);
    const two = imageConfig(base({ Labels: { a: "2", b: "1" }, User: "a" }), [], epoch);
    expect(configText(one)).toBe(configText(two));
  });

  test("a manifest has OCI's types, layers without their exporter's annotations, and the stages' keys", () => {
    const layer = {
      mediaType: "application/vnd.docker.image.rootfs.diff.tar.gzip",
      digest: "sha256:1",
      size: 1,
      annotations: { "buildkit/rewritten-timestamp": "1" },
    };
    const config = { mediaType: "application/vnd.oci.image.config.v1+json", digest: "sha256:c", size: 2 };
    expect(JSON.parse(manifestText(config, [layer], [{ stage: "base-tools", key: "k" as StageKey }]))).toEqual({
      schemaVersion: 2,
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      config,
      layers: [{ mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", digest: "sha256:1", size: 1 }],
      annotations: { "io.image-factory.stage.base-tools": "k" },
    });
  });
});
