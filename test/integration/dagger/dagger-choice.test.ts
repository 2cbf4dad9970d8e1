import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { EngineName } from "../../../ci/engines/interface/engine.js";
import { chooseEngine } from "../../../ci/engines/choose-engine.js";
import { stateOf } from "../../../ci/state/state.js";
import { run } from "../../../ci/host/process.js";
import { exportAnswers } from "../../dagger-session/exported.js";
import { openSession } from "../../dagger-session/session.js";

/** When Dagger is the engine of a build. */
const root = fileURLToPath(new URL("../../../", import.meta.url));
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

/** `build`, as a person types it. */
const build = (env: Record<string, string | undefined>, ...words: string[]) => {
  const project = join(folder, "project");
  cpSync(fileURLToPath(new URL("../fixtures/module", import.meta.url)), project, { recursive: true });
  const tsx = ["--import", join(root, "node_modules/tsx/dist/loader.mjs"), join(root, "ci/main.ts")];
  return run(process.execPath, [...tsx, "build", "--platform", "linux/amd64", ...words], {
    cwd: project,
    env: { ...clean, FACTORY_STATE: join(folder, "state"), FACTORY_REMOTE: "off", NO_COLOR: "1", ...env },
  });
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
    const session = await openSession();
    try {
      const { engine, because } = await choose({ PATH: daggerThat("*) exit 1 ;;"), ...session.env });
      expect(engine).toMatchObject({ name: "dagger", address: "session of dagger run" });
      expect(because).toBe("dagger (session of dagger run): engine v0.21.8 answers");
    } finally {
      await session.close();
    }
  });

  test("builds where BUILDKIT_HOST refuses connections, which is said once", async () => {
    const session = await openSession(exportAnswers, (chain) => (chain.at(-1)?.field === "combinedOutput" ? "" : undefined));
    try {
      const params = JSON.stringify({
        port: Number(session.env.DAGGER_SESSION_PORT),
        session_token: session.env.DAGGER_SESSION_TOKEN,
      });
      const PATH = daggerThat(`${answers("v0.21.8")}\nsession*) echo '${params}'; exec sleep 600 ;;`);
      const { exitCode, stderr } = await build({ PATH, BUILDKIT_HOST: `unix://${folder}/none.sock` });
      expect(exitCode, stderr).toBe(0);
      expect(stderr.match(/^engine: .*$/gm)).toEqual([
        expect.stringMatching(/^engine: dagger \(.*\): engine v0\.21\.8 answers; BUILDKIT_HOST: unix:.* does not answer/),
      ]);
    } finally {
      await session.close();
    }
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
    const { exitCode, stderr } = await build({ PATH }, "--engine", "dagger");
    expect(stderr).toContain("error ENGINE_FAILED: the Dagger engine opened no session\n  engine is gone\n");
    expect(stderr).not.toContain("    at ");
    expect(exitCode).toBe(69);
  });

  test.each([
    { is: "a CLI that says nothing", script: `${answers("v0.21.8")}\n*) exit 0 ;;`, why: "opened no session" },
    { is: "a CLI that answers garbage", script: `${answers("v0.21.8")}\n*) echo '<html>'; exit 0 ;;`, why: "opened no session" },
    {
      is: "a session on a port where nobody listens",
      script: `${answers("v0.21.8")}\n*) echo '{"port":1,"session_token":"x"}'; exec sleep 600 ;;`,
      why: "opened no session",
    },
    {
      is: "a version that is none",
      script: `*) echo '{"version": "garbage"}' ;;`,
      why: "engine garbage is another release than 0.21",
    },
    { is: "a CLI without an answer", script: "*) exit 3 ;;", why: "it ended with exit code 3 and named no version" },
  ])(
    "$is, a BUILDKIT_HOST and a docker buildx that fail: each is named once, and nothing is a stack trace",
    async ({ script, why }) => {
      const bin = daggerThat(script).split(":")[0]!;
      const docker = `"buildx inspect"*) printf "Name: mine\\nDriver: docker-container\\n" ;;\nversion*) echo 29 ;;\n*) echo "ERROR: no builder" >&2; exit 1 ;;`;
      writeFileSync(join(bin, "docker"), `#!/bin/sh\ncase "$*" in\n${docker}\nesac\n`, { mode: 0o755 });
      // With an old Go and with nothing compiled the embedded one cannot be used either.
      writeFileSync(join(bin, "go"), "#!/bin/sh\necho go1.10\n", { mode: 0o755 });
      const PATH = `${bin}:/usr/bin:/bin`;
      const { exitCode, stderr } = await build({
        PATH,
        BUILDKIT_HOST: "tcp://127.0.0.1:1",
        FACTORY_CACHE: join(folder, "cache"),
      });
      expect(exitCode, stderr).toBe(69);
      const error = stderr.slice(stderr.indexOf("error ENGINE_MISSING"));
      expect(error.match(/^ {2}(BUILDKIT_HOST|dagger|docker buildx|embedded): /gm)).toEqual([
        "  BUILDKIT_HOST: ",
        "  dagger: ",
        "  docker buildx: ",
        "  embedded: ",
      ]);
      expect(error).toContain(why);
      expect(error).toContain("no builder");
      expect(stderr).not.toContain("    at ");
      expect(stderr).not.toContain("this is a bug");
    },
  );

  test("a dagger that cannot be started, and one of another session, are passed over", async () => {
    const missing = { _EXPERIMENTAL_DAGGER_CLI_BIN: join(folder, "none") };
    const { because } = await choose({ ...missing, FACTORY_BUILDKIT: undefined });
    expect(because).toContain("dagger: cannot run");
    const gone = { DAGGER_SESSION_PORT: "1", DAGGER_SESSION_TOKEN: "x" };
    expect((await choose(gone)).because).toContain("dagger: the session of dagger run (DAGGER_SESSION_PORT=1) does not answer");
    await expect(choose(gone, "dagger")).rejects.toMatchObject({ code: "ENGINE_MISSING" });
  });
});
