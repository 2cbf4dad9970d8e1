import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { findProgram } from "../../../ci/host/programs.js";
import { run } from "../../../ci/host/process.js";
import { isOwnTag } from "../../../dagger/src/pipeline/prune/manifest-node.js";
import { FactoryError } from "../../../dagger/src/pipeline/common/error.js";
import type { Repository } from "../../../dagger/src/registry/client.js";
import { known } from "../../../dagger/src/registry/reference/lookup.js";
import { clientOf, errorOf, newImage } from "../support/client.js";
import { type FaultyProxy, startFaultyProxy } from "../support/faulty-proxy.js";
import { openPublished, type PublishedProject } from "../support/published.js";
import { startRegistry, type TestRegistry, whyNoRegistry } from "../support/registry.js";

const why = (await whyNoRegistry()) ?? ((await findProgram("skopeo", process.env)) === null ? "no skopeo on this machine" : null);
const day = 86_400_000;

/** Deleted is what is deleted by the distribution API, on a real docker-registry; github.ts has the other way. */
describe("prune, on a registry that deletes by digest", () => {
  let registry: TestRegistry;
  let front: FaultyProxy;
  let project: PublishedProject;
  let repository: Repository;
  let before: ((request: { method: string; path: string }) => Promise<void>) | null = null;
  beforeEach(async (ctx) => {
    if (why !== null) return ctx.skip(why);
    registry = await startRegistry({ delete: true });
    before = null;
    front = await startFaultyProxy(registry.host, (request) => before?.(request));
    project = await openPublished(front.host);
    repository = clientOf(registry.host).repository("acme/box");
  });
  afterEach(async () => {
    await project?.close();
    await front?.stop();
    await registry?.stop();
  });

  const tags = async () => (known(await repository.tags()) ?? []).sort();
  const prune = async (...words: string[]) => {
    const { stdout, stderr } = await project.factory("prune", ["--json", ...words]);
    const report = JSON.parse(stdout) as Report;
    return { ...report.repositories[0]!, stderr };
  };
  type Manifest = { digest: string; tags: string[]; fate: string; because: string; since: number | null };
  type Report = {
    dry: boolean;
    repositories: { name: string; manifests: Manifest[]; deleted: string[] | null; freed: number; notes: string[] }[];
  };

  /** Four commits: a release, two that nobody named, and the newest under `latest`. */
  const history = async () => {
    const release = await project.publish(repository, ["1.0"]);
    await project.commit({ "deps.sh": "echo 2\n" });
    const unnamed = await project.publish(repository);
    await project.commit({ "app/a": "2\n" });
    const second = await project.publish(repository);
    await project.commit({ "base.sh": "echo 3\n" });
    const newest = await project.publish(repository, ["latest"]);
    return { release, unnamed, second, newest };
  };

  /** What should be there after a prune: what it kept, and its memory as it is now. */
  const keptBy = async ({ manifests }: Pick<Report["repositories"][number], "manifests">) => [
    ...manifests.filter(({ fate, tags }) => fate === "keep" && !tags.includes("cache-seen")).map(({ digest }) => digest),
    known(await repository.headManifest("cache-seen"))!.digest,
  ];

  /** Every tag with all that it reaches, and every manifest that no tag reaches, by skopeo: blobs are read and held against their digests. */
  const pullAll = async () => {
    const folder = await mkdtemp(join(tmpdir(), "factory-pulled-"));
    try {
      for (const [at, tag] of (await tags()).entries()) {
        const source = `docker://${registry.host}/acme/box:${tag}`;
        const done = await run("skopeo", ["copy", "--quiet", "--all", "--src-tls-verify=false", source, `dir:${folder}/${at}`]);
        expect(done.stderr, tag).toBe("");
        expect(done.exitCode, tag).toBe(0);
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  };

  test("keeps what a tag, a kept image or a plan needs, deletes the rest, and everything kept can be pulled after the garbage collection", async () => {
    const { release, unnamed, second, newest } = await history();
    const foreign = await newImage(repository);
    await repository.putManifest("tool", foreign.mediaType, foreign.bytes);
    const nameless = await newImage(repository);
    await repository.putManifest(nameless.digest, nameless.mediaType, nameless.bytes);
    const all = await tags();

    const shown = await prune("--keep", "1", "--grace", "0");
    expect(shown.deleted).toBeNull();
    expect(await tags()).toEqual(all);
    expect(front.log.filter(({ method }) => !["GET", "HEAD"].includes(method))).toEqual([]);

    const done = await prune("--keep", "1", "--grace", "0", "--yes");
    expect(new Set(done.deleted)).toEqual(
      new Set(shown.manifests.filter(({ fate }) => fate === "delete").map(({ digest }) => digest)),
    );
    const gone = unnamed.refs.filter((ref) => !newest.refs.includes(ref) && !release.refs.includes(ref));
    expect(gone).toHaveLength(2);
    const left = await tags();
    expect(left.filter((tag) => !isOwnTag(tag))).toEqual(["1.0", "latest", "tool"]);
    expect(new Set(left.filter((tag) => tag.startsWith("cache-")))).toEqual(
      new Set([...release.refs, ...newest.refs, "cache-seen"]),
    );
    for (const { digest } of [unnamed, second]) expect(await repository.headManifest(digest)).toEqual({ state: "absent" });
    for (const { digest } of [release, newest]) expect(await repository.headManifest(digest)).toMatchObject({ state: "found" });
    // What no tag leads to is not known to prune, and not touched.
    expect(await repository.headManifest(nameless.digest)).toMatchObject({ state: "found" });
    // Nothing is left over of what went: all that is there is reached, or was never ours.
    expect(new Set(await registry.manifests("acme/box"))).toEqual(new Set([...(await keptBy(done)), nameless.digest]));

    await pullAll();
    await registry.collectGarbage();
    await pullAll();
    expect((await prune("--keep", "1", "--grace", "0", "--yes")).deleted).toEqual([]);
  });

  test("the plans of the newest commits keep their cached stages and their image", async () => {
    const { unnamed, second } = await history();
    const shown = await prune("--keep", "2", "--grace", "0");
    const because = (digest: string) => shown.manifests.find((one) => one.digest === digest);
    expect(because(second.digest)).toMatchObject({
      fate: "keep",
      because: expect.stringMatching(/^the plan of commit [0-9a-f]{7} needs it$/),
    });
    expect(because(unnamed.digest)).toMatchObject({ fate: "delete" });
    const fates = shown.manifests.filter((one) => one.tags.some((tag) => unnamed.refs.includes(tag))).map(({ fate }) => fate);
    expect(fates).toEqual(["keep", "keep", "keep", "keep"]);
  });

  test("an age counts from the first prune that deletes, and a dry run writes nothing down", async () => {
    const { unnamed } = await history();
    const fateOf = async (...words: string[]) =>
      (await prune("--keep", "0", ...words)).manifests.find(({ digest }) => digest === unnamed.digest);
    expect(await fateOf()).toMatchObject({ fate: "keep", since: null });
    project.clock.now += 30 * day;
    expect(await fateOf("--yes")).toMatchObject({ fate: "keep", since: null });
    project.clock.now += 6 * day;
    expect(await fateOf("--yes")).toMatchObject({
      fate: "keep",
      because: "younger than the grace time",
      since: project.clock.now - 6 * day,
    });
    project.clock.now += day;
    expect(await fateOf()).toMatchObject({ fate: "delete" });
    expect(await fateOf("--grace", "14d")).toMatchObject({ fate: "keep" });
    expect(await fateOf("--yes")).toMatchObject({ fate: "delete" });
    expect(await repository.headManifest(unnamed.digest)).toEqual({ state: "absent" });
    await pullAll();
  });

  test("broken off in the middle, what is left is whole, and the next one takes up what the first left behind", async () => {
    await history();
    front.on({
      method: "DELETE",
      path: /manifests/,
      skip: 3,
      times: 100,
      fault: { do: "answer", status: 403, body: '{"errors":[{"code":"DENIED","message":"no"}]}' },
    });
    expect(await errorOf(prune("--keep", "0", "--grace", "0", "--yes"))).toMatchObject({ code: "REGISTRY_DENIED" });
    expect(front.count("DELETE", /manifests/)).toBeGreaterThan(3);
    await pullAll();
    const orphans = (await registry.manifests("acme/box")).length;
    front.clear();
    const done = await prune("--keep", "0", "--grace", "0", "--yes");
    expect(done.manifests.filter(({ because }) => because === "nothing names it any more").length).toBeGreaterThan(0);
    expect((await registry.manifests("acme/box")).length).toBe(orphans - done.deleted!.length);
    expect(new Set(await registry.manifests("acme/box"))).toEqual(new Set(await keptBy(done)));
    await pullAll();
  });

  test("a tag that is put on an image while prune decides saves it", async () => {
    const { second } = await history();
    const { bytes, mediaType } = known(await repository.manifest(second.digest))!;
    let listings = 0;
    before = async ({ path }) => {
      if (/box\/tags\/list/.test(path) && ++listings === 2) await repository.putManifest("1.1", mediaType, bytes);
    };
    const done = await prune("--keep", "0", "--grace", "0", "--yes");
    expect(listings).toBe(2);
    expect(done.deleted).not.toContain(second.digest);
    expect(await tags()).toContain("1.1");
    await pullAll();
  });

  test("a registry that deletes nothing says so, and what to do", async () => {
    await history();
    front.on({
      method: "DELETE",
      path: /manifests/,
      times: 100,
      fault: { do: "answer", status: 405, body: '{"errors":[{"code":"UNSUPPORTED"}]}' },
    });
    const error = await errorOf(prune("--keep", "0", "--grace", "0", "--yes"));
    expect(error).toMatchObject({ code: "REGISTRY_FAILED", explanation: { fix: expect.stringContaining("delete.enabled") } });
    await pullAll();
  });

  test("where a manifest cannot be read nothing is decided", async () => {
    await history();
    front.on({ method: "GET", path: /manifests\/sha256/, skip: 5, times: 1, fault: { do: "answer", status: 403 } });
    expect(await errorOf(prune("--keep", "0", "--grace", "0", "--yes"))).toMatchObject({ code: "REGISTRY_DENIED" });
    expect(front.count("DELETE", /manifests/)).toBe(0);
  });

  test("a branch deletes in its sibling repository only, a fork nowhere", async () => {
    const { unnamed } = await history();
    const sibling = clientOf(registry.host).repository("acme/box-branches");
    const other = await project.publish(sibling);
    const words = ["--json", "--keep", "0", "--grace", "0", "--yes"];
    await project.commit({ "base.sh": "echo 4\n", "deps.sh": "echo 4\n" });
    const { stdout, stderr } = await project.factory("prune", words, { FACTORY_SCOPE: "branch" });
    expect((JSON.parse(stdout) as Report).repositories.map(({ name }) => name)).toEqual([`${front.host}/acme/box-branches`]);
    expect(stderr).toContain("a branch deletes from the sibling repositories of branches only");
    expect(await sibling.headManifest(other.digest)).toEqual({ state: "absent" });
    expect(await repository.headManifest(unnamed.digest)).toMatchObject({ state: "found" });
    const error = await errorOf(project.factory("prune", words, { FACTORY_SCOPE: "fork" }));
    expect(error).toMatchObject({ code: "REGISTRY_DENIED" });
    expect(error).toBeInstanceOf(FactoryError);
  });

  test("a repository that holds nothing of ours is left as it is", async () => {
    const image = await newImage(repository);
    await repository.putManifest("tool", image.mediaType, image.bytes);
    expect(await prune("--keep", "0", "--yes")).toMatchObject({ deleted: [], freed: 0 });
    expect(await tags()).toEqual(["tool"]);
  });
});
