import { appendFileSync, cpSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { built } from "../integration/support/command.js";
import { type Ended, type Running, startFactory } from "../integration/support/factory.js";
import { openToolbox, type Toolbox } from "../integration/support/toolbox.js";
import { randomOf, rounds, seed, tally } from "./rounds.js";

/**
 * Builds and cleans at the same time in one state folder, some of them killed at any moment. Who is not killed ends well, with the right
 * image; and whoever comes afterwards is not kept out by those who died.
 */
let box: Toolbox;
let whole: string;
beforeAll(async () => {
  box = await openToolbox();
  whole = await box.machine("executed");
  await built(await box.checkout(), whole);
});
afterAll(() => box.close());

const env = (state: string) => ({
  FACTORY_STATE: state,
  FACTORY_REMOTE: "off",
  FACTORY_BUILDKIT: "none",
  FACTORY_SCOPE: "protected",
});

test("neither breaks the other, and a kill at any moment keeps nobody out", async () => {
  const random = randomOf("clean beside builds");
  const seen = tally();
  for (let round = 0; round < rounds({ short: 6, long: 150 }); round += 1) {
    const state = join(box.root, `shared-${round}`);
    cpSync(whole, state, { recursive: true });
    const projects = await Promise.all([box.checkout(), box.checkout()]);
    for (const [at, project] of projects.entries()) appendFileSync(join(project, "app/main.sh"), `# ${round} ${at}\n`);
    const digestOf = async (project: string) => built(project, await box.machine("executed"));
    const right = await Promise.all(projects.map(digestOf));
    const started: { what: string; at: number; running: Running; killed: boolean }[] = [];
    const start = (what: string, at: number, words: readonly string[]) =>
      started.push({ what, at, running: startFactory(projects[at]!, words, env(state)), killed: false });
    const jobs = [
      () => start("build", 0, ["build", "--json"]),
      () => start("build", 1, ["build", "--json"]),
      () => start("clean", 0, ["clean", "--keep", "1"]),
    ];
    if (random.below(2) === 0) jobs.push(() => start("clean", 1, ["clean"]));
    for (const job of jobs.sort(() => random.below(3) - 1)) {
      job();
      await pause(random.below(60));
    }
    if (random.below(3) > 0) {
      const victim = random.oneOf(started);
      await pause(random.below(250));
      victim.killed = victim.running.process.kill("SIGKILL");
    }
    try {
      for (const { what, at, running, killed } of started) {
        const ended: Ended = await running.ended;
        seen.add(killed ? `${what} killed` : `${what} ${ended.code}`);
        if (killed) continue;
        expect(ended.code, ended.stderr).toBe(0);
        if (what === "build") expect((JSON.parse(ended.stdout) as { digest: string }).digest).toBe(right[at]);
      }
      for (const [at, project] of projects.entries()) expect(await built(project, state)).toBe(right[at]);
      expect(readdirSync(join(state, "users")).filter((name) => name.startsWith("gate"))).toEqual([]);
    } catch (error) {
      throw new Error(`round ${round} of seed ${seed}`, { cause: error });
    } finally {
      for (const folder of [state, ...projects]) rmSync(folder, { recursive: true, force: true });
    }
  }
  seen.print("clean beside builds");
});
