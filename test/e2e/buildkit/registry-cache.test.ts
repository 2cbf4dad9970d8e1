import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { run } from "../../../ci/host/process.js";
import { type FaultyProxy, startFaultyProxy } from "../../integration/support/faulty-proxy.js";
import { factory } from "../support/factory.js";
import { lacking } from "../support/needs.js";
import { buildAnew, type PortableBuild } from "../support/portable.js";
import { openTiny, type Tiny } from "../support/tiny.js";

/**
 * What of the rendered Dockerfile a builder that has never built it can take from a registry: our cached stages, and BuildKit's own caches.
 * The steps write random bytes, so that a file that is the same was not made again.
 */
const absent = await lacking("docker-registry", "runc", "skopeo", "busybox");

describe.skipIf(absent !== null)(`a fresh BuildKit and a registry${absent === null ? "" : ` (skipped: ${absent})`}`, () => {
  let tiny: Tiny;
  let front: FaultyProxy;
  let project = "";
  let env: Record<string, string | undefined> = {};
  let count = 0;

  beforeAll(async () => {
    tiny = await openTiny();
    front = await startFaultyProxy(tiny.registry.host);
    project = await tiny.project('run: ["head -c 3000000 /dev/urandom > /base"]');
    await mkdir(join(project, "app"));
    await writeFile(join(project, "app/a"), "one\n");
    await edit("images.yaml", (text) =>
      text
        .replace("dependencies: {}", 'dependencies: { run: ["head -c 1000000 /dev/urandom > /deps"] }')
        .replace("application: {}", "application: { to: /opt/app, copy: [app] }")
        .replace("runtime: {}", "runtime: { cmd: [cat, /base] }"),
    );
    env = { ...tiny.env, FACTORY_REGISTRY: front.host, FACTORY_REMOTE: undefined };
    await typed("publish", "--tag", "latest");
    await typed("render");
  });
  afterAll(async () => {
    await front?.stop();
    await tiny?.close();
  });

  const edit = async (path: string, change: (text: string) => string) =>
    writeFile(join(project, path), change(await readFile(join(project, path), "utf8")));
  const typed = async (...words: string[]): Promise<string> => {
    const { code, stdout, stderr } = await factory(project, words, env);
    if (code !== 0) throw new Error(`${words.join(" ")} ended with ${code}\n${stderr}`);
    return stdout;
  };

  type Built = PortableBuild & { base: string; deps: string; app: string; pulled: number };
  /** Builds into a folder; `pulled` is how many bytes of blobs came from the registry. */
  const build = async (...words: string[]): Promise<Built> => {
    const into = join(tiny.root, `out-${(count += 1)}`);
    front.clear();
    const steps = await buildAnew(project, [...words, "--output", `type=local,dest=${into}`]);
    const pulled = front.log
      .filter(({ method, path }) => method === "GET" && path.includes("/blobs/"))
      .reduce((sum, { down }) => sum + down, 0);
    const read = (path: string) => readFile(join(into, path), "latin1");
    const built = { ...steps, base: await read("base"), deps: await read("deps"), app: await read("opt/app/app/a"), pulled };
    await rm(into, { recursive: true, force: true });
    return built;
  };
  /** Builds and pushes, with or without a cache: what a colleague's machine left. */
  const push = (tag: string, ...words: string[]) =>
    buildAnew(project, [...words, "--output", `type=image,name=${front.host}/tiny:${tag},push=true`]);
  const change = (text: string) => writeFile(join(project, "app/a"), `${text}\n`);
  const from = (tag: string) => ["--import-cache", `type=registry,ref=${front.host}/tiny:${tag}`];

  test("render --cache-args --from registry names the cached stages' images, and BuildKit runs nothing of theirs", async () => {
    const printed = await typed("render", "--cache-args", "--from", "registry");
    const image = `docker-image://${front.host}/tiny@sha256:[0-9a-f]{64}`;
    expect(printed).toMatch(new RegExp(`^--build-context base-tools=${image} \\\\\n  --build-context dependencies=${image}\n$`));
    const contexts = [...printed.matchAll(/--build-context (\S+)/g)].flatMap(([, context]) => ["--opt", `context:${context}`]);
    await change("two");
    const first = await build(...contexts);
    expect(first).toMatchObject({ ran: ["application-files-0"], cached: [], app: "two\n" });
    // A RUN on top of a stage needs all of it.
    expect(first.pulled).toBeGreaterThan(4_000_000);
    // Random bytes that are the same were not made again; and a machine that asks the base's registry is not needed.
    await edit("builder/Dockerfile", (text) => text.replace(/^FROM \S+\/busybox@/m, "FROM 127.0.0.1:1/busybox@"));
    const second = await build(...contexts);
    await typed("render");
    expect(second.base === first.base && second.deps === first.deps).toBe(true);
    await change("one");
  });

  test("buildah takes the same arguments", async (ctx) => {
    const lacks = await lacking("buildah");
    if (lacks !== null) return ctx.skip(lacks);
    const printed = await typed("render", "--cache-args", "--from", "registry");
    const contexts = printed.replaceAll("\\\n", " ").trim().split(/\s+/);
    const storage = [
      "--root",
      join(tiny.root, "buildah"),
      "--runroot",
      join(tiny.root, "buildah-run"),
      "--storage-driver",
      "vfs",
    ];
    const { exitCode, stdout, stderr } = await run("buildah", [
      ...storage,
      "bud",
      "--isolation=chroot",
      "--network=host",
      "--tls-verify=false",
      ...contexts,
      `--file=${join(project, "builder/Dockerfile")}`,
      project,
    ]);
    expect(exitCode, stderr).toBe(0);
    expect(stdout.match(/^.*: RUN .*$/gm)).toEqual([expect.stringContaining("chmod")]);
  });

  test("a stage that only the registry has is not offered as one of this machine", async () => {
    const elsewhere = { ...env, FACTORY_STATE: join(tiny.root, "elsewhere") };
    await factory(project, ["plan"], elsewhere);
    const { code, stderr } = await factory(project, ["render", "--cache-args"], elsewhere);
    expect(code).toBe(66);
    expect(stderr).toContain("--from registry");
    expect((await factory(project, ["render", "--cache-args", "--from", "registy"], elsewhere)).code).toBe(64);
  });

  test("--cache-from an image without inline cache metadata reuses nothing: neither one that publish made nor one that was built and pushed", async () => {
    await push("plain");
    for (const tag of ["latest", "plain"]) {
      const built = await build(...from(tag));
      expect(built.ran).toEqual(["application-files-0", "base-tools", "dependencies"]);
      expect(built.cached).toEqual([]);
      // Its config was looked into, and nothing found there.
      expect(built.pulled).toBeLessThan(10_000);
    }
  });

  test("with inline cache metadata the stages that end in the image are reused", async () => {
    await push("inline", "--export-cache", "type=inline");
    await reusesAll("inline");
  });

  test("with a registry cache of mode=max too, and prune leaves that cache whole", async () => {
    await push("max", "--export-cache", `type=registry,ref=${front.host}/tiny:buildcache,mode=max`);
    await reusesAll("buildcache");
    await change("three");
    await typed("publish");
    await change("one");
    const pruned = JSON.parse(await typed("prune", "--keep", "0", "--grace", "0", "--yes", "--json")) as {
      repositories: { deleted: string[]; broken: unknown[] }[];
    };
    expect(pruned.repositories[0]!.deleted.length).toBeGreaterThan(0);
    expect(pruned.repositories[0]!.broken).toEqual([]);
    await tiny.registry.collectGarbage();
    await reusesAll("buildcache");
  });

  /** With nothing changed no step runs; after a code change only the one that reads the code. */
  const reusesAll = async (tag: string) => {
    const same = await build(...from(tag));
    expect(same).toMatchObject({ ran: [], cached: ["application-files-0", "base-tools", "dependencies"], app: "one\n" });
    await change("two");
    const changed = await build(...from(tag));
    expect(changed).toMatchObject({ ran: ["application-files-0"], cached: ["base-tools", "dependencies"], app: "two\n" });
    expect(changed.base === same.base && changed.deps === same.deps).toBe(true);
    await change("one");
  };

  test("what each costs in bytes: inline next to nothing, mode=max every layer once more where timestamps are rewritten", async () => {
    // Image and cache are pushed at the same time, and a blob of both may be sent twice: what counts is what the registry keeps.
    const kept = async (repository: string, output: string, ...words: string[]) => {
      front.clear();
      await buildAnew(project, [...words, "--output", `type=image,name=${front.host}/${repository}:1,push=true${output}`]);
      const sizes = new Map<string, number>();
      for (const { method, path, up } of front.log) {
        const digest = method === "PUT" ? new URL(path, front.url).searchParams.get("digest") : null;
        if (digest !== null) sizes.set(digest, Math.max(up, sizes.get(digest) ?? 0));
      }
      return [...sizes.values()].reduce((sum, size) => sum + size, 0);
    };
    const max = (repository: string) => ["--export-cache", `type=registry,ref=${front.host}/${repository}:buildcache,mode=max`];
    const rewritten = ["--opt", "build-arg:SOURCE_DATE_EPOCH=315619200"];
    const plain = await kept("plain", "");
    const inline = await kept("inline", "", "--export-cache", "type=inline");
    const registry = await kept("max", "", ...max("max"));
    const twice = await kept("twice", ",rewrite-timestamp=true", ...rewritten, ...max("twice"));
    expect(plain).toBeGreaterThan(4_000_000);
    expect(inline - plain).toBeLessThan(20_000);
    expect(registry - plain).toBeLessThan(20_000);
    expect(twice - plain).toBeGreaterThan(4_000_000);
  });
});
