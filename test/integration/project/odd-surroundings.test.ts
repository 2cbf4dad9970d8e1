import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Env, factory } from "../support/factory.js";

/** A process in odd surroundings says what is wrong with them, to a person and to a program: it is no bug of image-factory. */
let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "factory-odd-"));
  writeFileSync(
    join(folder, "images.yaml"),
    `registry: registry.example/acme
images:
  small:
    repository: small
    platforms: [linux/amd64]
    base: { image: "registry.example/base@sha256:${"0".repeat(64)}", packages: dnf }
    stages: { base-tools: { packages: [jq] }, dependencies: {}, application: {}, runtime: { user: { name: box, uid: 1001 } } }
`,
  );
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const plan = ["plan", "--json", "--remote", "off"];
const errorOf = (stderr: string): unknown => (JSON.parse(stderr) as { error: unknown }).error;

test.each<[string, Env, number, Record<string, unknown>]>([
  ["values that are no JSON", { FACTORY_VARIABLES: "{" }, 64, { code: "USAGE", what: "cannot read FACTORY_VARIABLES" }],
  ["values that are no object", { FACTORY_VARIABLES: "null" }, 64, { code: "USAGE", what: "cannot read FACTORY_VARIABLES" }],
  ["a registry that is none", { FACTORY_REGISTRY: "https://registry.example" }, 65, { code: "REFERENCE_INVALID" }],
  ["a scope that is none", { FACTORY_SCOPE: "constructor" }, 64, { code: "USAGE" }],
  [
    "a state folder that is a device",
    { FACTORY_STATE: "/dev/null", FACTORY_PLATFORM: "toString" },
    64,
    { code: "UNKNOWN_PLATFORM" },
  ],
])("%s", async (_what, env, code, error) => {
  const ended = await factory(folder, plan, env);
  expect(ended.code, ended.stderr).toBe(code);
  expect(errorOf(ended.stderr)).toMatchObject({ ...error, exitCode: code });
});

test("an error is JSON wherever the answer would be", async () => {
  for (const value of ["1", "true", "yes"]) {
    const { code, stderr } = await factory(folder, ["plan", "--image", "constructor"], { FACTORY_JSON: value });
    expect(code).toBe(64);
    expect(errorOf(stderr)).toMatchObject({ code: "UNKNOWN_IMAGE" });
  }
  const off = await factory(folder, ["plan", "--image", "constructor"], { FACTORY_JSON: "0" });
  expect(off.stderr).toMatch(/^error UNKNOWN_IMAGE/);
});

test("a current folder that is gone", async () => {
  mkdirSync(join(folder, "gone"));
  const { code, stderr } = await factory(join(folder, "gone"), plan, {}, ["/bin/sh", "-c", 'rmdir "$PWD"; exec "$@"', "sh"]);
  expect(code, stderr).toBe(66);
  expect(errorOf(stderr)).toMatchObject({ code: "INPUT_MISSING", what: "the current folder is gone" });
});

test("a temporary folder that does not exist, or is none", async () => {
  const absent = await factory(folder, ["lock"], { TMPDIR: join(folder, "absent") });
  expect(absent.code, absent.stderr).toBe(66);
  expect(absent.stderr).toContain(`error INPUT_MISSING: there is no temporary folder ${join(folder, "absent")}`);
  const file = await factory(folder, ["lock"], { TMPDIR: join(folder, "images.yaml") });
  expect(file.code, file.stderr).toBe(66);
  expect(file.stderr).toContain("TMPDIR");
});

test("a cache that is no folder", async () => {
  const { code, stderr } = await factory(folder, ["engine", "start"], {
    FACTORY_CACHE: "/dev/null",
    FACTORY_STATE: join(folder, "state"),
  });
  expect(code, stderr).toBe(66);
  expect(stderr).toContain("error INPUT_MISSING: cannot use /dev/null");
  expect(stderr).toContain("FACTORY_CACHE");
});
