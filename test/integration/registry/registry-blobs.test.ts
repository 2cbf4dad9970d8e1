import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { bytesBody, fileBody } from "../../../dagger/src/registry/http/body.js";
import { digestOf } from "../../../dagger/src/registry/reference/digest.js";
import { known } from "../../../dagger/src/registry/reference/lookup.js";
import { clientOf, newBlob } from "../support/client.js";
import { startFaultyProxy, type FaultyProxy } from "../support/faulty-proxy.js";
import { startRegistry, type TestRegistry, whyNoRegistry } from "../support/registry.js";

const why = await whyNoRegistry();

describe("blobs of a registry", () => {
  let registry: TestRegistry;
  let front: FaultyProxy;
  let folder = "";
  beforeAll(async () => {
    if (why !== null) return;
    registry = await startRegistry();
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

  test.each([
    ["nothing", 0],
    ["one byte", 1],
    ["more than a chunk", 5_000_001],
  ])("a blob of %s goes up in one piece and comes down the same", async (_, size) => {
    const client = clientOf(front.host);
    const repository = client.repository("acme/blobs");
    const { bytes, digest } = newBlob(size);
    const file = join(folder, "source");
    await writeFile(file, bytes);
    expect(await repository.pushBlob({ digest, size }, fileBody(file, size))).toEqual({ how: "uploaded", chunks: 0 });
    expect(front.log.map(({ method, up }) => [method, up])).toEqual([
      ["HEAD", 0],
      ["POST", 0],
      ["PUT", size],
    ]);
    expect(client.seen.reduce((sum, one) => sum + one.up, 0)).toBe(size);
    expect(await repository.headBlob(digest)).toEqual({ state: "found", value: { digest, size } });

    const saved = join(folder, "deep/saved");
    expect(await repository.saveBlob({ digest, size }, saved)).toEqual({ state: "found", value: { path: saved } });
    expect(bytes.equals(await readFile(saved))).toBe(true);
    expect(await readdir(join(folder, "deep"))).toEqual(["saved"]);
    expect(client.seen.filter(({ about }) => about === "blob").reduce((sum, one) => sum + one.down, 0)).toBe(size);

    front.clear();
    expect(await repository.pushBlob({ digest, size }, fileBody(file, size))).toEqual({ how: "present" });
    expect(front.log.map(({ method }) => method)).toEqual(["HEAD"]);
  });

  test("a blob that another repository has is mounted: nothing goes up", async () => {
    const client = clientOf(front.host);
    const { body, ...blob } = newBlob(100_000);
    await client.repository("acme/from").pushBlob(blob, body);
    const to = client.repository("acme/to");
    front.clear();
    const pushed = await to.pushBlob(blob, body, { mountFrom: ["acme/to", "acme/from"], absent: true });
    expect(pushed).toEqual({ how: "mounted", from: "acme/from" });
    expect(front.log.map(({ method, up }) => [method, up])).toEqual([["POST", 0]]);
    expect((await to.headBlob(blob.digest)).state).toBe("found");
  });

  test("a mount that is refused goes on as the upload that the registry opened, streamed from where the blob is", async () => {
    const client = clientOf(front.host);
    const from = client.repository("acme/elsewhere");
    const { body, ...blob } = newBlob(300_000);
    await from.pushBlob(blob, body);
    front.clear();
    const to = client.repository("acme/here");
    // The named source has no such blob: docker-registry answers 202, as the specification has it.
    const pushed = await to.pushBlob(blob, from.blobBody(blob), { mountFrom: ["acme/empty"], absent: true });
    expect(pushed).toEqual({ how: "uploaded", chunks: 0 });
    expect(front.log.map(({ method }) => method)).toEqual(["POST", "GET", "PUT"]);
    expect(known(await to.smallBlob(blob, 300_000))?.equals(blob.bytes)).toBe(true);
  });

  test("a source that is shorter than it said is no fault of the registry", async () => {
    const client = clientOf(front.host);
    const { bytes, digest, size } = newBlob(200_000);
    const file = join(folder, "short");
    await writeFile(file, bytes.subarray(0, 100_000));
    await expect(client.repository("acme/short").pushBlob({ digest, size }, fileBody(file, size))).rejects.toMatchObject({
      code: "INPUT_MISSING",
    });
    await expect(
      client.repository("acme/short").pushBlob({ digest, size }, fileBody(join(folder, "none"), size)),
    ).rejects.toMatchObject({
      code: "INPUT_MISSING",
    });
    expect(client.clock.slept).toEqual([]);
  });

  test("content that is not what its digest says is not taken, and not tried for ever", async () => {
    const { body, size } = newBlob(6_000_000);
    const other = newBlob(6_000_000);
    const repository = clientOf(front.host).repository("acme/wrong");
    await expect(repository.pushBlob({ digest: other.digest, size }, body)).rejects.toMatchObject({
      code: "REGISTRY_FAILED",
      message: /DIGEST_INVALID/,
    });
    expect(front.log.filter(({ method }) => method === "PUT" || method === "PATCH").length).toBeLessThan(6);
    await expect(
      repository.pushBlob({ digest: digestOf(Buffer.from("a")), size: 1 }, bytesBody(Buffer.from("b"))),
    ).rejects.toMatchObject({
      code: "REGISTRY_FAILED",
    });
  });
});
