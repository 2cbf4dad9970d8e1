import { appendFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { FaultyProxy } from "../support/faulty-proxy.js";
import { gitOf, openPublishing, type Publishing, wholeTags } from "../support/publishing.js";
import { whyNoRegistry } from "../support/registry.js";
import { setPlatforms } from "../support/toolbox.js";

/** A registry that refuses what is kept beside an image (cached stages, key tag, marks) never decides about the image; one that refuses the image does. */
const why = await whyNoRegistry();

type Rule = Parameters<FaultyProxy["on"]>[0];
const refused = (status: number, code: string, message = code): Rule["fault"] => ({
  do: "answer",
  status,
  body: JSON.stringify({ errors: [{ code, message, detail: null }] }),
});
const noteOf = (stderr: string) => stderr.match(/^note: what is kept beside the image .*$/gm) ?? [];

describe("publish", () => {
  let at: Publishing;
  let project: string;
  let builder: string;
  let count = 0;
  let team = "";
  beforeAll(async () => {
    if (why !== null) return;
    at = await openPublishing();
    project = await at.box.checkout();
    builder = await at.box.machine("executed");
    gitOf(project).commit("one");
  });
  beforeEach((ctx) => {
    if (why !== null) ctx.skip(why);
    at.front.clear();
    team = `${at.front.host}/team${(count += 1)}`;
  });
  afterAll(() => at?.close());
  const env = (more: Record<string, string> = {}) => ({ FACTORY_REGISTRY: `${at.front.host}/team`, ...more });
  const expected = async () => {
    const { stdout } = await at.run(project, builder, ["build", "--json"], { FACTORY_REMOTE: "off" });
    return (JSON.parse(stdout) as { digest: string }).digest;
  };

  test.each<[string, Omit<Rule, "fault">, Rule["fault"]]>([
    ["cached stages: 400 MANIFEST_INVALID", { path: /manifests\/cache-/, method: "PUT" }, refused(400, "MANIFEST_INVALID")],
    ["cached stages: 415 UNSUPPORTED", { path: /manifests\/cache-/, method: "PUT" }, refused(415, "UNSUPPORTED")],
    ["cached stages: 403", { path: /manifests\/cache-/, method: "PUT" }, refused(403, "DENIED")],
    ["cached stages: 500, for ever", { path: /manifests\/cache-/, method: "PUT" }, refused(500, "UNKNOWN")],
    ["cached stages, reading too: 403", { path: /manifests\/cache-/ }, refused(403, "DENIED")],
    ["the key tag: 400", { path: /manifests\/key-/, method: "PUT" }, refused(400, "TAG_INVALID")],
    ["the key tag, reading too: 403", { path: /manifests\/key-/ }, refused(403, "DENIED")],
    ["marks: 400 MANIFEST_INVALID", { path: /manifests\/mark-/, method: "PUT" }, refused(400, "MANIFEST_INVALID")],
    ["marks, reading too: 403", { path: /manifests\/mark-/ }, refused(403, "DENIED")],
    ["everything of image-factory's own: 403", { path: /manifests\/(cache|key|mark)-/ }, refused(403, "DENIED")],
    ["everything of image-factory's own: 405", { path: /manifests\/(cache|key|mark)-/ }, refused(405, "UNSUPPORTED")],
  ])("goes on without it, with one note, where a registry refuses %s", async (_, rule, fault) => {
    const where = env({ FACTORY_REGISTRY: team });
    at.front.on({ ...rule, times: 1000, fault });
    const done = await at.publish(project, builder, ["--tag", "latest", "--tag", "1.0.0"], where);
    expect(done).toMatchObject({ published: "now", digest: await expected() });
    expect(done.tags.map(({ outcome }) => outcome)).toEqual(["moved", "moved"]);
    expect(at.front.log.some((one) => one.fault !== null)).toBe(true);
    expect(noteOf(done.stderr)).toHaveLength(1);
    // Once more, and a machine that lacks nothing finds its image again or pushes it again.
    const again = await at.publish(project, builder, ["--tag", "1.0.1"], where);
    expect(again.digest).toBe(done.digest);
  });

  test("artifacts of unknown types, as GitLab refuses them: by digest, for one platform and for two", async () => {
    for (const platforms of [["linux/amd64"], ["linux/amd64", "linux/arm64"]] as const) {
      await setPlatforms(project, ...platforms);
      const strict = await openPublishing();
      try {
        const plain = await strict.publish(project, builder, ["--tag", "latest"]);
        const tags = Object.entries(await wholeTags(strict.repository()));
        const manifests = await strict.registry.manifests("team/small");
        const image = new Set([plain.digest]);
        const index = await strict.repository().manifest(plain.digest);
        const below =
          index.state === "found" ? (JSON.parse(index.value.bytes.toString()) as { manifests?: { digest: string }[] }) : {};
        for (const { digest } of below.manifests ?? []) image.add(digest);
        const artifacts = manifests.filter((digest) => !image.has(digest));
        expect(artifacts.length).toBeGreaterThan(0);
        const own = tags.map(([tag]) => tag).filter((tag) => /^(cache|mark)-/.test(tag));
        const path = new RegExp(`manifests/(${[...artifacts, ...own].join("|")})$`);
        at.front.on({
          path,
          method: "PUT",
          times: 1000,
          fault: refused(400, "MANIFEST_INVALID", "manifest invalid: unknown media type"),
        });
        const where = env({ FACTORY_REGISTRY: `${team}-${platforms.length}` });
        const done = await at.publish(project, builder, ["--tag", "latest"], where);
        expect(done.digest).toBe(plain.digest);
        expect(noteOf(done.stderr)).toHaveLength(1);
        expect(done.stderr).toContain("MANIFEST_INVALID: manifest invalid: unknown media type");
        // The key tag is an image's: it is taken, and found.
        expect(await at.publish(project, builder, ["--tag", "1.0.0"], where)).toMatchObject({ published: "before" });
      } finally {
        await strict.close();
        at.front.clear();
      }
    }
    await setPlatforms(project, "linux/amd64");
  });

  test.each<[string, Rule["path"]]>([
    ["the manifest", /manifests\/sha256:/],
    ["a tag", /manifests\/1\.0\.0$/],
    ["uploads", /blobs\/uploads/],
  ])("ends with an error where a registry refuses the image's own: %s", async (_, path) => {
    for (const method of ["PUT", "POST", "PATCH"]) at.front.on({ path, method, times: 1000, fault: refused(403, "DENIED") });
    const { code, stderr } = await at.run(project, builder, ["publish", "--tag", "1.0.0"], env({ FACTORY_REGISTRY: team }));
    expect(stderr).toContain("error REGISTRY_DENIED: ");
    expect(code).toBe(77);
  });

  test.each<[string, Rule["fault"], number]>([
    ["404 NAME_UNKNOWN", refused(404, "NAME_UNKNOWN", "The repository does not exist in the registry"), 76],
    ["405", refused(405, "UNSUPPORTED"), 76],
    ["403", refused(403, "DENIED"), 77],
  ])("of a branch names the sibling repository that nobody created (%s)", async (_, fault, exit) => {
    for (const method of ["PUT", "POST", "PATCH"]) at.front.on({ path: /small-branches/, method, times: 1000, fault });
    const { code, stderr } = await at.run(
      project,
      builder,
      ["publish"],
      env({ FACTORY_REGISTRY: team, FACTORY_SCOPE: "branch" }),
    );
    expect(stderr).toMatch(/→ create the repository team\d+\/small-branches on 127\.0\.0\.1:\d+, which branches publish to/);
    expect(code, stderr).toBe(exit);
  });

  test("of a branch needs nothing of the image's own repository", async () => {
    at.front.on({ path: /\/small\//, times: 1000, fault: refused(403, "DENIED") });
    await appendFile(join(project, "app/main.sh"), "# a branch's\n");
    const done = await at.publish(project, builder, [], env({ FACTORY_REGISTRY: team, FACTORY_SCOPE: "branch" }));
    expect(done).toMatchObject({ published: "now", digest: await expected() });
  });

  test("promote moves a tag whose mark is refused", async () => {
    const { digest } = await at.publish(project, builder);
    at.front.on({ path: /manifests\/mark-/, times: 1000, fault: refused(400, "MANIFEST_INVALID") });
    const { code, stderr } = await at.run(project, builder, ["promote", digest, "stable"]);
    expect(code, stderr).toBe(0);
    expect(noteOf(stderr)).toHaveLength(1);
    expect(await at.repository().headManifest("stable")).toMatchObject({ state: "found", value: { digest } });
  });
});
