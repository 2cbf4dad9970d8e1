import { appendFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { BuildRecord } from "../../../dagger/src/pipeline/common/build-record.js";
import type { ImageIndex, Manifest } from "../../../dagger/src/pipeline/oci/manifest.js";
import { known } from "../../../dagger/src/registry/reference/lookup.js";
import { clientOf } from "../../integration/support/client.js";
import { type FaultyProxy, startFaultyProxy } from "../../integration/support/faulty-proxy.js";
import { wholeTags } from "../../integration/support/publishing.js";
import { actionsOf, type Ended, factory } from "../support/factory.js";
import { lacking } from "../support/needs.js";
import { platform } from "../support/small.js";
import { openTiny, type Tiny } from "../support/tiny.js";

/** The registry as the cache, with an engine that executes: what comes down, what is made again, and what heals. */
const absent = await lacking("docker-registry", "skopeo", "busybox", "runc");

describe.skipIf(absent !== null)(`publish with an engine${absent === null ? "" : ` (skipped: ${absent})`}`, () => {
  let tiny: Tiny;
  let front: FaultyProxy;
  let project: string;
  let machines = 0;
  let env: Record<string, string | undefined>;
  beforeAll(async () => {
    tiny = await openTiny();
    front = await startFaultyProxy(tiny.registry.host);
    project = await tiny.project("");
    // One daemon for all machines of the file; each has a state folder of its own.
    await factory(project, ["engine", "start"], tiny.env);
    env = {
      FACTORY_BUILDKIT: undefined,
      BUILDKIT_HOST: `unix://${tiny.env.FACTORY_STATE}/engine/run/buildkitd.sock`,
      FACTORY_REGISTRY: `${front.host}/team`,
      FACTORY_REMOTE: "auto",
      HOME: tiny.root,
      XDG_CACHE_HOME: join(process.env["HOME"] ?? "", ".cache"),
    };
    await mkdir(join(project, "app"));
    await writeFile(join(project, "app/main.sh"), "echo hello\n");
    await depend("one");
  });
  beforeEach(() => front.clear());
  afterAll(async () => {
    await factory(project, ["engine", "stop"], tiny.env);
    await front.stop();
    await tiny.close();
  });

  const depend = (name: string) =>
    writeFile(
      join(project, "images.yaml"),
      `registry: registry.example/team
images:
  tiny:
    repository: tiny
    platforms: [${platform}]
    base: { image: "${tiny.base}", packages: apt }
    stages:
      base-tools: { run: ["mkdir -p /opt && head -c 300000 /dev/urandom > /opt/tools && echo root > /etc/owner"] }
      dependencies: { run: ["echo ${name} > /opt/dependency && head -c 200000 /dev/urandom > /opt/large"] }
      application: { copy: [app], to: /opt }
      runtime: { user: { name: small, uid: 1234, shell: /bin/sh }, workdir: /opt/app, cmd: [/bin/sh, main.sh] }
`,
    );
  const changeCode = () => appendFile(join(project, "app/main.sh"), "# more\n");
  const machine = () => join(tiny.root, `machine-${(machines += 1)}`);
  const home = () => clientOf(tiny.registry.host).repository("team/tiny");
  const run = (state: string, words: readonly string[], more = {}): Promise<Ended> =>
    factory(project, words, { ...env, FACTORY_STATE: state, ...more });
  const publish = async (state: string, words: readonly string[] = []) => {
    const { code, stdout, stderr } = await run(state, ["publish", "--json", ...words]);
    expect(code, stderr).toBe(0);
    const done = JSON.parse(stdout) as { digest: string; published: string; record: BuildRecord | null };
    return { ...done, actions: done.record === null ? null : actionsOf(done.record), stderr };
  };
  const manifest = async <T>(reference: string): Promise<T> =>
    JSON.parse(String(known(await home().manifest(reference))?.bytes)) as T;
  const layersOf = async (stage: string): Promise<string[]> => {
    const tag = (known(await home().tags()) ?? []).filter((one) => one.startsWith(`cache-${stage}-`));
    const index = await manifest<ImageIndex>(tag.at(-1)!);
    return (await manifest<Manifest>(index.manifests[0]!.digest)).layers.map(({ digest }) => digest);
  };
  const drop = async (digest: string) => {
    const answer = await fetch(`http://${tiny.registry.host}/v2/team/tiny/blobs/${digest}`, { method: "DELETE" });
    expect(answer.status).toBe(202);
  };
  const asked = (method: string) =>
    front.log
      .filter((one) => one.method === method && one.path.includes("/blobs/sha256:"))
      .map(({ path }) => path.split("/").at(-1)!);

  test("the first machine executes and publishes; the second changes code, and needs neither engine nor layers", async () => {
    const first = await publish(machine(), ["--tag", "1.0.0"]);
    expect(first.actions).toEqual({
      "base-tools": "execute",
      dependencies: "execute",
      application: "assemble",
      runtime: "assemble",
    });
    await wholeTags(home());
    front.clear();
    await changeCode();
    const second = await publish(machine());
    expect(second.actions).toEqual({
      "base-tools": "reuse",
      dependencies: "reuse",
      application: "assemble",
      runtime: "assemble",
    });
    expect(second.stderr).not.toContain("engine:");
    const layers = await layersOf("dependencies");
    expect(layers.length).toBeGreaterThan(2);
    expect(asked("GET").filter((digest) => layers.includes(digest))).toEqual([]);
  });

  test("after a dependency change only the layers below it come down, and two machines publish one image", async () => {
    const base = await layersOf("base-tools");
    const old = (await layersOf("dependencies")).filter((digest) => !base.includes(digest));
    await depend("two");
    const [one, two] = await Promise.all([publish(machine()), publish(machine())]);
    expect(one.actions ?? two.actions).toMatchObject({ "base-tools": "reuse" });
    const down = new Set(asked("GET"));
    expect(base.filter((digest) => !down.has(digest))).toEqual([]);
    expect(old.filter((digest) => down.has(digest))).toEqual([]);
    await wholeTags(home());
    // Executed twice at the same time, with chance in it: from now on there is one answer.
    const later = await Promise.all([publish(machine()), publish(machine())]);
    expect(new Set(later.map(({ digest }) => digest)).size).toBe(1);
    expect([one.digest, two.digest]).toContain(later[0]!.digest);
  });

  test("a layer that is gone behind a valid manifest is made again, without a word of failure", async () => {
    const base = await layersOf("base-tools");
    const own = (await layersOf("dependencies")).find((digest) => !base.includes(digest))!;
    await drop(own);
    await changeCode();
    const healed = await publish(machine());
    expect(healed.stderr).toContain(`note: a part of a kept stage cannot be had: ${own.slice(0, 19)}`);
    expect(healed.actions).toMatchObject({ "base-tools": "reuse", dependencies: "execute" });
    // Whether it is the same layer again or another one is the engine's cache's business.
    for (const digest of await layersOf("dependencies")) expect(known(await home().headBlob(digest)), digest).not.toBeNull();
    await changeCode();
    expect((await publish(machine())).actions).toMatchObject({ dependencies: "reuse", application: "assemble" });
  });

  test("a layer of the base that is gone takes the stages on it with it", async () => {
    const [, own] = await layersOf("base-tools");
    await drop(own!);
    await depend("three");
    const healed = await publish(machine());
    expect(healed.stderr).toContain(`note: a part of a kept stage cannot be had: ${own!.slice(0, 19)}`);
    expect(healed.actions).toMatchObject({ "base-tools": "execute", dependencies: "execute" });
    await changeCode();
    const next = await publish(machine());
    expect(next.actions).toMatchObject({ dependencies: "reuse" });
    const repaired = known(await home().headManifest(next.digest));
    expect(repaired).not.toBeNull();
  });

  test("a ref that is none is executed again, and repaired by the machine that did it", async () => {
    const tags = (known(await home().tags()) ?? []).filter((one) => one.startsWith("cache-dependencies-"));
    const wrong = known(await home().manifest("1.0.0"))!;
    for (const tag of tags) await home().putManifest(tag, wrong.mediaType, wrong.bytes);
    await changeCode();
    expect((await publish(machine())).actions).toMatchObject({ dependencies: "execute", application: "assemble" });
    await changeCode();
    expect((await publish(machine())).actions).toMatchObject({ dependencies: "reuse", application: "assemble" });
  });

  test("a registry that goes away before its layers came stops no build", async () => {
    const thin = machine();
    await changeCode();
    expect((await run(thin, ["build"])).code).toBe(0);
    await depend("four");
    front.on({ path: /./, times: 10_000, fault: { do: "answer", status: 503 } });
    const { code, stdout, stderr } = await run(thin, ["build", "--json"]);
    expect(code, stderr).toBe(0);
    expect(actionsOf(JSON.parse(stdout) as BuildRecord)).toMatchObject({ "base-tools": "execute", dependencies: "execute" });
    expect(stderr).toContain("note: the registry gives no answer, going on without it: ");
  });

  describe("a test between the push and the tags", () => {
    const tagOf = async (tag: string) => known(await home().headManifest(tag))?.digest ?? null;
    const policy = (word: string) =>
      editImages((text) =>
        text.replace(/^ {4}repository: tiny\n(?: {4}test: .*\n)?/m, `    repository: tiny\n    test: ${word}\n`),
      );
    const spoil = (from: string, to: string) => editImages((text) => text.replace(from, to));
    const editImages = async (change: (text: string) => string) => {
      const path = join(project, "images.yaml");
      await writeFile(path, change(await readFile(path, "utf8")));
    };
    const good = "runtime: { user";
    const bad = "runtime: { healthcheck: { command: [/bin/false] }, user";

    test("required: its layers are fetched, it passes, and the tag moves", async () => {
      await policy("required");
      await changeCode();
      const { stderr, digest } = await publish(machine(), ["--tag", "tested"]);
      expect(stderr).toMatch(/^fetching .* of /m);
      expect(stderr).toMatch(/^tiny for \S+ is tested: \d+ checks$/m);
      expect(await tagOf("tested")).toBe(digest);
    });

    test("required: what does not pass is there by its digest, and no tag moves, not even that of its key", async () => {
      const before = { tested: await tagOf("tested"), tags: known(await home().tags()) };
      await spoil(good, bad);
      const { code, stderr } = await run(machine(), ["publish", "--tag", "tested"]);
      await spoil(bad, good);
      expect(code, stderr).toBe(70);
      expect(stderr).toMatch(/tiny for \S+ does not pass its test/);
      const digest = /(sha256:[0-9a-f]{64}) is in the registry by its digest; no tag has moved/.exec(stderr)?.[1];
      expect(await tagOf(digest!)).toBe(digest);
      expect(await tagOf("tested")).toBe(before.tested);
      const keys = (known(await home().tags()) ?? []).filter((tag) => tag.startsWith("key-"));
      expect(keys).toEqual((before.tags ?? []).filter((tag) => tag.startsWith("key-")));
    });

    test("when-possible: where the layers are elsewhere it is told, nothing is fetched, and the tag moves", async () => {
      await policy("when-possible");
      await changeCode();
      front.clear();
      const { stderr, digest } = await publish(machine(), ["--tag", "hoped"]);
      const layers = new Set((await manifest<Manifest>(digest)).layers.map((layer) => layer.digest));
      expect(stderr).toMatch(/^note: tiny for \S+ is not tested: its layers are not here; TEST=required fetches them$/m);
      expect(asked("GET").filter((one) => layers.has(one))).toEqual([]);
      expect(await tagOf("hoped")).toBe(digest);
    });

    test("what is typed goes before images.yaml, and a word that is none is refused", async () => {
      await policy("required");
      await changeCode();
      const off = await publish(machine(), ["--test", "off"]);
      expect(off.stderr).not.toContain("is tested");
      const { code, stderr } = await run(machine(), ["publish", "--test", "requird"]);
      expect(code).toBe(64);
      expect(stderr).toContain("cannot read TEST=requird");
    });
  });
});
