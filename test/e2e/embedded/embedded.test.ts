import { mkdir, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  acquireEmbedded,
  embeddedReadiness,
  enginePrune,
  engineStart,
  engineStatus,
  engineStop,
  type Setup,
} from "../../../ci/engines/embedded/lease.js";
import { placesOf } from "../../../ci/engines/embedded/daemon.js";
import { run } from "../../../ci/host/process.js";
import { stateOf } from "../../../ci/state/state.js";
import { type Bench, openBench } from "../buildkit/buildkit.jobs.js";

let bench: Bench;
let setup: Setup;
beforeAll(async () => {
  bench = await openBench();
  setup = bench.setup;
});
afterAll(async () => {
  await engineStop(setup);
  await bench.close();
});

/** Looks until it is so; the test's own time limit ends it otherwise. */
const eventually = async (so: () => Promise<boolean>): Promise<void> => {
  while (!(await so())) await pause(20);
};
const isRunning = async () => (await engineStatus(setup)).running;
const pidOf = async () => {
  const status = await engineStatus(setup);
  return status.running ? status.pid : null;
};

test("is ready here, and nothing runs before it is asked for", async () => {
  expect(await embeddedReadiness(setup)).toMatchObject({ ready: true });
  expect(await engineStatus(setup)).toMatchObject({ running: false, version: "v0.34.2" });
});

test("callers share one daemon, and the last one stops it", async () => {
  const leases = await Promise.all([acquireEmbedded(setup), acquireEmbedded(setup)]);
  expect(leases[0].address).toBe(leases[1].address);
  expect(await engineStatus(setup)).toMatchObject({ running: true, holders: 2, kept: false });
  const pid = await pidOf();
  await leases[0].release();
  expect(await pidOf()).toBe(pid);
  await leases[1].release();
  expect(await isRunning()).toBe(false);
});

test("a daemon that was killed is replaced", async () => {
  const first = await acquireEmbedded(setup);
  const pid = await pidOf();
  process.kill(pid ?? 0, "SIGKILL");
  await eventually(async () => !(await isRunning()));
  const second = await acquireEmbedded(setup);
  expect(await pidOf()).not.toBe(pid);
  expect(await engineStatus(setup)).toMatchObject({ running: true, holders: 2 });
  await first.release();
  await second.release();
  expect(await isRunning()).toBe(false);
});

test("what a killed daemon left mounted is gone before the next one starts, and what was mounted is not touched", async (ctx) => {
  if (process.getuid?.() !== 0) ctx.skip("only root can mount");
  const { temporary } = placesOf(setup.state.engine);
  const first = await acquireEmbedded(setup);
  // As BuildKit does it for the secrets of a step, and to read a layer.
  const [secrets, layer, kept] = [
    join(temporary, "buildkit-secrets"),
    join(temporary, "a layer"),
    join(setup.state.root, "kept"),
  ];
  for (const folder of [secrets, layer, kept]) await mkdir(folder, { recursive: true });
  await writeFile(join(kept, "file"), "precious");
  await run("mount", ["-t", "tmpfs", "tmpfs", secrets]);
  await writeFile(join(secrets, "token"), "secret");
  await run("mount", ["--bind", kept, layer]);
  process.kill((await pidOf()) ?? 0, "SIGKILL");
  await eventually(async () => !(await isRunning()));
  const second = await acquireEmbedded(setup);
  const environment = await readFile(`/proc/${await pidOf()}/environ`, "utf8");
  expect(environment.split("\0")).toContain(`TMPDIR=${temporary}`);
  expect(await readFile("/proc/self/mountinfo", "utf8")).not.toContain("buildkit-secrets");
  expect(await readdir(temporary)).not.toContain("buildkit-secrets");
  expect(await readFile(join(kept, "file"), "utf8")).toBe("precious");
  await first.release();
  await second.release();
  // Nothing of a daemon that ended stays either.
  await expect(readdir(temporary)).rejects.toMatchObject({ code: "ENOENT" });
});

