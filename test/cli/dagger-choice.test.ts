import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { EngineName } from "../../ci/engines/engine.js";
import { chooseEngine } from "../../ci/engines/index.js";
import { stateOf } from "../../ci/io/state.js";
import { run } from "../../ci/io/process.js";

/** When Dagger is the engine of a build. */
const root = fileURLToPath(new URL("../../", import.meta.url));
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "dagger-choice-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A CLI on PATH that answers as the real one would. */
const daggerThat = (script: string): string => {
  const bin = join(folder, "bin");
  mkdirSync(bin);
  writeFileSync(join(bin, "dagger"), `#!/bin/sh\ncase "$*" in\n${script}\nesac\n`);
  chmodSync(join(bin, "dagger"), 0o755);
  return `${bin}:${process.env["PATH"]}`;
};
const answers = (version: string) => `*query*) cat >/dev/null; printf '{\\n    "version": "${version}"\\n}\\n' ;;`;
const clean = {
  BUILDKIT_HOST: undefined,
  FACTORY_BUILDKIT: undefined,
  DAGGER_SESSION_PORT: undefined,
  DAGGER_SESSION_TOKEN: undefined,
  _EXPERIMENTAL_DAGGER_CLI_BIN: undefined,
};
const choose = (env: Record<string, string | undefined>, wish: EngineName | "auto" = "auto") => {
  const whole = { ...process.env, ...clean, ...env };
  return chooseEngine(whole, wish, stateOf(folder, { FACTORY_STATE: join(folder, "state") }), () => undefined);
};

describe("an engine that answers", () => {
  test("is taken first", async () => {
    const { engine, because } = await choose({ PATH: daggerThat(answers("v0.21.8")) });
    expect(engine).toMatchObject({ name: "dagger", address: join(folder, "bin/dagger") });
    expect(because).toBe(`dagger (${join(folder, "bin/dagger")}): engine v0.21.8 answers`);
  });

  test("gives way to a BuildKit that is named", async () => {
    const { engine } = await choose({ PATH: daggerThat(answers("v0.21.8")), FACTORY_BUILDKIT: "embedded" });
    expect(engine.address).toBe("embedded");
  });

  test("gives way where more than stages is to be executed", async () => {
    const whole = { ...process.env, ...clean, PATH: daggerThat(answers("v0.21.8")) };
    const state = stateOf(folder, { FACTORY_STATE: join(folder, "state") });
    const { engine, because } = await chooseEngine(whole, "auto", state, () => undefined, "dockerfiles");
    expect(engine.name).toBe("buildkit");
    expect(because).toContain("dagger: it executes stages, and no other Dockerfile");
  });

  test("inside `dagger run` its session is used, and the CLI is not asked", async () => {
    const session = { DAGGER_SESSION_PORT: "1", DAGGER_SESSION_TOKEN: "x" };
    const { engine } = await choose({ PATH: daggerThat("*) exit 1 ;;"), ...session });
    expect(engine).toMatchObject({ name: "dagger", address: "session of dagger run" });
  });
});

describe("an engine that cannot be used", () => {
  test.each([
    { is: "another release", script: answers("v0.19.2"), why: "engine v0.19.2 is another release than 0.21" },
    {
      is: "not there",
      script: `*) echo starting >&2; echo "failed to connect: no container runtime" >&2; exit 1 ;;`,
      why: "reaches no engine: failed to connect: no container runtime",
    },
  ])("because it is $is is passed over, and refused when it is asked for", async ({ script, why }) => {
    const PATH = daggerThat(script);
    await expect(choose({ PATH }, "dagger")).rejects.toMatchObject({
      code: "ENGINE_MISSING",
      explanation: { what: "engine 'dagger' cannot be used here", why: expect.stringContaining(why) },
    });
    expect((await choose({ PATH, FACTORY_BUILDKIT: "embedded" })).engine.name).toBe("buildkit");
  });

  test("a CLI whose session ends is told with what it said", async () => {
    const PATH = daggerThat(`${answers("v0.21.8")}\n*) echo "engine is gone" >&2; exit 1 ;;`);
    cpSync(fileURLToPath(new URL("fixtures/module", import.meta.url)), join(folder, "project"), { recursive: true });
    const words = ["--import", join(root, "node_modules/tsx/dist/loader.mjs"), join(root, "ci/main.ts")];
    const done = await run(process.execPath, [...words, "build", "--platform", "linux/amd64", "--engine", "dagger"], {
      cwd: join(folder, "project"),
      env: { ...clean, PATH, FACTORY_STATE: join(folder, "state"), FACTORY_REMOTE: "off", NO_COLOR: "1" },
    });
    expect(done.stderr).toContain("error ENGINE_FAILED: the Dagger engine opened no session\n  engine is gone\n");
    expect(done.stderr).not.toContain("    at ");
    expect(done.exitCode).toBe(69);
  });
});
