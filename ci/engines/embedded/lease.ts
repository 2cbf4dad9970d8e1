/**
 * # ci/engines/embedded
 *
 * The BuildKit daemon that this program compiles and runs by itself. It lives as long as somebody holds it, and what a killed one left is
 * removed at the next start.
 */
import { randomBytes } from "node:crypto";
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { FactoryError } from "../../../dagger/src/pipeline/common/error.js";
import { isAlive, nameOfProcess, withLock } from "../../host/process-lock.js";
import { canInstall, ensureHostPrograms, findProgram, type HostEnv } from "../../host/programs.js";
import { run } from "../../host/process.js";
import type { State } from "../../state/state.js";
import { areBuilt, type Binaries, binariesIn, ensureBinaries, goFor } from "./binaries.js";
import { daemonConfig, settingsOf } from "./daemon-config.js";
import { type Places, placesOf, runningDaemon, startDaemon, stopDaemon } from "./daemon.js";
import type { Readiness } from "../interface/engine.js";

/** What the embedded engine needs to know of its surroundings. `report` gets a line about each thing that takes long. */
export type Setup = { state: State; env: HostEnv; report: (line: string) => void };

/** A share in the daemon: it runs at least until every lease is released. */
export type Lease = { address: string; buildctl: string; release(): Promise<void> };

export type EngineStatus =
  | {
      running: true;
      pid: number;
      address: string;
      version: string;
      holders: number;
      kept: boolean;
      log: string;
    }
  | { running: false; version: string; compiled: boolean; log: string };

const keepName = "keep";
const addressOf = (places: Places): string => `unix://${places.socket}`;

/** Whether the embedded engine could run here. It looks only: nothing is compiled, installed or started. */
export async function embeddedReadiness(setup: Setup): Promise<Readiness> {
  const fix = "set BUILDKIT_HOST, or create a docker buildx builder: docker buildx create --use";
  if (process.platform !== "linux") return { ready: false, why: `it needs Linux, this is ${process.platform}`, fix };
  const rootless = await rootlessPrograms(setup.env);
  if ("why" in rootless) return { ready: false, why: rootless.why, fix: rootless.fix };
  if ((await findProgram("runc", setup.env)) === null && !(await canInstall(setup.env)))
    return { ready: false, why: "runc is not on PATH", fix: "sudo apt-get install runc" };
  const binaries = await binariesIn(setup.state.cache);
  if (await areBuilt(binaries)) return { ready: true, why: `BuildKit ${binaries.version} is compiled` };
  const go = await goFor(setup.env);
  if ("why" in go) return { ready: false, why: go.why, fix: "install Go from https://go.dev/dl/" };
  return { ready: true, why: `BuildKit ${binaries.version} will be compiled once` };
}

/**
 * Brings the engine up, or joins the one that runs for this state folder.
 * @throws FactoryError HOST_TOOL_MISSING, PERMISSION, ENGINE_FAILED, INTERRUPTED
 */
export async function acquireEmbedded(setup: Setup, signal?: AbortSignal): Promise<Lease> {
  const { state, env, report } = setup;
  const places = placesOf(state.engine);
  const settings = settingsOf(env);
  const rootless = await rootlessPrograms(env);
  if ("why" in rootless) {
    throw new FactoryError("PERMISSION", {
      what: "cannot start the embedded engine",
      why: rootless.why,
      fix: rootless.fix,
    });
  }
  const found = await ensureHostPrograms([{ program: "runc", apt: "runc" }], env, report, signal);
  const binaries = await ensureBinaries(state.cache, env, report, signal);
  await mkdir(places.holders, { recursive: true });
  const holder = join(places.holders, `${nameOfProcess(process.pid)}-${randomBytes(4).toString("hex")}`);
  const release = () =>
    withLock(places.lock, async () => {
      await rm(holder, { force: true });
      if ((await living(places)).length === 0) await stopDaemon(places);
    });
  try {
    await withLock(
      places.lock,
      async () => {
        await writeFile(holder, "");
        if (env["FACTORY_ENGINE_KEEP"] === "1") await writeFile(join(places.holders, keepName), "");
        await sweep(places);
        if ((await runningDaemon(places)) !== null && !(await isStopping(places))) return;
        await stopDaemon(places);
        const runc = found.get("runc") ?? "runc";
        const config = daemonConfig({
          runc,
          sockets: places.sockets,
          rootless: rootless.prefix.length > 0,
          ...settings,
        });
        await startDaemon(places, commandOf(binaries, places, rootless.prefix), config, env, signal);
      },
      { signal },
    );
  } catch (error) {
    await release();
    throw error;
  }
  return { address: addressOf(places), buildctl: binaries.buildctl, release };
}

