import { createHash } from "node:crypto";
import { existsSync, readdirSync, readlinkSync, rmSync, symlinkSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { isAlive, nameOfProcess, withLock } from "../../../ci/host/process-lock.js";
import { scratchFolder } from "../../fixtures/scratch.js";

const { at, put } = scratchFolder();
/** A process that no kernel has: pids end at 4194304. */
const dead = "4194305-1";

describe("the name of a process", () => {
  test("is that of a living one, and of no other with its number", async () => {
    const name = nameOfProcess(process.pid);
    expect(isAlive(name)).toBe(true);
    expect(isAlive(`${process.pid}-1`)).toBe(false);
    expect(isAlive(dead)).toBe(false);
    for (const odd of ["", "x", "-1", "0x1-2"]) expect(isAlive(odd)).toBe(false);
  });
});

describe("a lock", () => {
  test("lets in one at a time, in whatever order they come", async () => {
    let inside = 0;
    let most = 0;
    const work = async () => {
      inside += 1;
      most = Math.max(most, inside);
      await new Promise((resolve) => setImmediate(resolve));
      inside -= 1;
    };
    await Promise.all(Array.from({ length: 8 }, () => withLock(at("lock"), work)));
    expect(most).toBe(1);
    expect(readdirSync(at(""))).toEqual([]);
  });

  test("names its holder, and is given back by work that fails", async () => {
    const failing = withLock(at("deep/lock"), async () => {
      expect(readlinkSync(at("deep/lock"))).toMatch(new RegExp(`^${nameOfProcess(process.pid)}-[0-9a-f]{8}$`));
      throw new Error("it failed");
    });
    await expect(failing).rejects.toThrow("it failed");
    expect(existsSync(at("deep/lock"))).toBe(false);
  });

  test.each([
    ["of a process that died", () => symlinkSync(`${dead}-00000000`, at("lock"))],
    ["that is no lock of ours", () => void put("lock", "")],
  ])("%s is taken over, by one of many", async (_, leave) => {
    leave();
    const entered: number[] = [];
    await Promise.all([1, 2, 3].map((one) => withLock(at("lock"), async () => void entered.push(one))));
    expect(entered.sort()).toEqual([1, 2, 3]);
    expect(readdirSync(at(""))).toEqual([]);
  });

  test("of a process that died is not taken away by one who waited while another took it", async () => {
    const gone = `${dead}-00000000`;
    symlinkSync(gone, at("lock"));
    // Another process has the right to remove it.
    const claim = `lock.${createHash("sha256").update(gone).digest("hex").slice(0, 16)}`;
    symlinkSync(`${nameOfProcess(process.pid)}-11111111`, at(claim));
    const events: string[] = [];
    const waits = Promise.withResolvers<void>();
    const waiting = withLock(at("lock"), async () => void events.push("entered"), { onWait: () => waits.resolve() });
    // It removes the lock and takes it, as this process does here, and gives the right back.
    rmSync(at("lock"));
    symlinkSync(`${nameOfProcess(process.pid)}-22222222`, at("lock"));
    rmSync(at(claim));
    await waits.promise;
    expect(readlinkSync(at("lock"))).toBe(`${nameOfProcess(process.pid)}-22222222`);
    expect(events).toEqual([]);
    rmSync(at("lock"));
    await waiting;
    expect(events).toEqual(["entered"]);
    expect(readdirSync(at(""))).toEqual([]);
  });

  test("of a living process is waited for, told once, until the signal", async () => {
    symlinkSync(`${nameOfProcess(process.pid)}-00000000`, at("lock"));
    const stop = new AbortController();
    const told: string[] = [];
    const waiting = withLock(at("lock"), async () => undefined, {
      signal: stop.signal,
      onWait: (holder) => {
        told.push(holder);
        stop.abort();
      },
    });
    await expect(waiting).rejects.toMatchObject({ code: "INTERRUPTED" });
    expect(told).toEqual([String(process.pid)]);
    expect(existsSync(at("lock"))).toBe(false);
    expect(readdirSync(at(""))).toEqual(["lock"]);
  });
});
