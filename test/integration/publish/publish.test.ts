import { appendFile, chmod, chown, mkdir, stat, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { findProgram } from "../../../ci/host/programs.js";
import { run as runProgram } from "../../../ci/host/process.js";
import type { ImageReport } from "../../../dagger/src/pipeline/report/image-report.js";
import { blobPath, readManifest } from "../../../dagger/src/oci-layout/blobs.js";
import { openPublishing, pathOf, type Publishing, short, wholeOf, wholeTags } from "../support/publishing.js";
import { whyNoRegistry } from "../support/registry.js";
import { applicationSize, textOf } from "../support/toolbox.js";

/** A publish and what comes after it, each test on the registry that the one before it left. Counted by the proxy, never by ourselves. */
const why = await whyNoRegistry();

describe("publish", () => {
  let at: Publishing;
  let project: string;
  let builder: string;
  let first: string;
  beforeAll(async () => {
    if (why !== null) return;
    at = await openPublishing();
    project = await at.box.checkout();
    builder = await at.box.machine("executed");
  });
  beforeEach((ctx) => {
    if (why !== null) ctx.skip(why);
    at.front.clear();
  });
  afterAll(() => at?.close());

  const changeCode = () => appendFile(join(project, "app/main.sh"), `# ${Math.random()}\n`);
  const layersDown = () => at.front.log.filter(({ method, down }) => method === "GET" && down > 100_000);

  test("everything that is made here goes up once, and every tag is whole", async () => {
    const { code, stdout, stderr } = await at.run(project, builder, ["publish", "--tag", "1.0.0"]);
    expect(code, stderr).toBe(0);
    first = /published \S+@(sha256:[0-9a-f]{64})/.exec(stdout)?.[1] ?? "";
    expect(stdout).toContain(`published ${at.front.host}/team/small@${first}\ntags: 1.0.0 moved\n2.3 MB up, `);
    expect(stdout).toContain(`next: docker pull ${at.front.host}/team/small@${first}`);
    const tags = await wholeTags(at.repository());
    expect(Object.keys(tags).map((tag) => tag.replace(/-[0-9a-f]{24}$/, ""))).toEqual([
      "1.0.0",
      "cache-base-tools",
      "cache-dependencies",
      "key",
    ]);
    expect(tags["1.0.0"]).toBe(first);
    const { blobs } = await wholeOf(at.repository(), first);
    const image = blobs.reduce((sum, { size }) => sum + size, 0);
    const up = at.front.log.reduce((sum, one) => sum + one.up, 0);
    // The cached stages share all layers with the image; what is left are indexes and manifests.
    expect(up / image).toBeLessThan(1.05);
  });

  test("what skopeo pulls is what the state folder has", async (ctx) => {
    if ((await findProgram("skopeo", process.env)) === null) ctx.skip("no skopeo on this machine");
    const source = `docker://${at.registry.host}/team/small@${first}`;
    const skopeo = async (...words: string[]) => {
      const done = await runProgram("skopeo", words);
      expect(done.exitCode, done.stderr).toBe(0);
      return done.stdout;
    };
    const pulled = join(at.box.root, "pulled");
    await skopeo("copy", "--quiet", "--src-tls-verify=false", "--preserve-digests", source, `oci:${pulled}:it`);
    const layout = join(builder, "layout");
    const ours = readManifest(layout, first);
    expect(readManifest(pulled, first)).toEqual(ours);
    for (const { digest } of [ours.config, ...ours.layers])
      expect(await textOf(blobPath(pulled, digest))).toBe(await textOf(blobPath(layout, digest)));
    const inspected = JSON.parse(await skopeo("inspect", "--tls-verify=false", source)) as Record<string, unknown>;
    expect(inspected).toMatchObject({
      Digest: first,
      Architecture: "amd64",
      Os: "linux",
      Created: "1980-01-02T00:00:00Z",
      Layers: ours.layers.map(({ digest }) => digest),
    });
  });

  test("again: nothing goes up, and nothing is asked but what is there", async () => {
    const again = await at.publish(project, builder, ["--tag", "1.0.0"]);
    expect(again).toMatchObject({ digest: first, published: "before", tags: [{ name: "1.0.0", outcome: "there" }] });
    expect(short(at.front.log)).toEqual(["GET manifests/key-…", "HEAD manifests/1.0.0"]);
  });

  test("another tag: only that tag moves", async () => {
    const again = await at.publish(project, builder, ["--tag", "1.0.1"]);
    expect(again).toMatchObject({ digest: first, published: "before", tags: [{ name: "1.0.1", outcome: "moved" }] });
    expect(short(at.front.log)).toEqual(["GET manifests/key-…", "HEAD manifests/1.0.1", "PUT manifests/1.0.1"]);
    expect((await wholeOf(at.repository(), "1.0.1")).digest).toBe(first);
  });

  test("two empty machines publish nothing new and say the same digest", async () => {
    for (const machine of [await at.box.machine("empty"), await at.box.machine("empty")]) {
      at.front.clear();
      const there = await at.publish(project, machine);
      expect(there).toMatchObject({ digest: first, published: "before" });
      // The image's config and the manifest of the stage below tell whether it has the layers of its stages.
      expect(short(at.front.log).sort()).toEqual([
        "GET blobs/sha256:…",
        "GET manifests/cache-base-tools-…",
        "GET manifests/cache-dependencies-…",
        "GET manifests/key-…",
        "GET manifests/sha256:…",
      ]);
    }
  });

  test("a code change on two empty machines: no layer comes down, the changed one goes up, one digest", async () => {
    await changeCode();
    const one = await at.publish(project, await at.box.machine("empty"), ["--tag", "1.1.0"]);
    expect(one.published).toBe("now");
    expect(one.record?.platforms[0]!.stages.map(({ stage, action }) => `${stage} ${action}`)).toEqual([
      "base-tools reuse",
      "dependencies reuse",
      "application assemble",
      "runtime assemble",
    ]);
    expect(layersDown()).toEqual([]);
    const { log } = at.front;
    const down = log.reduce((sum, { down }) => sum + down, 0);
    const blobsUp = log.filter(({ path }) => path.includes("/blobs/")).reduce((sum, { up }) => sum + up, 0);
    expect(down).toBeLessThan(300_000);
    expect(blobsUp).toBeLessThan(1.05 * (applicationSize + 2_000));
    expect(one.traffic).toMatchObject({ requests: log.length, down, up: log.reduce((sum, { up }) => sum + up, 0) });
    expect(short(log).length, short(log).join("\n")).toBeLessThanOrEqual(18);
    await wholeTags(at.repository());

    at.front.clear();
    const two = await at.publish(project, await at.box.machine("empty"));
    expect(two).toMatchObject({ published: "before", digest: one.digest });
    // The machine that has everything comes to the same image by itself.
    const { stdout } = await at.run(project, builder, ["build", "--json"], { FACTORY_REMOTE: "off" });
    expect((JSON.parse(stdout) as { digest: string }).digest).toBe(one.digest);
  });

  test("plan and build of a code change ask for no layer, and push nothing", async () => {
    await changeCode();
    for (const words of [["plan"], ["build"]]) {
      at.front.clear();
      const { code, stdout, stderr } = await at.run(project, await at.box.machine("empty"), words);
      expect(code, stderr).toBe(0);
      expect(stderr).not.toContain("engine:");
      expect(stdout).toMatch(/dependencies +[0-9a-f]{12} +(?:reuse +cache-dependencies-|reused)/);
      expect(layersDown()).toEqual([]);
      expect(at.front.log.filter(({ method }) => method !== "GET")).toEqual([]);
      expect(at.front.log.reduce((sum, { down }) => sum + down, 0)).toBeLessThan(300_000);
    }
  });

  test("report on an empty machine fetches the indexes of the executed stages, and no layer", async () => {
    const words = ["report", "--json"];
    const { code, stdout, stderr } = await at.run(project, await at.box.machine("empty"), words);
    expect(code, stderr).toBe(0);
    expect(layersDown()).toEqual([]);
    expect(at.front.log.filter(({ method }) => method !== "GET")).toEqual([]);
    expect(at.front.log.reduce((sum, { down }) => sum + down, 0)).toBeLessThan(300_000);
    const { reports } = JSON.parse(stdout) as { reports: ImageReport[] };
    const [empty] = reports;
    expect(empty!.stages.map(({ stage, layers }) => [stage, layers])).toEqual([
      ["base-tools", 1],
      ["dependencies", 1],
      // Nobody has assembled them here.
      ["application", null],
      ["runtime", null],
    ]);
    // The machine that has it all says the same of what is in it.
    const full = await at.run(project, builder, words, { FACTORY_REMOTE: "off" });
    expect((JSON.parse(full.stdout) as { reports: ImageReport[] }).reports[0]).toMatchObject({
      total: { unpacked: empty!.total.unpacked, files: empty!.total.files },
      files: empty!.files,
      folders: empty!.folders,
    });
    const alone = await at.run(project, await at.box.machine("empty"), words, { FACTORY_REMOTE: "off" });
    expect(alone.code).not.toBe(0);
    expect(alone.stderr).toContain("base-tools of small for linux/amd64 is not built");
  });

  test("an output fetches what is missing, and says how much", async () => {
    const machine = await at.box.machine("empty");
    await changeCode();
    const target = join(at.box.root, "image.tar");
    const { code, stderr } = await at.run(project, machine, ["build", "--output", `tar:${target}`]);
    expect(code, stderr).toBe(0);
    expect(stderr).toContain(`fetching 2.1 MB of ${at.front.host}/team/small\n`);
    expect(layersDown().length).toBe(2);
    expect((await stat(target)).size).toBeGreaterThan(2_100_000);
    at.front.clear();
    const again = await at.run(project, machine, ["build", "--output", `tar:${target}`], { FACTORY_REMOTE: "off" });
    expect(again.code, again.stderr).toBe(0);
    expect(at.front.log).toEqual([]);
  });

  test("a machine with node and nothing else, and a user without rights, publishes a code change", async (ctx) => {
    if (process.getuid?.() !== 0 || (await findProgram("setpriv", process.env)) === null)
      ctx.skip("becoming another user needs root and setpriv");
    const setpriv = (await findProgram("setpriv", process.env))!;
    const prefix = [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", "--"];
    // The program takes its compressors from the checkout's node_modules.
    const reads = await runProgram(setpriv, [
      ...prefix.slice(1),
      "test",
      "-r",
      fileURLToPath(new URL("../../../package.json", import.meta.url)),
    ]);
    if (reads.exitCode !== 0) ctx.skip("this checkout stands where other users cannot read it");
    const home = join(at.box.root, "nobody");
    const bin = join(home, "bin");
    const mine = join(home, "project");
    await mkdir(bin, { recursive: true });
    await symlink(process.execPath, join(bin, "node"));
    await runProgram("cp", ["-r", project, mine]);
    await writeFile(join(mine, "app/main.sh"), "of nobody\n");
    await runProgram("chown", ["-R", "65534:65534", home]);
    await chown(home, 65534, 65534);
    await chmod(home, 0o755);
    const env = { ...pathOf(bin), HOME: home };
    const { code, stdout, stderr } = await at.run(mine, join(home, "state"), ["publish", "--tag", "latest"], env, prefix);
    expect(code, stderr).toBe(0);
    expect(stderr).not.toContain("engine:");
    expect(stderr).toContain("note: no commit to compare with where latest stands: there is no git on PATH");
    expect(stdout).toContain("tags: latest moved");
    expect((await stat(join(home, "state"))).uid).toBe(65534);
    expect(dirname(process.execPath)).not.toBe(bin);
    await wholeOf(at.repository(), "latest");
  });
});