/** Starts the engine and leaves it running until `engineStop`. */
export async function engineStart(setup: Setup, signal?: AbortSignal): Promise<EngineStatus> {
  const lease = await acquireEmbedded({ ...setup, env: { ...setup.env, FACTORY_ENGINE_KEEP: "1" } }, signal);
  await lease.release();
  return engineStatus(setup);
}

export async function engineStatus({ state }: Pick<Setup, "state">): Promise<EngineStatus> {
  const places = placesOf(state.engine);
  const binaries = await binariesIn(state.cache);
  const name = await runningDaemon(places);
  const { version } = binaries;
  if (name === null) return { running: false, version, compiled: await areBuilt(binaries), log: places.log };
  const holders = await living(places);
  const kept = holders.includes(keepName);
  return {
    running: true,
    pid: Number(name.split("-")[0]),
    address: addressOf(places),
    version,
    holders: holders.length - (kept ? 1 : 0),
    kept,
    log: places.log,
  };
}

/**
 * Ends keep mode, and the daemon if no build uses it. "in use" leaves it to the last build to stop it.
 */
export async function engineStop({ state }: Pick<Setup, "state">): Promise<"stopped" | "in use" | "not running"> {
  const places = placesOf(state.engine);
  return withLock(places.lock, async () => {
    await rm(join(places.holders, keepName), { force: true });
    if ((await living(places)).length > 0) return "in use";
    return (await stopDaemon(places)) ? "stopped" : "not running";
  });
}

/**
 * Removes cached results, the least recently used first, until at most `keepBytes` are left; returns what buildctl says.
 * @throws FactoryError ENGINE_FAILED and all that starting the engine can meet
 */
export async function enginePrune(setup: Setup, keepBytes: number, signal?: AbortSignal): Promise<string> {
  const lease = await acquireEmbedded(setup, signal);
  try {
    // BuildKit takes 0 for "no limit": a megabyte of bookkeeping is the least that one can ask for.
    const megabytes = String(keepBytes / 1_000_000);
    const limit = keepBytes > 0 ? ["--keep-storage", megabytes] : [];
    const done = await run(
      lease.buildctl,
      ["--addr", lease.address, "prune", "--all", ...limit],
      signal === undefined ? {} : { signal },
    );
    if (done.exitCode === 0) return done.stdout.trim().split("\n").at(-1) ?? "";
    throw new FactoryError("ENGINE_FAILED", {
      what: "cannot remove cached results",
      why: done.stderr.trim(),
      fix: "stop other builds and try again: ./task engine -- stop",
    });
  } finally {
    await lease.release();
  }
}

const commandOf = (binaries: Binaries, places: Places, prefix: readonly string[]): [string, ...string[]] => {
  const daemon = [binaries.buildkitd, "--config", places.config, "--root", places.root, "--addr", addressOf(places)];
  const [program = binaries.buildkitd, ...args] = [...prefix, ...daemon];
  return [program, ...args];
};

const isStopping = async (places: Places): Promise<boolean> => (await readdir(places.folder)).includes("stopping");

const living = async (places: Places): Promise<string[]> => {
  const names = await readdir(places.holders).catch(() => []);
  const alive = await Promise.all(names.map(async (name) => name === keepName || isAlive(name)));
  return names.filter((_, index) => alive[index]);
};

async function sweep(places: Places): Promise<void> {
  const alive = await living(places);
  const dead = (await readdir(places.holders)).filter((name) => !alive.includes(name));
  await Promise.all(dead.map((name) => rm(join(places.holders, name), { force: true })));
}

/** What stands before the daemon's command line for a user who is not root. */
async function rootlessPrograms(env: HostEnv): Promise<{ prefix: readonly string[] } | { why: string; fix: string }> {
  if (process.getuid?.() === 0) return { prefix: [] };
  const rootlesskit = await findProgram("rootlesskit", env);
  const newuidmap = await findProgram("newuidmap", env);
  if (rootlesskit === null || newuidmap === null) {
    return {
      why: `not root, and ${rootlesskit === null ? "rootlesskit" : "newuidmap"} is not on PATH`,
      fix: "sudo apt-get install rootlesskit uidmap, or run as root, or set BUILDKIT_HOST",
    };
  }
  return { prefix: [rootlesskit, "--net=host", "--copy-up=/etc", "--copy-up=/run"] };
}
