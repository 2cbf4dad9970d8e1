import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { identityOf, type ImageCheck, type CheckOutcome } from "../../../../dagger/src/pipeline/image-test/image-check.js";
import { imageChecks } from "../../../../dagger/src/pipeline/image-test/planned-checks.js";
import type { ImageConfig } from "../../../../dagger/src/pipeline/oci/image-config.js";
import { overall, verdictOf } from "../../../../dagger/src/pipeline/image-test/verdict.js";
import { planOf, replaced } from "../../../fixtures/box.js";

const config: ImageConfig = {
  architecture: "amd64",
  os: "linux",
  config: { Env: ["PATH=/opt/venv/bin:/usr/bin", "HOME=/home/box"], Cmd: ["sh"], User: "1001:0", WorkingDir: "/workspace" },
  rootfs: { type: "layers", diff_ids: [] },
};
const named = (checks: readonly ImageCheck[], name: string) => checks.find((check) => check.name === name)!;
const ended = (exitCode: number, stdout = "", stderr = ""): CheckOutcome => ({ outcome: "ended", exitCode, stdout, stderr });

describe("what is asked of an image", () => {
  test("is what its plan speaks of", () => {
    const checks = imageChecks(planOf(), config);
    expect(checks.map(({ name, about }) => `${name}: ${about}`)).toEqual([
      "user: runs as 1001:0, /home/box, /workspace",
      "start: what it starts is there: sh",
      "tool task: answers 1.0.0",
      "packages: 3 apt packages as locked",
      "binaries: are for amd64",
      "python packages: 1 Python packages as locked",
      "python imports: every Python package is imported",
      "wheel /opt/box/app: a wheel can be built from its files",
      "any uid /home/box: a UID that no file knows, of group 0, can write there",
      "any uid /workspace: a UID that no file knows, of group 0, can write there",
    ]);
    expect(new Set(checks.map(({ name }) => name)).size).toBe(checks.length);
  });

  test("container tools get a job where they are installed", () => {
    const names = (spec: (text: string) => string) => imageChecks(planOf({ spec }), config).map(({ name }) => name);
    const installs = replaced("packages: [git, jq]", "packages: [podman, skopeo, buildah]");
    expect(names(installs).filter((name) => name.startsWith("nested"))).toEqual([
      "nested buildah",
      "nested skopeo",
      "nested podman",
    ]);
    expect(names((text) => text).filter((name) => name.startsWith("nested"))).toEqual([]);
  });

  test("a healthcheck as the config has it; one that got lost on the way fails without being run", () => {
    const spec = replaced("cmd: [sh]", "cmd: [sh]\n        healthcheck: { command: [box, health] }");
    const checks = (healthcheck: object) =>
      named(imageChecks(planOf({ spec }), { ...config, config: { ...config.config, Healthcheck: healthcheck } }), "healthcheck")
        .probe;
    expect(checks({ Test: ["CMD", "box", "health"] })).toMatchObject({ attempts: [["box", "health"]] });
    expect(checks({ Test: ["CMD-SHELL", "box || exit 1"] })).toMatchObject({ attempts: [["/bin/sh", "-c", "box || exit 1"]] });
    expect(checks({})).toMatchObject({ verdict: { verdict: "fail", words: expect.stringContaining("none") as string } });
    expect(named(imageChecks(planOf(), config), "healthcheck")).toBeUndefined();
  });

  test("packages without a lock are asked for by name", () => {
    const probe = (lock?: { format: 1; bases: Record<string, string>; images: object; tools: object }) =>
      named(imageChecks(planOf(lock === undefined ? {} : { lock: lock as never }), config), "packages").probe;
    expect(probe()).toMatchObject({ expect: { locked: ["git=1:2.39", "jq=1.6", "libjq=1.6"] } });
    const floating = {
      format: 1 as const,
      bases: { "docker.io/library/debian:12": `sha256:${"a".repeat(64)}` },
      images: {},
      tools: planOfTools,
    };
    expect(probe(floating)).toMatchObject({ expect: { locked: ["git", "jq"] } });
  });
});

const planOfTools = { task: { download: { "1.0.0": { "linux/amd64": { sha256: "c".repeat(64) } } } } };