describe("another process", () => {
  const script = (what: string) => `
    import { acquireEmbedded, engineStop } from ${JSON.stringify(resolve("ci/engines/embedded/lease.ts"))};
    import { stateOf } from ${JSON.stringify(resolve("ci/state/state.ts"))};
    const env = process.env;
    const setup = { env, state: stateOf(".", env), report() {} };
    ${what}`;
  const start = (what: string, signal?: AbortSignal, onLine?: (line: string) => void) =>
    run(process.execPath, ["--import", "tsx", "--input-type=module", "--eval", script(what)], {
      env: setup.env,
      ...(onLine === undefined ? {} : { onLine }),
      ...(signal === undefined ? {} : { signal }),
    });

  test("shares the daemon, and leaves it to us", async () => {
    const lease = await acquireEmbedded(setup);
    const done = await start("const lease = await acquireEmbedded(setup); console.log(lease.address); await lease.release();");
    expect(done).toMatchObject({ exitCode: 0, stdout: `${lease.address}\n` });
    expect(await engineStatus(setup)).toMatchObject({ running: true, holders: 1 });
    await lease.release();
  });

  test("that is killed does not leave the daemon behind", async () => {
    const done = await start('await acquireEmbedded(setup); process.kill(process.pid, "SIGKILL");');
    expect(done.exitCode).not.toBe(0);
    expect(await readFile(join(setup.state.engine, "daemon"), "utf8")).toMatch(/^\d+-\d+\n$/);
    await eventually(async () => !(await isRunning()));
  });

  test("may keep the daemon, until it is told to stop", async () => {
    await engineStart(setup);
    const pid = await pidOf();
    await start("const lease = await acquireEmbedded(setup); await lease.release();");
    expect(await engineStatus(setup)).toMatchObject({ running: true, pid, holders: 0, kept: true });
    const lease = await acquireEmbedded(setup);
    expect(await engineStop(setup)).toBe("in use");
    expect(await pidOf()).toBe(pid);
    await lease.release();
    expect(await isRunning()).toBe(false);
    expect(await engineStop(setup)).toBe("not running");
  });
});

test("a state folder with a long path gets its socket elsewhere", async () => {
  const env = { ...setup.env, FACTORY_STATE: bench.path("long".repeat(30)) };
  const long = { ...setup, env, state: stateOf(".", env) };
  const lease = await acquireEmbedded(long);
  try {
    expect(lease.address.length).toBeLessThan(107 + "unix://".length);
    expect(await engineStatus(long)).toMatchObject({ running: true });
  } finally {
    await lease.release();
  }
  expect((await run("ls", [lease.address.replace("unix://", "")])).exitCode).not.toBe(0);
});

test("a daemon that cannot start says why, and leaves nothing running", async () => {
  const lease = await acquireEmbedded(setup);
  const env = { ...setup.env, FACTORY_STATE: bench.path("broken") };
  const broken = { ...setup, env, state: stateOf(".", env) };
  // BuildKit's own state has room for one daemon.
  await mkdir(broken.state.engine, { recursive: true });
  await symlink(join(setup.state.engine, "root"), join(broken.state.engine, "root"));
  const refused = {
    code: "ENGINE_FAILED",
    message: expect.stringMatching(/buildkitd: could not lock/) as string,
  };
  await expect(acquireEmbedded(broken)).rejects.toMatchObject(refused);
  expect(await engineStatus(broken)).toMatchObject({ running: false });
  await lease.release();
});

test("settings that make no sense are refused before anything starts", async () => {
  for (const odd of [{ FACTORY_ENGINE_DISK: "plenty" }, { FACTORY_PLAIN_HTTP: "http://registry:5000" }])
    await expect(acquireEmbedded({ ...setup, env: { ...setup.env, ...odd } })).rejects.toMatchObject({ code: "USAGE" });
});

test("prune empties the cache, and the next build still works", async () => {
  const job = await bench.job("RUN echo pruned > /pruned");
  const first = await bench.execute(job);
  expect((await bench.execute(job)).events).toContainEqual(expect.objectContaining({ type: "step-ended", cached: true }));
  expect(await enginePrune(setup, 0)).toMatch(/^Total:\s+[\d.]+[kMG]?B$/);
  const again = await bench.execute(job);
  expect(again.events).not.toContainEqual(expect.objectContaining({ type: "step-ended", cached: true }));
  expect(again.digest).toBe(first.digest);
  await bench.engine.release();
});

test("everything may be deleted", async () => {
  await rm(setup.state.engine, { recursive: true, force: true });
  const lease = await acquireEmbedded(setup);
  await lease.release();
  expect(await isRunning()).toBe(false);
});
