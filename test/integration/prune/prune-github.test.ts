import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { findProgram } from "../../../ci/host/programs.js";
import { openPackages } from "../../../ci/prune/github-packages.js";
import { run } from "../../../ci/host/process.js";
import { explicitCredentials } from "../../../dagger/src/registry/auth/credentials.js";
import type { Repository } from "../../../dagger/src/registry/client.js";
import { known } from "../../../dagger/src/registry/reference/lookup.js";
import { clientOf, errorOf, newImage } from "../support/client.js";
import { type FaultyProxy, startFaultyProxy } from "../support/faulty-proxy.js";
import { startGithub, type TestGithub } from "../support/github.js";
import { openPublished, type PublishedProject } from "../support/published.js";
import { startRegistry, type TestRegistry, whyNoRegistry } from "../support/registry.js";

const why = (await whyNoRegistry()) ?? ((await findProgram("skopeo", process.env)) === null ? "no skopeo on this machine" : null);
const day = 86_400_000;
const token = "ghp_ofatest";

/** Held against our reading of GitHub's documentation (support/github.ts), over a real registry that refuses DELETE as ghcr.io does. No GitHub is asked. */
describe.each(["orgs", "users"] as const)("prune by GitHub's Packages API, owner in /%s", (owner) => {
  let registry: TestRegistry;
  let front: FaultyProxy;
  let project: PublishedProject;
  let repository: Repository;
  let github: TestGithub;
  beforeEach(async (ctx) => {
    if (why !== null) return ctx.skip(why);
    registry = await startRegistry({ delete: true });
    front = await startFaultyProxy(registry.host);
    // As ghcr.io answers (podman-container-tools/skopeo issue 1880).
    const body = '{"errors":[{"code":"UNSUPPORTED","message":"The operation is unsupported."}]}';
    front.on({ method: "DELETE", path: /manifests/, times: 1000, fault: { do: "answer", status: 405, body } });
    project = await openPublished(front.host);
    repository = clientOf(registry.host).repository("acme/box");
    github = await startGithub({ registry, repository, owner, token, created: () => project.clock.now, page: 7 });
  });
  afterEach(async () => {
    await github?.stop();
    await project?.close();
    await front?.stop();
    await registry?.stop();
  });

  type Manifest = { digest: string; tags: string[]; fate: string; because: string; since: number | null };
  type Done = { manifests: Manifest[]; deleted: string[] | null; refused: { digest: string; why: string }[] };
  const login = { FACTORY_REGISTRY_USER: "someone", FACTORY_REGISTRY_TOKEN: token };
  const factory = (words: string[], env: Record<string, string> = login) =>
    project.factory("prune", words, { FACTORY_PACKAGES_API: github.api, ...env });
  const prune = async (...words: string[]): Promise<Done> =>
    (JSON.parse((await factory(["--json", "--keep", "0", ...words])).stdout) as { repositories: Done[] }).repositories[0]!;
  const exists = async (digest: string) => known(await repository.headManifest(digest)) !== null;
  /** Everything that the registry has is as old as that. */
  const allMade = async (daysAgo: number) => {
    for (const digest of await registry.manifests("acme/box")) github.ages.set(digest, project.clock.now - daysAgo * day);
  };
  const pullAll = async () => {
    const folder = await mkdtemp(join(tmpdir(), "factory-pulled-"));
    for (const [at, tag] of (known(await repository.tags()) ?? []).entries()) {
      const source = `docker://${registry.host}/acme/box:${tag}`;
      const done = await run("skopeo", ["copy", "--quiet", "--all", "--src-tls-verify=false", source, `dir:${folder}/${at}`]);
      expect(done.exitCode, `${tag}: ${done.stderr}`).toBe(0);
    }
    await rm(folder, { recursive: true, force: true });
  };

  test("versions are deleted by their number, ages are theirs, untagged members of what is kept stay", async () => {
    const release = await project.publish(repository, ["1.0"]);
    await project.commit({ "deps.sh": "echo 2\n" });
    const old = await project.publish(repository);
    const nameless = await newImage(repository);
    await repository.putManifest(nameless.digest, nameless.mediaType, nameless.bytes);
    await allMade(20);
    await project.commit({ "deps.sh": "echo 3\n" });
    const young = await project.publish(repository);
    await project.commit({ "deps.sh": "echo 4\n" });

    const done = await prune("--yes");
    expect(done.deleted!.length).toBeGreaterThan(0);
    expect(done.refused).toEqual([]);
    expect(await exists(release.digest)).toBe(true);
    expect(await exists(young.digest)).toBe(true);
    expect(await exists(old.digest)).toBe(false);
    const fateOf = (digest: string) => done.manifests.find((one) => one.digest === digest);
    expect(fateOf(young.digest)).toMatchObject({
      fate: "keep",
      because: "younger than the grace time",
      since: project.clock.now,
    });
    expect(fateOf(nameless.digest)).toMatchObject({
      fate: "keep",
      because: expect.stringContaining("somebody may run it by digest"),
    });
    // All that is left was decided about, and is named by something.
    const kept = done.manifests.filter(({ fate }) => fate === "keep").map(({ digest }) => digest);
    const seen = known(await repository.headManifest("cache-seen"))!.digest;
    expect(new Set(await registry.manifests("acme/box"))).toEqual(
      new Set([...kept.filter((digest) => digest === seen || !fateOf(digest)!.tags.includes("cache-seen")), seen]),
    );
    const deletions = github.log.filter(({ method }) => method === "DELETE");
    expect(deletions.every(({ path, status }) => /\/versions\/\d+$/.test(path) && status === 204)).toBe(true);
    expect(front.count("DELETE", /manifests/)).toBe(0);
    expect(github.log.filter(({ path }) => path.includes("page=3")).length).toBeGreaterThan(0);
    await pullAll();
    await registry.collectGarbage();
    await pullAll();
    expect((await prune("--yes")).deleted).toEqual([]);
  });

  test("a table says what, how old, how large, and why", async () => {
    await project.publish(repository, ["1.0", "latest"]);
    await allMade(40);
    await project.commit({ "base.sh": "echo 2\n", "deps.sh": "echo 2\n" });
    await project.publish(repository);
    await allMade(9);
    await project.commit({ "base.sh": "echo 3\n", "deps.sh": "echo 3\n" });
    const { stdout } = await factory(["--keep", "0"]);
    const key = "[0-9a-f]{12}";
    expect(stdout).toMatch(
      new RegExp(
        [
          `^127\\.0\\.0\\.1:\\d+/acme/box`,
          "  what {29}age  size    fate    because",
          `  1\\.0, latest, key-${key} +9 d  [\\d.]+ kB  keep    the tag 1\\.0 is a person's`,
          `(?:  cache-(?:base-tools|dependencies)-${key} +9 d  [\\d.]+ kB  keep    a stage of 1\\.0\n){4}` +
            `(?:  (?:cache-(?:base-tools|dependencies)|key)-${key} +9 d  [\\d.]+ kB  delete  no kept image and no plan needs it\n){5}` +
            "\\d+ of \\d+ manifests would be deleted; that frees [\\d.]+ kB",
          "",
          "nothing was deleted; to do it: \\./task prune -- --yes\n$",
        ].join("\n"),
      ),
    );
  });

  test("what GitHub does not delete is told, and what stands below it stays", async () => {
    const { digest, refs } = await project.publish(repository);
    const tool = await newImage(repository);
    await repository.putManifest("tool", tool.mediaType, tool.bytes);
    await allMade(20);
    await project.commit({ "base.sh": "echo 2\n", "deps.sh": "echo 2\n" });
    github.popular.add(digest);
    const done = await prune("--yes");
    expect(done.refused).toEqual([{ digest, why: expect.stringContaining("more than 5000 downloads") }]);
    expect((await registry.manifests("acme/box")).length).toBeGreaterThan(3);
    expect(known(await repository.tags())!.filter((tag) => refs.includes(tag))).toEqual([]);
    await pullAll();
  });

  test("the last tag of a package is not asked to be deleted", async () => {
    await project.publish(repository);
    await allMade(20);
    await project.commit({ "base.sh": "echo 2\n", "deps.sh": "echo 2\n" });
    const shown = await prune("--grace", "0");
    expect(shown.manifests.filter(({ because }) => because === "the registry deletes no last tag")).toHaveLength(1);
    expect((await prune("--grace", "0", "--yes")).refused).toEqual([]);
    expect(github.log.filter(({ status }) => status >= 400 && status !== 404)).toEqual([]);
    await pullAll();
  });

  test("a token that may not, and a login that is none, are told, and the token stays a secret", async () => {
    await project.publish(repository);
    const wrong = await errorOf(factory(["--yes"], { ...login, FACTORY_REGISTRY_TOKEN: "ghp_wrong" }));
    expect(wrong).toMatchObject({
      code: "REGISTRY_DENIED",
      explanation: { why: expect.stringContaining("Bad credentials"), fix: expect.stringContaining("delete:packages") },
    });
    expect(JSON.stringify(wrong)).not.toContain("ghp_wrong");
    expect(await errorOf(factory(["--yes"], {}))).toMatchObject({
      code: "REGISTRY_DENIED",
      explanation: { why: expect.stringContaining("no login") },
    });
    const plain = await errorOf(factory([], { ...login, FACTORY_PACKAGES_API: "http://github.example.com/api/v3" }));
    expect(plain).toMatchObject({ code: "USAGE" });
  });
});

test("no link leads the token to another host", async (ctx) => {
  if (why !== null) return ctx.skip(why);
  const proxy = await startFaultyProxy("127.0.0.1:9");
  const stranger = await startFaultyProxy("127.0.0.1:9");
  try {
    const link = `<${stranger.url}/next>; rel="next"`;
    proxy.on({ path: /./, fault: { do: "answer", status: 200, headers: { link }, body: "[]" } });
    const name = { registry: "ghcr.io", repository: "acme/box" };
    const packages = openPackages({
      env: {},
      api: proxy.url,
      name,
      credentials: () => Promise.resolve(explicitCredentials("u", token, "a test")),
    });
    expect(await packages.versions()).toMatchObject({ state: "unknown" });
    expect(stranger.log).toEqual([]);
    expect(proxy.log.map(({ path, authorization }) => [path, authorization])).toEqual([
      ["/orgs/acme/packages/container/box/versions?per_page=100", `Bearer ${token}`],
    ]);
  } finally {
    await proxy.stop();
    await stranger.stop();
  }
});