describe("what is made of an answer", () => {
  const tool = named(imageChecks(planOf(), config), "tool task");
  test.each<[string, CheckOutcome[], string]>([
    ["Task version: v1.0.0 (h1:abc)", [ended(0, "Task version: v1.0.0 (h1:abc)\n")], "pass: 1.0.0"],
    ["with build metadata", [ended(0, "1.0.0+35b03f9")], "pass: 1.0.0"],
    ["on the other stream", [ended(0, "", "tool 1.0.0\n")], "pass: 1.0.0"],
    [
      "to the second question",
      [ended(1, "", "unknown flag: --version"), ended(0, "Client Version: v1.0.0\nKustomize Version: v5.8.1")],
      "pass: 1.0.0",
    ],
    ["another version", [ended(0, "task 1.0.10\n")], 'fail: answers "task 1.0.10", not 1.0.0'],
    ["a version that ends alike", [ended(0, "11.0.0")], 'fail: answers "11.0.0", not 1.0.0'],
    ["a longer one", [ended(0, "1.0.0.1")], 'fail: answers "1.0.0.1", not 1.0.0'],
    ["one that comes before", [ended(0, "1.0.0-rc1")], 'fail: answers "1.0.0-rc1", not 1.0.0'],
    [
      "of two failures the one that is an answer",
      [ended(0, "task 2.0"), ended(1, "", "no such command")],
      'fail: answers "task 2.0", not 1.0.0',
    ],
    ["nothing that starts", [ended(127, "", "exec: task: not found\n")], "fail: exit 127: exec: task: not found"],
    ["what could not be tried", [{ outcome: "not-run", why: "no runc" }], "not-tested: no runc"],
    [
      "what this machine does not allow",
      [ended(77, "user namespaces are refused here\n")],
      "not-tested: user namespaces are refused here",
    ],
    ["nothing at all", [], "not-tested: nothing was tried"],
  ])("%s", (_name, outcomes, wanted) => {
    const { verdict, words } = verdictOf(tool, outcomes);
    expect(`${verdict}: ${words}`).toBe(wanted);
  });

  const packages = named(imageChecks(planOf(), config), "packages");
  test.each([
    ["as locked", "ii git=1:2.39\nii jq=1.6\nii libjq=1.6\nii other=1\n", "pass: 3 packages"],
    ["moved", "ii git=1:2.40\nii jq=1.6\nii libjq=1.6\n", "fail: git=1:2.40 is installed, git=1:2.39 is locked"],
    ["removed, but for its settings", "rc git=1:2.39\nii jq=1.6\nii libjq=1.6\n", "fail: git=1:2.39 is not installed"],
  ])("packages %s", (_name, said, wanted) => {
    const { verdict, words } = verdictOf(packages, [ended(0, said)]);
    expect(`${verdict}: ${words}`).toBe(wanted);
  });

  const python = named(imageChecks(planOf(), config), "python packages");
  test.each([
    ["as locked, and the project itself", '{"PyYAML": "6.0", "box": "1.0"}', "pass: 2 packages"],
    ["moved", '{"PyYAML": "6.1"}', "fail: pyyaml is 6.1, locked is 6.0"],
    ["gone", "{}", "fail: pyyaml is not installed"],
    ["and one that nobody locked", '{"PyYAML": "6.0", "Left_Pad": "1"}', "fail: left-pad is installed and not locked"],
    ["not to be read", "Traceback", 'fail: does not list what is installed: "Traceback"'],
  ])("Python packages %s", (_name, said, wanted) => {
    const { verdict, words } = verdictOf(python, [ended(0, said)]);
    expect(`${verdict}: ${words}`).toBe(wanted);
  });

  const binaries = named(imageChecks(planOf(), config), "binaries");
  test.each<[string, { path: string; machine: number }[], string]>([
    ["of its architecture", [{ path: "/usr/bin/x", machine: 62 }], "pass: 1 binaries"],
    [
      "of another",
      [
        { path: "/usr/bin/x", machine: 62 },
        { path: "/usr/bin/y", machine: 183 },
      ],
      "fail: /usr/bin/y is for aarch64",
    ],
    ["none, which proves nothing", [], "not-tested: no binary was found"],
  ])("binaries %s", (_name, found, wanted) => {
    const { verdict, words } = verdictOf(binaries, [{ outcome: "binaries", found }]);
    expect(`${verdict}: ${words}`).toBe(wanted);
  });

  test("law: what was not tried is never a pass, whatever is asked", () => {
    const outcome = fc.oneof(
      fc.record({ outcome: fc.constant("not-run" as const), why: fc.string() }),
      fc
        .constantFrom(1, 77, 126, 127, 128, 137)
        .chain((code) => fc.tuple(fc.string(), fc.string()).map(([out, err]) => ended(code, out, err))),
    );
    const checks = imageChecks(planOf({ spec: replaced("packages: [git, jq]", "packages: [podman, skopeo, buildah]") }), config);
    fc.assert(
      fc.property(fc.constantFrom(...checks), fc.array(outcome, { maxLength: 4 }), (check, outcomes) => {
        expect(verdictOf(check, outcomes).verdict).not.toBe("pass");
      }),
    );
  });

  test("one failure fails an image, and only what ran in it passes it", () => {
    const verdict = (...all: ("pass" | "fail" | "not-tested")[]) =>
      overall(all.map((one) => ({ ...tool, verdict: one, words: "" })));
    expect(verdict("pass", "fail", "not-tested")).toBe("fail");
    expect(verdict("pass", "not-tested")).toBe("pass");
    expect(verdict("not-tested")).toBe("not-tested");
    expect(verdict()).toBe("not-tested");
    expect(
      overall([
        { ...binaries, verdict: "pass" },
        { ...tool, verdict: "not-tested" },
      ]),
    ).toBe("not-tested");
  });
});

describe("who an image runs as", () => {
  const accounts = {
    passwd: "root:x:0:0:root:/root:/bin/sh\nme:x:1001:7::/home/me:/bin/sh\n",
    group: "root:x:0:\nmine:x:7:\nwheel:x:10:root,me\n",
  };
  test.each([
    ["", { uid: 0, gid: 0, additionalGids: [10] }],
    ["me", { uid: 1001, gid: 7, additionalGids: [10] }],
    ["1001", { uid: 1001, gid: 7, additionalGids: [10] }],
    ["1001:0", { uid: 1001, gid: 0, additionalGids: [] }],
    ["me:wheel", { uid: 1001, gid: 10, additionalGids: [] }],
    ["4321", { uid: 4321, gid: 0, additionalGids: [] }],
    ["nobody-here", null],
    ["me:no-such-group", null],
  ])("%j", (user, wanted) => expect(identityOf(user, accounts)).toEqual(wanted));
});
