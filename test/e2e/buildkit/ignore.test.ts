import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { acquireEmbedded, type Lease } from "../../../ci/engines/embedded/lease.js";
import { run } from "../../../ci/host/process.js";
import { stateOf } from "../../../ci/state/state.js";
import { takeSnapshot } from "../../../dagger/src/filesystem/take-snapshot.js";
import { readIgnoreLines } from "../../../dagger/src/pipeline/context/dockerignore.js";
import { ignoreRules, refusedLines } from "../../fixtures/ignore-rules.js";

let work = "";
let lease: Lease;
beforeAll(async () => {
  work = mkdtempSync(join(tmpdir(), "ignore-"));
  mkdirSync(join(work, "dockerfile"));
  writeFileSync(join(work, "dockerfile/Dockerfile"), "FROM scratch\nCOPY . /\n");
  lease = await acquireEmbedded({
    state: stateOf(work, process.env),
    env: process.env,
    report: () => undefined,
  });
});
afterAll(async () => {
  await lease.release();
  rmSync(work, { recursive: true, force: true });
});

/** Lets BuildKit copy a whole context and returns the folder that it filled. */
async function sent(context: string): Promise<{ ok: true; folder: string } | { ok: false; why: string }> {
  const folder = mkdtempSync(join(work, "sent-"));
  const args = ["--addr", lease.address, "build", "--progress", "plain", "--frontend", "dockerfile.v0"];
  const locals = ["--local", `context=${context}`, "--local", `dockerfile=${join(work, "dockerfile")}`];
  const done = await run(lease.buildctl, [...args, ...locals, "--output", `type=local,dest=${folder}`], { cwd: homedir() });
  return done.exitCode === 0 ? { ok: true, folder } : { ok: false, why: done.stderr };
}

function makeContext(ignore: string, paths: readonly string[]): string {
  const context = mkdtempSync(join(work, "context-"));
  writeFileSync(join(context, ".dockerignore"), ignore);
  for (const path of paths) {
    mkdirSync(dirname(join(context, path)), { recursive: true });
    if (path.endsWith("/")) mkdirSync(join(context, path), { recursive: true });
    else if (path.endsWith(".link")) symlinkSync("no/where", join(context, path));
    else writeFileSync(join(context, path), path);
  }
  return context;
}

const gathered = async (context: string, ignore: string) =>
  (await takeSnapshot(context, { roots: ["."], texts: [], ignore: readIgnoreLines(ignore) })).entries;

/** Every path below a folder, with what it is. */
const listing = async (folder: string) => (await takeSnapshot(folder, { roots: ["."], texts: [], ignore: [] })).entries;

describe("BuildKit sends the entries that we hash", () => {
  test.each(ignoreRules)("$name", async ({ ignore, sent: expected, left }) => {
    const context = makeContext(ignore, [...expected, ...left]);
    const result = await sent(context);
    expect(result).toMatchObject({ ok: true });
    if (!result.ok) return;
    const entries = await listing(result.folder);
    expect(entries).toEqual(await gathered(context, ignore));
    const names = new Set(entries.map(({ path }) => path));
    expect(expected.filter((path) => !names.has(path.replace(/\/$/, "")))).toEqual([]);
  });

  test("links, modes, empty folders and folders above an exception", async () => {
    const ignore = "**/m\n!**/README.md\n**/*.pyc\n!**/keep.link\n";
    const context = makeContext(ignore, [
      "m/README.md",
      "m/x.js",
      "a/m/deep/keep.link",
      "a/empty/",
      "a/x.pyc",
      "b.link",
      "m/none/",
      "a/m/no/y",
    ]);
    const result = await sent(context);
    expect(result.ok && (await listing(result.folder))).toEqual(await gathered(context, ignore));
  });
});

describe("BuildKit refuses what we refuse", () => {
  test.each(refusedLines)("$line", async ({ line, because }) => {
    const result = await sent(makeContext(`${line}\n`, ["x", "ax/y"]));
    expect(result.ok).toBe(because === "ours");
  });
});
