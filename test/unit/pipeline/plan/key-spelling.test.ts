import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { renderDockerfile } from "../../../../dagger/src/pipeline/render/dockerfile.js";
import { parseLock, parseSpec } from "../../../../dagger/src/pipeline/config/parse.js";
import type { Plan } from "../../../../dagger/src/pipeline/plan/types.js";
import { respelled } from "../../../fixtures/respelled.js";
import {
  imageText,
  keysOf,
  lockTool,
  planFrom,
  planOf,
  type PlanWorld,
  stageText,
  useImage,
  worlds,
} from "../../../fixtures/spec-world.js";

/** The plan of a world whose images.yaml and images.lock are written in other words. */
const planRespelled = (world: PlanWorld, seed: number): Plan => {
  const [spec, lock] = [parseSpec(respelled(world.spec, seed)), parseLock(respelled(world.lock, seed + 1))];
  expect([...spec.problems, ...lock.problems]).toEqual([]);
  return planFrom(spec.value!, { ...world, lock: lock.value! });
};

/** Mappings whose order means nothing, with more than one entry each. */
const full = (generated: PlanWorld): PlanWorld => {
  const world = structuredClone(generated);
  useImage(world, "dnf");
  imageText(world).base["repositories"] = {
    extra: { url: "https://rpm.example/extra", key: "https://rpm.example/key" },
    crb: { url: "https://rpm.example/crb" },
  };
  stageText(world, "base-tools").packages = ["git", "jq"];
  world.spec.tools = {
    beta: { version: "1.0", npm: { package: "beta", bin: { beta: "b.js", bet: "t.js" } } },
    alpha: { version: "1.0", download: { url: "https://tools.example/alpha-{arch}" } },
    gamma: { version: "1.0", pip: { package: "gamma", member: "gamma/bin" } },
  };
  for (const [name, source] of Object.entries({ alpha: "download", beta: "npm", gamma: "pip" })) {
    lockTool(world, name, source, "1.0");
    lockTool(world, name, source, "0.9");
  }
  stageText(world, "base-tools").tools = { beta: "npm", alpha: "download", gamma: "pip" };
  world.spec.secrets = { one: { from: "env:ONE", as: "env:ONE" }, two: { from: "file:two", as: "file:/run/two" } };
  return world;
};

test("images.yaml and images.lock in other words give the same keys, and the same Dockerfile", () => {
  fc.assert(
    fc.property(worlds, fc.nat(), (generated, seed) => {
      const world = full(generated);
      const [plain, other] = [planOf(world), planRespelled(world, seed)];
      expect(keysOf(other)).toEqual(keysOf(plain));
      expect(renderDockerfile([other])).toBe(renderDockerfile([plain]));
    }),
    { numRuns: 200 },
  );
});

describe("other words for the same thing", () => {
  const keys = (text: string) => {
    const { value, problems } = parseSpec(text);
    expect(problems).toEqual([]);
    const files = { "app/x": { text: "x" } };
    const lock = { format: 1 as const, bases: {}, images: {}, tools: {} };
    return keysOf(
      planFrom(value!, { spec: { registry: "", images: {}, tools: {} }, files, lock, platform: "linux/amd64", buildArgs: {} }),
    );
  };
  const image = (stages: string, context = "") => `registry: r.example
images:
  it:
    repository: it
    platforms: [linux/amd64]
    base: { image: "b.example/b@sha256:${"0".repeat(64)}", packages: apt }
${context}    stages: { dependencies: {}, application: {}, ${stages} }
`;

  test.each([
    ["a mode with and without a zero", '"755"', '"0755"', (mode: string) => `directories: [{ path: /d, mode: ${mode} }]`],
    ["an owner with and without its group", '"7"', '"7:0"', (owner: string) => `directories: [{ path: /d, owner: ${owner} }]`],
    ["durations", "90s", "90000ms", (time: string) => `healthcheck: { command: [x], interval: ${time} }`],
    [
      "a default that is spelt out",
      "{ command: [x] }",
      "{ command: [x], retries: 3, timeout: 30s }",
      (text: string) => `healthcheck: ${text}`,
    ],
    ["./ and a trailing /", "app", "./app/", (path: string) => `to: /opt, copy: [{ path: ${path}, to: app }]`],
    ["a trailing / of a destination", "sub", "sub/", (to: string) => `to: /opt, copy: [{ path: app, to: ${to} }]`],
    [
      "a relative destination and an absolute one",
      "sub",
      "/opt/sub",
      (to: string) => `to: /opt, copy: [{ path: app, to: ${to} }]`,
    ],
    ["text and a file with content", '"a"', '{ content: "a" }', (file: string) => `files: { /etc/x: ${file} }`],
    ["a list and a mapping of one entry", "[app]", "[{ path: app, to: app }]", (copy: string) => `to: /opt, copy: ${copy}`],
    ["a command with and without a name", "[make]", "[{ command: make, name: build it }]", (run: string) => `run: ${run}`],
  ])("%s", (_, one, other, stage) => {
    const [first, second] = [one, other].map((text) => keys(image(`base-tools: { ${stage(text)} }, runtime: {}`)));
    expect(second).toEqual(first);
  });

  test("a user by name and by number", () => {
    const of = (owner: string) =>
      keys(image(`base-tools: { user: { name: me, uid: 7 } }, runtime: { directories: [{ path: /d, owner: ${owner} }] }`));
    expect(of("me")).toEqual(of('"7:0"'));
  });

  test("a merge key and what it stands for", () => {
    const plain = image('base-tools: { env: { A: "1", B: "2" } }, runtime: { env: { A: "1", B: "3" } }');
    const merged = image('base-tools: { env: &e { A: "1", B: "2" } }, runtime: { env: { <<: *e, B: "3" } }');
    expect(keys(merged)).toEqual(keys(plain));
  });
});
