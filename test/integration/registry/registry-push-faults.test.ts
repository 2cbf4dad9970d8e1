import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Repository } from "../../../dagger/src/registry/client.js";
import { known } from "../../../dagger/src/registry/reference/lookup.js";
import { quick } from "../../../dagger/src/registry/http/retry.js";
import { clientOf, errorOf, newBlob, newImage, type TestClient } from "../support/client.js";
import { type Fault, type FaultyProxy, startFaultyProxy } from "../support/faulty-proxy.js";
import { startRegistry, type TestRegistry, whyNoRegistry } from "../support/registry.js";

const why = await whyNoRegistry();
const always = Number.POSITIVE_INFINITY;
const answer = (status: number, body: string, headers: Record<string, string> = {}): Fault => ({
  do: "answer",
  status,
  body,
  headers,
});

describe("pushing to a registry that misbehaves", () => {
  let registry: TestRegistry;
  let front: FaultyProxy;
  let client: TestClient;
  let repository: Repository;
  beforeAll(async () => {
    if (why !== null) return;
    registry = await startRegistry();
    front = await startFaultyProxy(registry.host);
  });
  beforeEach((ctx) => {
    if (why !== null) ctx.skip(why);
    front.clear();
    client = clientOf(front.host);
    repository = client.repository("acme/push");
  });
  afterAll(async () => {
    await front?.stop();
    await registry?.stop();
  });
  const requests = () => front.log.map(({ method }) => method).join(" ");
  /** Pushes a blob and holds what the registry then has against it, past the proxy. */
  const pushed = async (size: number, mountFrom: string[] = []) => {
    const { body, ...blob } = newBlob(size);
    const result = await repository.pushBlob(blob, body, { absent: true, mountFrom });
    const there = known(await clientOf(registry.host).repository("acme/push").smallBlob(blob, size));
    expect(there?.equals(blob.bytes)).toBe(true);
    return result;
  };

  describe("a small blob", () => {
    test.each([500, 502, 503, 504])("is begun again after %i, and pushed whole", async (status) => {
      front.on({ method: "PUT", path: /uploads/, times: 3, fault: answer(status, "") });
      expect(await pushed(1000)).toEqual({ how: "uploaded", chunks: 0 });
      expect(requests()).toBe("POST PUT HEAD POST PUT HEAD POST PUT HEAD POST PUT");
      expect(client.clock.slept).toEqual([250, 500, 1000]);
    });

    test("that arrived although the answer was lost is there: nothing goes up twice", async () => {
      front.on({ method: "PUT", path: /uploads/, fault: { do: "lose" } });
      expect(await pushed(1000)).toEqual({ how: "uploaded", chunks: 0 });
      expect(requests()).toBe("POST PUT HEAD");
    });

    test("429 with Retry-After is waited for, at each request", async () => {
      front.on({ method: "POST", path: /uploads/, fault: answer(429, "", { "retry-after": "3" }) });
      front.on({ method: "PUT", path: /uploads/, fault: answer(429, "", { "retry-after": "4" }) });
      await pushed(1000);
      expect(client.clock.slept).toEqual([3000, 4000]);
    });

    test.each([
      // tuna-os/tunaOS issue 642; bachp/git-mirror pull request 516: GHCR's words for a token without write:packages, and for a
      // package that does not let this repository's workflows write.
      ["permission_denied: write_package"],
      ["installation not allowed to Write organization package"],
    ])("GHCR's refusal in the middle of a push (%s) ends it at once, with what to do", async (message) => {
      front.on({
        method: "POST",
        path: /uploads/,
        skip: 1,
        fault: answer(403, JSON.stringify({ errors: [{ code: "DENIED", message }] })),
      });
      await pushed(10);
      const { body, ...blob } = newBlob(10);
      expect(await errorOf(repository.pushBlob(blob, body))).toMatchObject({
        code: "REGISTRY_DENIED",
        exitCode: 77,
        explanation: { why: expect.stringContaining(message) as string },
      });
      expect(client.clock.slept).toEqual([]);
    });

    test("403 and 401 at the last request of an upload", async () => {
      for (const status of [403, 401]) {
        front.clear();
        front.on({ method: "PUT", path: /uploads/, times: always, fault: answer(status, "") });
        const { body, ...blob } = newBlob(10);
        expect(await errorOf(repository.pushBlob(blob, body))).toMatchObject({ code: "REGISTRY_DENIED" });
        expect(front.count("PUT", /uploads/)).toBe(1);
      }
    });

    test("a repository that must be made beforehand", async () => {
      const body = `{"errors":[{"code":"NAME_UNKNOWN","message":"The repository with name 'acme/push' does not exist in the registry with id '123456789012'"}]}`;
      front.on({ method: "POST", path: /uploads/, times: always, fault: answer(404, body) });
      const { body: content, ...blob } = newBlob(10);
      expect(await errorOf(repository.pushBlob(blob, content))).toMatchObject({
        code: "REGISTRY_FAILED",
        explanation: { fix: expect.stringContaining("create the repository there first") as string },
      });
    });

    test("an upload without an address to go to", async () => {
      front.on({ method: "POST", path: /uploads/, fault: { do: "change", headers: { location: undefined } } });
      const { body, ...blob } = newBlob(10);
      expect(await errorOf(repository.pushBlob(blob, body))).toMatchObject({ code: "REGISTRY_FAILED", message: /Location/ });
    });
  });

  describe("a mount", () => {
    test.each([
      // containerd/containerd issue 14086 (403), goharbor/harbor issue 17097 (401 UNAUTHORIZED), and a source that is unknown.
      [403, '{"errors":[{"code":"DENIED","message":"denied"}]}'],
      [401, '{"errors":[{"code":"UNAUTHORIZED","message":"project examplegroup not found: project examplegroup not found"}]}'],
      [404, '{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry"}]}'],
    ])("that is refused with %i is uploaded", async (status, body) => {
      front.on({ method: "POST", path: /mount=/, fault: answer(status, body) });
      expect(await pushed(1000, ["acme/elsewhere"])).toEqual({ how: "uploaded", chunks: 0 });
      expect(requests()).toBe("POST POST PUT");
    });

    test("that is refused by an open upload (202) goes on with it", async () => {
      expect(await pushed(1000, ["acme/elsewhere", "acme/third"])).toEqual({ how: "uploaded", chunks: 0 });
      expect(requests()).toBe("POST PUT");
    });
  });

  describe("a manifest", () => {
    test.each([
      // floci-io/floci pull request 3009 and moby/buildkit issue 3776 (ECR); goharbor/harbor, src/pkg/immutable (Harbor's 412).
      [
        400,
        "TAG_INVALID",
        "The image tag 'v1' already exists in the 'acme/push' repository and cannot be overwritten because the repository is immutable.",
      ],
      [412, "PRECONDITION", "Failed to process request due to 'push:v1' configured as immutable."],
    ])("for a tag that cannot be moved (%i %s)", async (status, code, message) => {
      const image = await newImage(repository);
      front.on({ method: "PUT", path: /manifests\/v1/, fault: answer(status, JSON.stringify({ errors: [{ code, message }] })) });
      expect(await errorOf(repository.putManifest("v1", image.mediaType, image.bytes))).toMatchObject({
        code: "TAG_IMMUTABLE",
        exitCode: 73,
      });
      expect(client.clock.slept).toEqual([]);
    });

    test("is put again after 5xx, a reset and a lost answer", async () => {
      const image = await newImage(repository);
      front.on({ method: "PUT", path: /manifests/, fault: answer(503, "") });
      front.on({ method: "PUT", path: /manifests/, fault: { do: "reset" } });
      front.on({ method: "PUT", path: /manifests/, fault: { do: "lose" } });
      expect(await repository.putManifest("v2", image.mediaType, image.bytes)).toEqual({ state: "put", digest: image.digest });
      expect(front.count("PUT", /manifests/)).toBe(4);
    });

    test("MANIFEST_BLOB_UNKNOWN in the specification's form", async () => {
      const image = await newImage(repository);
      const body = JSON.stringify({
        errors: [{ code: "MANIFEST_BLOB_UNKNOWN", message: "blob unknown to registry", detail: { digest: image.layer.digest } }],
      });
      front.on({ method: "PUT", path: /manifests/, fault: answer(404, body) });
      expect(await repository.putManifest("v3", image.mediaType, image.bytes)).toMatchObject({
        state: "parts-missing",
        digests: [image.layer.digest],
      });
    });

    test("that the registry stores as something else is told", async () => {
      const image = await newImage(repository);
      front.on({
        method: "PUT",
        path: /manifests/,
        fault: { do: "change", headers: { "docker-content-digest": newBlob(1).digest } },
      });
      expect(await errorOf(repository.putManifest("v4", image.mediaType, image.bytes))).toMatchObject({
        code: "CHECKSUM_MISMATCH",
      });
    });
  });

  test("the right to push: a mirror that takes nothing, a registry that is out", async () => {
    const unsupported = '{"errors":[{"code":"UNSUPPORTED","message":"The operation is unsupported."}]}';
    front.on({ method: "POST", path: /uploads/, fault: answer(405, unsupported) });
    expect(await repository.canPush()).toMatchObject({ state: "denied", error: { code: "REGISTRY_FAILED" } });
    front.on({ method: "DELETE", path: /uploads/, fault: { do: "reset" } });
    expect(await repository.canPush()).toEqual({ state: "allowed" });
    front.on({ method: "POST", path: /uploads/, times: always, fault: answer(503, "") });
    expect(await clientOf(front.host, null, { retryPolicy: quick }).repository("acme/push").canPush()).toMatchObject({
      state: "unknown",
    });
  });
});
