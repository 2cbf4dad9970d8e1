import { appendFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { run as runProgram } from "../../../ci/host/process.js";
import type { FaultyProxy } from "../support/faulty-proxy.js";
import { openPublishing, type Publishing, wholeOf, wholeTags } from "../support/publishing.js";
import { whyNoRegistry } from "../support/registry.js";

/** A registry that misbehaves on cue: after each fault the right image or a clear error, and the next run heals. */
const why = await whyNoRegistry();

type Rule = Parameters<FaultyProxy["on"]>[0];
const errors = (code: string, detail: unknown = null) =>
  JSON.stringify({ errors: [{ code, message: code.toLowerCase(), detail }] });
const root = /manifests\/sha256:/;
const upload = /uploads\/.+digest=/;

describe("a publish", () => {
  let at: Publishing;
  let project: string;
  let builder: string;
  beforeAll(async () => {
    if (why !== null) return;
    at = await openPublishing();
    project = await at.box.checkout();
    builder = await at.box.machine("executed");
    await at.publish(project, builder, ["--tag", "latest"]);
  });
  beforeEach((ctx) => {
    if (why !== null) ctx.skip(why);
    at.front.clear();
  });
  afterAll(() => at?.close());
  const change = () => appendFile(join(project, "app/main.sh"), "# more\n");
  /** What the machine that has everything makes of it, without the registry. */
  const expected = async () => {
    const { stdout } = await at.run(project, builder, ["build", "--json"], { FACTORY_REMOTE: "off" });
    return (JSON.parse(stdout) as { digest: string }).digest;
  };

  test.each<[string, Omit<Rule, "fault">, Rule["fault"]]>([
    ["a burst of 503", { path: /./, times: 3 }, { do: "answer", status: 503 }],
    [
      "429 with Retry-After",
      { path: /uploads\/$/, method: "POST" },
      { do: "answer", status: 429, headers: { "retry-after": "1" } },
    ],
    ["500 at the manifest", { path: root, method: "PUT", times: 2 }, { do: "answer", status: 500, body: errors("UNKNOWN") }],
    ["a reset at the first question", { path: /manifests\/key-/ }, { do: "reset" }],
    ["a reset within a layer", { path: upload, method: "PUT" }, { do: "reset", after: 1000 }],
    ["a layer of which a part arrives", { path: upload, method: "PUT" }, { do: "break", after: 500 }],
    ["a layer that arrived, and an answer that did not", { path: upload, method: "PUT" }, { do: "lose" }],
    ["a manifest that arrived, and an answer that did not", { path: root, method: "PUT" }, { do: "lose" }],
    ["a tag that moved, and an answer that did not", { path: /manifests\/latest$/, method: "PUT" }, { do: "lose" }],
    [
      "a ref whose index is cut on the way",
      { path: /manifests\/cache-/, method: "GET", times: 2 },
      { do: "truncate", after: 100 },
    ],
    ["a ref whose part is cut on the way", { path: /blobs\/sha256/, method: "GET", times: 3 }, { do: "truncate", after: 10 }],
    [
      "an upload that the registry forgets",
      { path: upload, method: "PUT" },
      { do: "answer", status: 404, body: errors("BLOB_UPLOAD_UNKNOWN") },
    ],
    ["HEAD of a layer that fails", { path: /blobs\/sha256/, method: "HEAD" }, { do: "answer", status: 500 }],
  ])("gets over %s", async (_, rule, fault) => {
    await change();
    at.front.on({ ...rule, fault });
    const done = await at.publish(project, await at.box.machine("empty"), ["--tag", "latest"]);
    expect(done).toMatchObject({ published: "now", digest: await expected() });
    expect(at.front.log.some((one) => one.fault !== null)).toBe(true);
    expect((await wholeTags(at.repository()))["latest"]).toBe(done.digest);
  });

  test("gets over a registry that lacks what a ref was seen to hold, and says which", async () => {
    await change();
    const { blobs } = await wholeOf(at.repository(), "latest");
    const { digest } = blobs.find(({ size }) => size > 1_000_000)!;
    at.front.on({
      path: root,
      method: "PUT",
      fault: { do: "answer", status: 404, body: errors("MANIFEST_BLOB_UNKNOWN", digest) },
    });
    const done = await at.publish(project, builder, ["--tag", "latest"]);
    expect(done).toMatchObject({ published: "now", digest: await expected() });
    await wholeTags(at.repository());
  });

  test.each<[string, Rule["fault"]]>([
    ["403", { do: "answer", status: 403, body: errors("DENIED") }],
    ["405", { do: "answer", status: 405, body: errors("UNSUPPORTED") }],
    ["an upload that was begun in its place", { do: "change", status: 202 }],
  ])("a mount that is refused (%s) sends the layer", async (_, fault) => {
    const branch = { FACTORY_SCOPE: "branch", FACTORY_REGISTRY: `${at.front.host}/team${_.length}` };
    const { digest } = await at.publish(project, await at.box.machine("executed"), [], branch);
    await change();
    at.front.on({ path: /mount=/, method: "POST", times: 99, fault });
    const done = await at.publish(project, await at.box.machine("empty"), [], branch);
    expect(done).toMatchObject({ published: "now", digest: await expected() });
    expect(done.digest).not.toBe(digest);
  });

  test("that ends with an error leaves everything as it was, and the next one goes on", async () => {
    await change();
    const before = await wholeTags(at.repository());
    at.front.on({ path: root, method: "PUT", times: 9, fault: { do: "answer", status: 403, body: errors("DENIED") } });
    const machine = await at.box.machine("empty");
    const failed = await at.run(project, machine, ["publish", "--tag", "latest"]);
    expect(failed.code).toBe(77);
    expect(await wholeTags(at.repository())).toEqual(before);
    at.front.clear();
    const done = await at.publish(project, machine, ["--tag", "latest"]);
    expect(done).toMatchObject({ published: "now", digest: await expected() });
    // What was uploaded before the error is there: only manifests go up.
    expect(at.front.log.filter(({ path }) => upload.test(path))).toEqual([]);
  });

  test("that is interrupted ends as such, and the next one goes on", async () => {
    await change();
    const machine = await at.box.machine("empty");
    at.front.on({ path: root, method: "PUT", fault: { do: "stall", after: -1 } });
    const running = at.start(project, machine, ["publish", "--tag", "latest"]);
    await expect.poll(() => at.front.count("PUT", root), { timeout: 60_000 }).toBe(1);
    running.process.kill("SIGINT");
    const { code, stderr } = await running.ended;
    expect(stderr).toContain("error INTERRUPTED");
    expect(code).toBe(130);
    expect(await at.publish(project, machine, ["--tag", "latest"])).toMatchObject({ digest: await expected() });
    await wholeTags(at.repository());
  });

  test.for([
    ["while a stage is brought", "20k", []],
    ["while a layer is written", "100k", []],
    ["while layers are fetched", "1m", ["--output", "tar:out.tar"]],
  ] as const)("a disk that fills up %s is told as such, and with room the work goes on", async ([, size, words], ctx) => {
    await change();
    const machine = await at.box.machine("empty");
    await mkdir(machine);
    const mounted = await runProgram("mount", ["-t", "tmpfs", "-o", `size=${size}`, "none", machine]);
    if (mounted.exitCode !== 0) ctx.skip("a small disk cannot be mounted here");
    try {
      const full = await at.run(project, machine, ["build", ...words]);
      expect(full.stderr).toContain("error DISK_FULL: ");
      expect(full.code).toBe(74);
      await runProgram("mount", ["-o", "remount,size=64m", machine]);
      const done = await at.run(project, machine, ["build", "--json", ...words]);
      expect(done.code, done.stderr).toBe(0);
      expect((JSON.parse(done.stdout) as { digest: string }).digest).toBe(await expected());
    } finally {
      await runProgram("umount", [machine]);
    }
  });
});
