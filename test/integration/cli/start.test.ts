import { execFile } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { BuildRecord } from "../../../dagger/src/pipeline/common/build-record.js";
import { exportAnswers } from "../../dagger-session/exported.js";
import { openSession } from "../../dagger-session/session.js";

/** The compiled program, in a copy of its folder, so that what it keeps beside itself is this test's own. */
const root = fileURLToPath(new URL("../../../", import.meta.url));
const bin = join(root, ".factory", "bin");
let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "start-"));
  for (const name of ["factory.cjs", "program.cjs"]) cpSync(join(bin, name), join(folder, "checkout", ".factory", "bin", name));
  for (const name of ["builder", "ci", "node_modules"]) symlinkSync(join(root, name), join(folder, "checkout", name));
  writeFileSync(join(folder, "images.yaml"), imagesYaml("first"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const imagesYaml = (user: string) => `registry: registry.example/acme
images:
  small:
    repository: small
    platforms: [linux/amd64]
    base: { image: "registry.example/base@sha256:${"0".repeat(64)}", packages: apt }
    stages:
      base-tools: {}
      dependencies: {}
      application: {}
      runtime: { user: { name: ${user}, uid: 1001 } }
`;

const factory = async (...args: string[]): Promise<string> => {
  const program = join(folder, "checkout", ".factory", "bin", "factory.cjs");
  const { stdout } = await promisify(execFile)(process.execPath, [program, ...args], { cwd: folder });
  return stdout;
};
const keys = async (): Promise<string> => {
  const { plans } = JSON.parse(await factory("plan", "--json", "--remote", "off")) as { plans: { stages: { key: string }[] }[] };
  return plans.flatMap(({ stages }) => stages.map(({ key }) => key)).join();
};
const beside = (name: string): string => join(folder, "checkout", ".factory", "bin", name);

describe("the compiled program", () => {
  test("plans the same with what it keeps and without, and anew when images.yaml changes", async () => {
    const first = await keys();
    expect(readdirSync(beside("compiled"))).toHaveLength(1);
    expect(readdirSync(beside("remembered")).sort()).toEqual(["images.lock.json", "images.yaml.json"]);
    expect(await keys()).toBe(first);
    writeFileSync(join(folder, "images.yaml"), imagesYaml("second"));
    const second = await keys();
    expect(second).not.toBe(first);
    writeFileSync(join(folder, "images.yaml"), imagesYaml("first"));
    expect(await keys()).toBe(first);
  });

  test("a word too many is refused, and so is a flag that Task would take for itself", async () => {
    await expect(factory("explain", "runtime", "application")).rejects.toMatchObject({
      code: 64,
      stderr: expect.stringContaining("cannot make anything of application") as string,
    });
    const typed = promisify(execFile)(join(root, "task"), ["plan", "--check"], { cwd: root });
    await expect(typed).rejects.toMatchObject({ code: 64, stderr: expect.stringContaining("./task plan -- --check") as string });
  });

  test("loads what is no part of it, Dagger's client, from the second start on too", async () => {
    const session = await openSession(exportAnswers, (chain) => (chain.at(-1)?.field === "combinedOutput" ? "" : undefined));
    const project = join(folder, "module");
    cpSync(join(root, "test/integration/fixtures/module"), project, { recursive: true });
    const words = [join(beside("factory.cjs")), "build", "--platform", "linux/amd64", "--engine", "dagger", "--json"];
    try {
      for (const at of ["first", "second", "third"]) {
        const env = { ...process.env, ...session.env, FACTORY_STATE: join(folder, at), FACTORY_REMOTE: "off" };
        const { stdout, stderr } = await promisify(execFile)(process.execPath, words, { cwd: project, env });
        const { platforms } = JSON.parse(stdout) as BuildRecord;
        expect(platforms[0]!.stages.map(({ action }) => action)).toEqual(["execute", "execute", "assemble", "assemble"]);
        expect(stderr).not.toContain("Warning");
      }
    } finally {
      await session.close();
    }
  });

  test("keeps nothing for a command that there is not", async () => {
    await expect(factory("nonsense")).rejects.toMatchObject({
      code: 64,
      stderr: expect.stringContaining("no command nonsense") as string,
    });
    expect(readdirSync(beside("compiled")).filter((name) => name.startsWith("nonsense"))).toEqual([]);
  });
});
