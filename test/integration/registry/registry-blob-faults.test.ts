import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Repository } from "../../../dagger/src/registry/client.js";
import { persistent } from "../../../dagger/src/registry/http/retry.js";
import { clientOf, newImage, type TestClient } from "../support/client.js";
import { type FaultyProxy, startFaultyProxy } from "../support/faulty-proxy.js";
import { startRegistry, type TestRegistry, whyNoRegistry } from "../support/registry.js";

const why = await whyNoRegistry();
/** Nothing moves for this long: long enough for a busy machine, short enough for a test. Milliseconds. */
const impatient = { connect: 5_000, answer: 150, idle: 150 };

describe("a blob of a registry that misbehaves", () => {
  let registry: TestRegistry;
  let front: FaultyProxy;
  let client: TestClient;
  let repository: Repository;
  let folder = "";
  let image: Awaited<ReturnType<typeof newImage>>;
  beforeAll(async () => {
    if (why !== null) return;
    registry = await startRegistry();
    front = await startFaultyProxy(registry.host);
    repository = clientOf(front.host).repository("acme/blob");
    image = await newImage(repository, 700_000);
    await repository.putManifest("v1", image.mediaType, image.bytes);
  });
  beforeEach(async (ctx) => {
    if (why !== null) ctx.skip(why);
    folder = await mkdtemp(join(tmpdir(), "registry-faults-"));
    front.clear();
    client = clientOf(front.host);
    repository = client.repository("acme/blob");
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));
  afterAll(async () => {
    await front?.stop();
    await registry?.stop();
  });
  test("that is gone behind a manifest that is there", async () => {
    const body = `{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry","detail":{"digest":"${image.layer.digest}"}}]}`;
    front.on({ path: /blobs/, times: 3, fault: { do: "answer", status: 404, body } });
    expect((await repository.manifest("v1")).state).toBe("found");
    expect(await repository.headBlob(image.layer.digest)).toEqual({ state: "absent" });
    expect(await repository.smallBlob(image.layer, 1_000_000)).toEqual({ state: "absent" });
    expect(await repository.saveBlob(image.layer, join(folder, "layer"))).toEqual({ state: "absent" });
    expect(await readdir(folder)).toEqual([]);
  });

  const statuses = () => front.log.filter(({ method }) => method === "GET").map(({ status }) => status);

  test("that ends early is taken up where it ended", async () => {
    const at = join(folder, "layer");
    front.on({ method: "GET", path: /blobs/, fault: { do: "truncate", after: 300_000 } });
    front.on({ method: "GET", path: /blobs/, fault: { do: "truncate", after: 0 } });
    front.on({ method: "GET", path: /blobs/, fault: { do: "truncate", after: 300_000 } });
    expect((await repository.saveBlob(image.layer, at)).state).toBe("found");
    expect(image.layer.bytes.equals(await readFile(at))).toBe(true);
    expect(statuses()).toEqual([200, 206, 206, 206]);
  });

  test("that ends early, from a server that knows no ranges, is read past what is there already", async () => {
    front.on({ method: "GET", path: /blobs/, fault: { do: "truncate", after: 300_000 } });
    front.on({ method: "GET", path: /blobs/, fault: { do: "change", hide: ["range"] } });
    const answer = await repository.smallBlob(image.layer, 1_000_000);
    expect(answer.state === "found" && image.layer.bytes.equals(answer.value)).toBe(true);
    expect(statuses()).toEqual([200, 200]);
  });

  test("that stalls in the middle is taken up too", async () => {
    repository = clientOf(front.host, null, {
      retryPolicy: { ...persistent, timeouts: { ...impatient, answer: 5_000 } },
    }).repository("acme/blob");
    front.on({ method: "GET", path: /blobs/, fault: { do: "stall", after: 300_000 } });
    const answer = await repository.smallBlob(image.layer, 1_000_000);
    expect(answer.state === "found" && image.layer.bytes.equals(answer.value)).toBe(true);
    expect(statuses()).toEqual([200, 206]);
  });

  test("that comes drop by drop has stalled as well", async () => {
    repository = clientOf(front.host, null, {
      retryPolicy: { ...persistent, timeouts: { ...impatient, answer: 5_000 } },
    }).repository("acme/blob");
    front.on({ method: "GET", path: /blobs/, fault: { do: "drip", after: 0, every: 10 } });
    front.on({ method: "GET", path: /manifests/, fault: { do: "drip", after: 0, every: 10 } });
    expect(await repository.manifest("v1")).toMatchObject({ state: "found" });
    // What dripped is not the blob's content: the rest makes no whole of it.
    expect(await repository.smallBlob(image.layer, 1_000_000)).toMatchObject({
      state: "unknown",
      error: { code: "CHECKSUM_MISMATCH" },
    });
    expect(front.log.map(({ method, status }) => `${method} ${status}`)).toEqual(["GET 200", "GET 200", "GET 200", "GET 206"]);
  });

  test("that ends early again and again is given up, and leaves no file", async () => {
    front.on({ method: "GET", path: /blobs/, times: Number.POSITIVE_INFINITY, fault: { do: "truncate", after: 0 } });
    expect(await repository.saveBlob(image.layer, join(folder, "layer"))).toMatchObject({
      state: "unknown",
      error: { code: "REGISTRY_UNREACHABLE" },
    });
    expect(await readdir(folder)).toEqual([]);
    expect(front.count("GET", /blobs/)).toBe(6);
  });

  test.each([
    ["other content", () => "x".repeat(700_000)],
    ["more content", () => image.layer.bytes.toString("latin1") + "x".repeat(1_000_000)],
    ["less content", () => "x"],
  ])("with %s than its digest says is never handed out whole, and a file that was there stays", async (_, body) => {
    const at = join(folder, "layer");
    await repository.saveBlob(image.config, at);
    const before = await readFile(at);
    front.on({ method: "GET", path: /blobs/, times: 3, fault: { do: "change", body: body() } });
    expect(await repository.saveBlob(image.layer, at)).toMatchObject({
      state: "unknown",
      error: { code: "CHECKSUM_MISMATCH" },
    });
    expect(before.equals(await readFile(at))).toBe(true);
    expect(await readdir(folder)).toEqual(["layer"]);
    expect(await repository.smallBlob(image.layer, 1_000_000)).toMatchObject({
      state: "unknown",
      error: { code: "CHECKSUM_MISMATCH" },
    });
    const stream = await repository.blob(image.layer);
    let size = 0;
    const read = async () => {
      for await (const piece of stream.state === "found" ? stream.value : []) size += piece.length;
    };
    await expect(read()).rejects.toMatchObject({ code: "CHECKSUM_MISMATCH" });
    expect(size).toBeLessThan(image.layer.size);
  });

  test("that is redirected to a storage host which lost it is absent", async () => {
    const storage = await startFaultyProxy(registry.host);
    try {
      front.on({
        method: "GET",
        path: /blobs/,
        fault: { do: "answer", status: 307, headers: { location: `${storage.url}/bucket/x?sig=secret` } },
      });
      storage.on({
        path: /bucket/,
        fault: { do: "answer", status: 404, headers: { "content-type": "application/xml" }, body: "<Error/>" },
      });
      expect(await repository.blob(image.layer)).toEqual({ state: "absent" });
      expect(JSON.stringify(client.seen)).not.toContain("secret");
    } finally {
      await storage.stop();
    }
  });
  test("for which there is no place here is no fault of the registry", async () => {
    await expect(repository.saveBlob(image.layer, "/dev/full/layer")).rejects.toMatchObject({ code: "OUTPUT_FAILED" });
  });
});
