import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { lstatSync, readdirSync, readlinkSync, symlinkSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { nameOfProcess, withLock } from "../../../ci/host/process-lock.js";
import { aloneInState } from "../../../ci/state/state-lock.js";
import { stateOf } from "../../../ci/state/state.js";

/** Two containers with one state folder: each has PIDs of its own, and neither sees the other's processes. */
const checkout = fileURLToPath(new URL("../../../", import.meta.url));
const namespace = ["unshare", "--pid", "--fork", "--mount-proc"];
const why = spawnSync(namespace[0]!, [...namespace.slice(1), "true"]).status === 0 ? null : "no PID namespace can be made here";

let folder: string;
const started: ChildProcess[] = [];
beforeEach(async () => void (folder = await mkdtemp(join(tmpdir(), "factory-locks-"))));
afterEach(async () => {
  for (const child of started.splice(0)) child.kill("SIGKILL");
  await rm(folder, { recursive: true, force: true });
});

/** A process that holds something, once it has it. */
const holder = async (
  words: readonly string[],
  prefix: readonly string[],
): Promise<{ child: ChildProcess; ended: Promise<void> }> => {
  const script = join(checkout, "test/integration/support/lock-holder.ts");
  const [first, ...rest] = [...prefix, process.execPath, "--import", "tsx", script, ...words];
  const child = spawn(first!, rest, { cwd: checkout, stdio: ["pipe", "pipe", "inherit"] });
  started.push(child);
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  await new Promise<void>((resolve, reject) => {
    child.stdout.once("data", () => resolve());
    child.once("close", (code) => reject(new Error(`the holder ended with ${code}`)));
  });
  return { child, ended };
};

describe.skipIf(why !== null)(`a process in another PID namespace${why === null ? "" : ` (skipped: ${why})`}`, () => {
  test("keeps its lock while it lives, and gives it back", async () => {
    const lock = join(folder, "lock");
    const { child, ended } = await holder(["lock", lock], namespace);
    const told: string[] = [];
    const entered = withLock(lock, async () => void told.push("entered"), {
      onWait: () => {
        told.push("waits");
        child.stdin!.end();
      },
    });
    await Promise.all([entered, ended]);
    expect(told).toEqual(["waits", "entered"]);
    expect(readdirSync(folder)).toEqual([]);
  });

  test("that was killed is found dead when its lock shows no sign of life", async () => {
    const lock = join(folder, "lock");
    const { child, ended } = await holder(["lock", lock], namespace);
    // A namespace ends with its first process.
    const [inner] = spawnSync("pgrep", ["--parent", String(child.pid)], { encoding: "utf8" })
      .stdout.trim()
      .split("\n");
    process.kill(Number(inner), "SIGKILL");
    await ended;
    expect(lstatSync(lock).isSymbolicLink()).toBe(true);
    expect(await withLock(lock, async () => "entered", { looks: 2 })).toBe("entered");
    expect(readdirSync(folder)).toEqual([]);
  });

  test("that uses a state folder is waited for by who wants it alone", async () => {
    const { child, ended } = await holder(["state", folder], namespace);
    const told: string[] = [];
    const around = {
      signal: new AbortController().signal,
      stderr: (text: string) => {
        told.push(text);
        child.stdin!.end();
      },
    };
    const state = stateOf("/", { FACTORY_STATE: folder });
    await Promise.all([aloneInState(state, around, async () => void told.push("alone")), ended]);
    expect(told).toEqual([
      expect.stringMatching(/^note: waiting for a command that uses the state folder \(process \d+\)\n$/),
      "alone",
    ]);
  });
});

describe("a lock of a dead process", () => {
  /** A process that no kernel has: pids end at 4194304. */
  const dead = "4194305-1-00000000";

  test("is taken away by one of many, and never the living one that took its place", async () => {
    const lock = join(folder, "lock");
    for (let round = 0; round < 5; round += 1) {
      symlinkSync(dead, lock);
      let inside = 0;
      await Promise.all(
        Array.from({ length: 8 }, () =>
          withLock(lock, async () => {
            inside += 1;
            expect(inside).toBe(1);
            expect(readlinkSync(lock).startsWith(nameOfProcess(process.pid))).toBe(true);
            await new Promise((resolve) => setImmediate(resolve));
            inside -= 1;
          }),
        ),
      );
      expect(readdirSync(folder)).toEqual([]);
    }
  });

  test("is taken away although the one who had the claim to it died as well", async () => {
    const lock = join(folder, "lock");
    symlinkSync(dead, lock);
    const stop = new AbortController();
    // The name of the claim is found by holding it: whoever comes then waits.
    const { createHash } = await import("node:crypto");
    const claim = `${lock}.${createHash("sha256").update(dead).digest("hex").slice(0, 16)}`;
    symlinkSync(`${nameOfProcess(process.pid)}-00000000`, claim);
    const waiting = withLock(lock, async () => undefined, { signal: stop.signal });
    stop.abort();
    await expect(waiting).rejects.toMatchObject({ code: "INTERRUPTED" });
    await rm(claim);
    symlinkSync("4194306-1-00000001", claim);
    expect(await withLock(lock, async () => "entered")).toBe("entered");
    expect(readdirSync(folder)).toEqual([]);
  });
});
