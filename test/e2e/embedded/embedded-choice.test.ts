import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { chooseEngine } from "../../../ci/engines/choose-engine.js";
import { acquireEmbedded, engineStatus } from "../../../ci/engines/embedded/lease.js";
import type { EngineName } from "../../../ci/engines/interface/engine.js";
import { stateOf } from "../../../ci/state/state.js";

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "factory-choice-"));
});
afterEach(() => rm(root, { recursive: true, force: true }));

type Env = Record<string, string | undefined>;
const choose = (env: Env, wish: EngineName | "auto" = "buildkit") => {
  const whole = {
    ...process.env,
    BUILDKIT_HOST: undefined,
    FACTORY_BUILDKIT: undefined,
    FACTORY_STATE: join(root, "state"),
    ...env,
  };
  return chooseEngine(whole, wish, stateOf(root, whole), () => undefined);
};

/** A docker on PATH that answers as the real one would. */
const dockerThat = async (script: string): Promise<string> => {
  const bin = join(root, "bin");
  await mkdir(bin, { recursive: true });
  await writeFile(join(bin, "docker"), `#!/bin/sh\ncase "$*" in\n${script}\nesac\n`);
  await chmod(join(bin, "docker"), 0o755);
  return `${bin}:${process.env["PATH"]}`;
};
const container =
  '"buildx inspect"*) printf "Name: mine\\nDriver: docker-container\\n\\nNodes:\\nPlatforms: linux/amd64*, linux/amd64/v2, linux/arm64\\n" ;;';

test("embedded where nothing else is, and the reason says what was tried; nothing is started", async () => {
  const PATH = await dockerThat('*) echo "Cannot connect to the Docker daemon" >&2; exit 1 ;;');
  const { engine, because } = await choose({ PATH });
  expect(engine).toMatchObject({ name: "buildkit", address: "embedded" });
  expect(because).toMatch(
    /^buildkit \(embedded\): .*BuildKit v[\d.]+ .*; docker buildx: `docker buildx inspect` exited 1: Cannot connect/,
  );
  expect(await engineStatus({ state: stateOf(root, { FACTORY_STATE: join(root, "state") }) })).toMatchObject({ running: false });
});

test("a buildx builder whose Docker server runs comes before embedded", async () => {
  const PATH = await dockerThat(`${container}\n"version"*) echo 29.0.0 ;;`);
  const { engine, because } = await choose({ PATH });
  expect(engine.address).toBe("docker buildx builder mine");
  expect(because).toContain("builder mine (docker-container)");
  expect(await engine.platforms()).toEqual(["linux/amd64", "linux/arm64"]);
});

test.each([
  {
    without: "a server",
    script: `${container}\n"version"*) echo "no daemon" >&2; exit 1 ;;`,
    why: "no Docker server: no daemon",
  },
  {
    without: "the containerd image store",
    script: '"buildx inspect"*) printf "Name: default\\nDriver: docker\\n" ;;\n"version"*) echo 28 ;;\n"info"*) echo "[]" ;;',
    why: "docker driver without the containerd image store",
  },
])("a builder without $without is passed over", async ({ script, why }) => {
  const { engine, because } = await choose({ PATH: await dockerThat(script) });
  expect(engine.address).toBe("embedded");
  expect(because).toContain(why);
});

test("FACTORY_BUILDKIT takes one and no other", async () => {
  const PATH = await dockerThat(`${container}\n"version"*) echo 29.0.0 ;;`);
  expect((await choose({ PATH, FACTORY_BUILDKIT: "embedded" }, "auto")).engine.address).toBe("embedded");
  await expect(choose({ FACTORY_BUILDKIT: "podman" })).rejects.toMatchObject({
    code: "ENGINE_MISSING",
  });
});

test("BUILDKIT_HOST is used when it answers", async () => {
  const env = { ...process.env, FACTORY_STATE: join(root, "state") };
  const lease = await acquireEmbedded({ env, state: stateOf(root, env), report: () => undefined });
  try {
    const { engine, because } = await choose({ BUILDKIT_HOST: lease.address });
    expect(engine.address).toBe(`BUILDKIT_HOST ${lease.address}`);
    expect(because).toContain("it answers");
    expect(await engine.platforms()).not.toEqual([]);
    // By a path that is no URL as it is; buildctl follows links.
    for (const name of ["a#b", "100%", "%23", "a?b", "a b"]) {
      await symlink(lease.address.replace("unix://", ""), join(root, name));
      const odd = await choose({ BUILDKIT_HOST: `unix://${join(root, name)}` });
      expect(odd.because).toContain("it answers");
      expect(await odd.engine.platforms()).not.toEqual([]);
    }
  } finally {
    await lease.release();
  }
});

test("a BUILDKIT_HOST that does not answer ends the choice: nothing else takes its place", async () => {
  const failed = choose({ BUILDKIT_HOST: `unix://${join(root, "none.sock")}` });
  await expect(failed).rejects.toMatchObject({
    code: "ENGINE_MISSING",
    message: expect.stringContaining("does not answer") as string,
  });
  await expect(choose({ BUILDKIT_HOST: "nonsense" })).rejects.toMatchObject({
    message: expect.stringContaining("is no address") as string,
  });
});
