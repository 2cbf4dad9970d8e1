import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { run } from "../../../ci/host/process.js";
import type { Repository } from "../../../dagger/src/registry/client.js";
import { known } from "../../../dagger/src/registry/reference/lookup.js";
import { clientOf, errorOf } from "../support/client.js";
import { type FaultyProxy, startFaultyProxy } from "../support/faulty-proxy.js";
import { openPublished, type PublishedProject } from "../support/published.js";
import { startRegistry, type TestRegistry, whyNoRegistry } from "../support/registry.js";
import { startTokenRegistry } from "../support/token-registry.js";

const why = await whyNoRegistry();

describe("promote", () => {
  let registry: TestRegistry;
  let front: FaultyProxy;
  let project: PublishedProject;
  let repository: Repository;
  let digest = "";
  let refs: string[] = [];
  beforeAll(async () => {
    if (why !== null) return;
    registry = await startRegistry();
    front = await startFaultyProxy(registry.host);
    project = await openPublished(front.host);
    repository = clientOf(registry.host).repository("acme/box");
    ({ digest, refs } = await project.publish(repository));
  });
  beforeEach((ctx) => {
    if (why !== null) ctx.skip(why);
    front.clear();
  });
  afterAll(async () => {
    await project?.close();
    await front?.stop();
    await registry?.stop();
  });

  const promote = (...words: string[]) => project.factory("promote", words);
  const digestAt = async (tag: string) => known(await repository.headManifest(tag))?.digest;
  const nobody = `sha256:${"0".repeat(64)}`;

  test("moves a tag to an image of several platforms; digest and members stay what they are, and nothing else is sent", async () => {
    const { stdout } = await promote(digest, "1.4.0");
    expect(stdout).toBe(`${front.host}/acme/box:1.4.0 moved to ${digest}: it is new\n`);
    expect(await digestAt("1.4.0")).toBe(digest);
    expect(
      front.log.filter(({ method }) => method !== "GET" && method !== "HEAD").map(({ method, path }) => `${method} ${path}`),
    ).toEqual(["PUT /v2/acme/box/manifests/1.4.0"]);
    expect(front.count("GET", /blobs/)).toBe(0);
    const inspected = await run("skopeo", ["inspect", "--raw", "--tls-verify=false", `docker://${registry.host}/acme/box:1.4.0`]);
    expect(inspected.stdout).toBe(known(await repository.manifest(digest))!.bytes.toString());
  });

  test("says where the tag stood before, in JSON too; a tag that stands there already is not sent again", async () => {
    await project.commit({ "app/a": "another\n" });
    const other = await project.publish(repository);
    await promote(digest, "stable");
    const { stdout } = await promote(`${front.host}/acme/box@${other.digest}`, "stable", "--json");
    const name = `${front.host}/acme/box`;
    expect(JSON.parse(stdout)).toEqual({ format: 1, name, digest: other.digest, tag: "stable", was: digest, moved: true });
    front.clear();
    expect((await promote(other.digest, "stable")).stdout).toBe(`${name}:stable already names ${other.digest}\n`);
    expect(front.count("PUT", /./)).toBe(0);
  });

  test.each<[string, () => string[], { code: string; what?: RegExp; why?: RegExp; fix?: RegExp }]>([
    [
      "a digest that is not there",
      () => [nobody, "1"],
      { code: "INPUT_MISSING", what: /acme\/box has no sha256:0000/, fix: /task publish/ },
    ],
    ["a cached stage", () => [`sha256:${"f".repeat(64)}`, "1"], { code: "USAGE", what: /is a cached stage, not an image/ }],
    ["a tag for a digest", () => ["1.4.0", "1"], { code: "USAGE", what: /"1\.4\.0" is no digest/ }],
    ["another repository", () => [`ghcr.io/acme/other@${nobody}`, "1"], { code: "USAGE", what: /another repository/ }],
    ["a tag of ours", () => [digest, refs[0]!], { code: "USAGE", why: /image-factory's own/ }],
    ["no tag at all", () => [digest, "not a tag"], { code: "USAGE" }],
    ["a word too few", () => [digest], { code: "USAGE", fix: /promote -- sha256/ }],
    ["a word too many", () => [digest, "1", "2"], { code: "USAGE" }],
  ])("%s is refused, and no tag moves", async (name, wordsOf, expected) => {
    const words = wordsOf();
    if (name === "a cached stage") words[0] = (await digestAt(refs[0]!))!;
    const error = await errorOf(promote(...words));
    expect(error).toMatchObject({ code: expected.code });
    const { what, why, fix } = (error as { explanation: { what: string; why: string; fix: string } }).explanation;
    if (expected.what) expect(what).toMatch(expected.what);
    if (expected.why) expect(why).toMatch(expected.why);
    if (expected.fix) expect(fix).toMatch(expected.fix);
    expect(front.count("PUT", /./)).toBe(0);
  });

  test("a tag that the registry does not let move", async () => {
    await promote(digest, "fixed");
    // As ECR answers.
    const body = `{"errors":[{"code":"TAG_INVALID","message":"The image tag 'fixed' already exists in the 'box' repository and cannot be overwritten because the repository is immutable."}]}`;
    front.on({ method: "PUT", path: /manifests\/fixed/, fault: { do: "answer", status: 400, body } });
    await project.commit({ "app/a": "once more\n" });
    const other = await project.publish(repository);
    expect(await errorOf(promote(other.digest, "fixed"))).toMatchObject({ code: "TAG_IMMUTABLE" });
    expect(await digestAt("fixed")).toBe(digest);
  });

  test("a registry that says yes and does something else is not believed", async () => {
    front.on({ method: "PUT", path: /manifests\/lost/, fault: { do: "answer", status: 201, body: "" } });
    expect(await errorOf(promote(digest, "lost"))).toMatchObject({
      code: "REGISTRY_FAILED",
      explanation: { why: expect.stringContaining("does not have it") },
    });
  });

  test("a fork moves nothing", async () => {
    const error = await errorOf(project.factory("promote", [digest, "1"], { FACTORY_SCOPE: "fork" }));
    expect(error).toMatchObject({ code: "REGISTRY_DENIED" });
    expect(front.log).toEqual([]);
  });
});

test("a login that may only read moves nothing, and is told so", async (ctx) => {
  if (why !== null) return ctx.skip(why);
  let writes = true;
  const may = (user: string | null, _: string, action: string) => user !== null && (writes || action === "pull");
  const registry = await startTokenRegistry({ user: "reader", password: "of a test", may });
  const project = await openPublished(registry.host);
  try {
    const repository = clientOf(registry.host, { user: "reader", password: "of a test" }).repository("acme/box", "push");
    const { digest } = await project.publish(repository);
    writes = false;
    const login = { FACTORY_REGISTRY_USER: "reader", FACTORY_REGISTRY_TOKEN: "of a test" };
    const error = await errorOf(project.factory("promote", [digest, "1.4.0"], login));
    expect(error).toMatchObject({ code: "REGISTRY_DENIED", explanation: { what: expect.stringContaining("acme/box:1.4.0") } });
    writes = true;
    expect(await repository.headManifest("1.4.0")).toEqual({ state: "absent" });
  } finally {
    await project.close();
    await registry.stop();
  }
});
