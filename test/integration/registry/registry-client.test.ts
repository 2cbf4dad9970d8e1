import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { openRepository } from "../../../dagger/src/registry/client.js";
import { anonymous } from "../../../dagger/src/registry/auth/credentials.js";
import { known } from "../../../dagger/src/registry/reference/lookup.js";
import { clientOf, newBlob, newImage } from "../support/client.js";
import { startFaultyProxy, type FaultyProxy } from "../support/faulty-proxy.js";
import { startRegistry, type TestRegistry, whyNoRegistry } from "../support/registry.js";

const why = await whyNoRegistry();

describe("a registry without authentication", () => {
  let registry: TestRegistry;
  let front: FaultyProxy;
  let folder = "";
  beforeAll(async () => {
    if (why !== null) return;
    registry = await startRegistry({ delete: true });
    front = await startFaultyProxy(registry.host);
    folder = await mkdtemp(join(tmpdir(), "registry-client-"));
  });
  beforeEach((ctx) => {
    if (why !== null) ctx.skip(why);
    front.clear();
  });
  afterAll(async () => {
    await front?.stop();
    await registry?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  test("a manifest by digest and by tag, put and read back byte for byte", async () => {
    const repository = clientOf(front.host).repository("acme/one");
    const image = await newImage(repository);
    expect(await repository.headManifest(image.digest)).toEqual({ state: "absent" });
    expect(await repository.putManifest(image.digest, image.mediaType, image.bytes)).toEqual({
      state: "put",
      digest: image.digest,
    });
    expect(await repository.headManifest("v1")).toEqual({ state: "absent" });
    expect(await repository.putManifest("v1", image.mediaType, image.bytes)).toEqual({ state: "put", digest: image.digest });
    const head = { digest: image.digest, mediaType: image.mediaType, size: image.size };
    for (const reference of ["v1", image.digest]) {
      expect(await repository.headManifest(reference)).toEqual({ state: "found", value: head });
      expect(await repository.manifest(reference)).toEqual({ state: "found", value: { ...head, bytes: image.bytes } });
    }
    expect(await repository.tags()).toEqual({ state: "found", value: ["v1"] });
  });

  test("what nobody pushed is absent, each in its way", async () => {
    const repository = clientOf(front.host).repository("acme/nothing");
    const { digest } = newBlob(10);
    expect(await repository.headManifest("v1")).toEqual({ state: "absent" });
    expect(await repository.manifest("v1")).toEqual({ state: "absent" });
    expect(await repository.headBlob(digest)).toEqual({ state: "absent" });
    expect(await repository.blob({ digest, size: 10 })).toEqual({ state: "absent" });
    expect(await repository.smallBlob({ digest, size: 10 }, 100)).toEqual({ state: "absent" });
    expect(await repository.saveBlob({ digest, size: 10 }, join(folder, "absent"))).toEqual({ state: "absent" });
    expect(await repository.tags()).toEqual({ state: "absent" });
    expect(await readdir(folder)).toEqual([]);
  });

  test("a question about an image that is there is one request", async () => {
    const client = clientOf(front.host);
    const repository = client.repository("acme/head");
    const image = await newImage(repository);
    await repository.putManifest("v1", image.mediaType, image.bytes);
    front.clear();
    client.seen.length = 0;
    await repository.headManifest("v1");
    expect(front.log).toMatchObject([{ method: "HEAD", path: "/v2/acme/head/manifests/v1", down: 0 }]);
    expect(client.seen).toEqual([
      { about: "manifest", method: "HEAD", url: `${front.url}/v2/acme/head/manifests/v1`, status: 200, up: 0, down: 0 },
    ]);
  });

  test("a manifest whose blobs are not there says which", async () => {
    const repository = clientOf(front.host).repository("acme/half");
    const image = await newImage(clientOf(front.host).repository("acme/whole"));
    const put = await repository.putManifest("v1", image.mediaType, image.bytes);
    expect(put).toMatchObject({ state: "parts-missing", error: { code: "REGISTRY_FAILED" } });
    expect(put.state === "parts-missing" && [...put.digests].sort()).toEqual([image.layer.digest, image.config.digest].sort());
    expect(await repository.headManifest("v1")).toEqual({ state: "absent" });
  });

  test("tags, all of them, over as many pages as the registry makes of them", async () => {
    const repository = clientOf(front.host).repository("acme/tags");
    const image = await newImage(repository);
    const tags = ["v0", "v1", "v2"];
    for (const tag of tags) await repository.putManifest(tag, image.mediaType, image.bytes);
    const listed = known(await repository.tags()) ?? [];
    expect([...listed].sort()).toEqual(tags);
    // distribution 2.8 gives all tags on one page; the specification's way of giving more, with a relative and an absolute address.
    const page = (last: string, names: string[], next: string | null) =>
      front.on({
        path: new RegExp(`tags/list\\?.*${last}$`),
        fault: {
          do: "answer",
          status: 200,
          headers: next === null ? {} : { link: `<${next}>; rel="next"` },
          body: JSON.stringify({ name: "acme/tags", tags: names }),
        },
      });
    page("n=1000", ["v0", "v1"], "/v2/acme/tags/tags/list?n=2&last=v1");
    page("last=v1", ["v2", "v3"], `${front.url}/v2/acme/tags/tags/list?n=2&last=v3`);
    page("last=v3", ["v3", "v4"], null);
    front.log.length = 0;
    expect(await repository.tags()).toEqual({ state: "found", value: ["v0", "v1", "v2", "v3", "v4"] });
    expect(front.count("GET", /tags/)).toBe(3);
  });

  test("deletes by digest", async () => {
    const repository = clientOf(front.host).repository("acme/deleted");
    const image = await newImage(repository);
    await repository.putManifest("v1", image.mediaType, image.bytes);
    expect(await repository.deleteManifest(image.digest)).toEqual({ state: "deleted" });
    expect(await repository.headManifest("v1")).toEqual({ state: "absent" });
    expect(await repository.deleteManifest(image.digest)).toEqual({ state: "absent" });
  });

  test("a registry that does not delete says so", async (ctx) => {
    const keeps = await startRegistry();
    ctx.onTestFinished(() => keeps.stop());
    const repository = clientOf(keeps.host).repository("acme/kept");
    const image = await newImage(repository);
    await repository.putManifest("v1", image.mediaType, image.bytes);
    expect(await repository.deleteManifest(image.digest)).toMatchObject({
      state: "unsupported",
      error: { code: "REGISTRY_FAILED" },
    });
  });

  test("the right to push is found out by an upload that is called off", async () => {
    const repository = clientOf(front.host).repository("acme/pushable");
    expect(await repository.canPush()).toEqual({ state: "allowed" });
    expect(front.log.map(({ method, status }) => [method, status])).toEqual([
      ["POST", 202],
      ["DELETE", 204],
    ]);
  });

  test("one repository, without a session for others", async () => {
    const repository = openRepository({
      registry: front.host,
      repository: "acme/single",
      env: {},
      credentials: () => Promise.resolve(anonymous),
    });
    expect(repository.name).toBe(`${front.host}/acme/single`);
    expect(await repository.headManifest("latest")).toEqual({ state: "absent" });
  });
});
