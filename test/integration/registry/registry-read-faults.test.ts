import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Repository } from "../../../dagger/src/registry/client.js";
import type { Lookup } from "../../../dagger/src/registry/reference/lookup.js";
import { quick } from "../../../dagger/src/registry/http/retry.js";
import { clientOf, newBlob, newImage, type TestClient } from "../support/client.js";
import { type FaultyProxy, startFaultyProxy } from "../support/faulty-proxy.js";
import { startRegistry, type TestRegistry, whyNoRegistry } from "../support/registry.js";

const why = await whyNoRegistry();
const html = { "content-type": "text/html" };
/** Nothing moves for this long: long enough for a busy machine, short enough for a test. Milliseconds. */
const impatient = { connect: 5_000, answer: 150, idle: 150 };

describe("reading from a registry that misbehaves", () => {
  let registry: TestRegistry;
  let front: FaultyProxy;
  let client: TestClient;
  let repository: Repository;
  let image: Awaited<ReturnType<typeof newImage>>;
  beforeAll(async () => {
    if (why !== null) return;
    registry = await startRegistry();
    front = await startFaultyProxy(registry.host);
    repository = clientOf(front.host).repository("acme/read");
    image = await newImage(repository, 700_000);
    await repository.putManifest("v1", image.mediaType, image.bytes);
  });
  beforeEach((ctx) => {
    if (why !== null) ctx.skip(why);
    front.clear();
    client = clientOf(front.host);
    repository = client.repository("acme/read");
  });
  afterAll(async () => {
    await front?.stop();
    await registry?.stop();
  });
  /** Each way to ask, by name. */
  const questions: [string, RegExp, () => Promise<Lookup<unknown>>][] = [
    ["the head of a manifest", /manifests/, () => repository.headManifest("v1")],
    ["a manifest", /manifests/, () => repository.manifest("v1")],
    ["the head of a blob", /blobs/, () => repository.headBlob(image.layer.digest)],
    ["a blob", /blobs/, () => repository.smallBlob(image.layer, 1_000_000)],
    ["tags", /tags/, () => repository.tags()],
  ];

  describe.each(questions)("%s", (_, path, ask) => {
    test.each([500, 502, 503, 504])("%i four times in a row is waited out", async (status) => {
      front.on({ path, times: 4, fault: { do: "answer", status, headers: html, body: "<h1>Bad Gateway</h1>" } });
      expect((await ask()).state).toBe("found");
      // Doubling, from half a second; the lower half of the jitter.
      expect(client.clock.slept).toEqual([250, 500, 1000, 2000]);
    });

    test("503 for good is unknown, after as many tries as allowed", async () => {
      front.on({
        path,
        times: Number.POSITIVE_INFINITY,
        fault: { do: "answer", status: 503, headers: html, body: "<h1>Sorry</h1>" },
      });
      const answer = await ask();
      expect(answer).toMatchObject({ state: "unknown", error: { code: "REGISTRY_UNREACHABLE", exitCode: 69 } });
      expect(front.log.length).toBe(6);
      expect(JSON.stringify(answer)).not.toContain("<h1>");
    });

    test("a reset connection is tried again", async () => {
      front.on({ path, times: 2, fault: { do: "reset" } });
      expect((await ask()).state).toBe("found");
      front.on({ path, times: Number.POSITIVE_INFINITY, fault: { do: "reset" } });
      expect(await ask()).toMatchObject({ state: "unknown", error: { code: "REGISTRY_UNREACHABLE" } });
    });

    test("a refusal is unknown at once", async () => {
      // openai/tart issue 277: GHCR's words.
      const body = '{"errors":[{"code":"DENIED","message":"denied"}]}\n';
      front.on({ path, fault: { do: "answer", status: 403, body } });
      expect(await ask()).toMatchObject({ state: "unknown", error: { code: "REGISTRY_DENIED" } });
      expect(front.log.length).toBe(1);
    });

    test("an answer that never comes is given up", async () => {
      client = clientOf(front.host, null, { retryPolicy: { ...quick, timeouts: impatient } });
      repository = client.repository("acme/read");
      front.on({ path, times: Number.POSITIVE_INFINITY, fault: { do: "stall", after: -1 } });
      const answer = await ask();
      expect(answer).toMatchObject({ state: "unknown", error: { code: "REGISTRY_UNREACHABLE" } });
      expect(answer.state === "unknown" && answer.why).toContain("no answer for 0.15 s (2 tries)");
    });
  });

  test("429: Retry-After in seconds and as a date is waited for; too long a wait is a refusal", async () => {
    const later = (retryAfter: string) =>
      ({ do: "answer", status: 429, headers: { "retry-after": retryAfter }, body: "" }) as const;
    client.clock.at = Date.parse("Wed, 25 Nov 2026 08:00:00 GMT");
    front.on({ path: /manifests/, fault: later("7") });
    front.on({ path: /manifests/, fault: later("Wed, 25 Nov 2026 08:00:40 GMT") });
    expect((await repository.headManifest("v1")).state).toBe("found");
    expect(client.clock.slept).toEqual([7_000, 33_000]);

    front.clear();
    front.on({ method: "GET", path: /manifests/, fault: later("3600") });
    const answer = await repository.manifest("v1");
    expect(answer).toMatchObject({ state: "unknown", error: { code: "REGISTRY_UNREACHABLE" } });
    expect(answer.state === "unknown" && answer.error.explanation.why).toContain("it asks to wait: Retry-After 3600");
    expect(front.log.length).toBe(1);
  });

  test("429 as GHCR sends it, without a header that can be read", async () => {
    // falcosecurity/plugins issue 1069 and dependabot/cli issue 380: the wait stands in the message, in Go's form.
    const body = '{"errors":[{"code":"TOOMANYREQUESTS","message":"retry-after: 880.092µs, allowed: 44000/minute"}]}';
    front.on({
      path: /manifests/,
      times: 2,
      fault: { do: "answer", status: 429, headers: { "retry-after": "880.092µs" }, body },
    });
    expect((await repository.headManifest("v1")).state).toBe("found");
    expect(client.clock.slept).toEqual([250, 500]);
  });

  test("a 404 of something that is no registry is no absence", async () => {
    const page = { do: "answer", status: 404, headers: html, body: "<html>Not here</html>" } as const;
    front.on({ path: /./, times: Number.POSITIVE_INFINITY, fault: page });
    expect(await repository.headManifest("v2")).toMatchObject({ state: "unknown", error: { code: "REGISTRY_FAILED" } });
    expect(await repository.manifest("v2")).toMatchObject({ state: "unknown", error: { code: "REGISTRY_FAILED" } });
    expect(await repository.tags()).toMatchObject({ state: "unknown", error: { code: "REGISTRY_FAILED" } });
    expect(await repository.blob(image.layer)).toMatchObject({ state: "unknown", error: { code: "REGISTRY_FAILED" } });
    expect(await repository.headBlob(image.layer.digest)).toMatchObject({ state: "unknown", error: { code: "REGISTRY_FAILED" } });
  });

  test("a 404 with other words than an absence's is no absence", async () => {
    const body = '{"errors":[{"code":"UNSUPPORTED","message":"The operation is unsupported."}]}';
    front.on({ path: /manifests/, times: 2, fault: { do: "answer", status: 404, headers: html, body } });
    expect(await repository.headManifest("v1")).toMatchObject({ state: "unknown", error: { code: "REGISTRY_FAILED" } });
  });

  test.each([405, 501])(
    "a registry that does not answer HEAD as it should is asked for the whole: HEAD is answered with %i",
    async (status) => {
      const expected = { state: "found", value: { digest: image.digest, mediaType: image.mediaType, size: image.size } };
      front.on({ method: "HEAD", path: /manifests/, fault: { do: "change", headers: { "docker-content-digest": undefined } } });
      expect(await repository.headManifest("v1")).toEqual(expected);
      front.on({ method: "HEAD", path: /manifests/, fault: { do: "answer", status } });
      expect(await repository.headManifest("v1")).toEqual(expected);
      expect(front.log.map(({ method }) => method)).toEqual(["HEAD", "GET", "HEAD", "GET"]);
    },
  );

  test("a manifest with other content than its digest says is known to be damaged, and nobody gets it", async () => {
    const body = '{"schemaVersion":2}';
    front.on({ method: "GET", path: /manifests/, times: 2, fault: { do: "change", body } });
    for (const reference of [image.digest, "v1"])
      expect(await repository.manifest(reference)).toMatchObject({
        state: "unknown",
        error: { code: "CHECKSUM_MISMATCH", exitCode: 68 },
      });
    const other = newBlob(1).digest;
    front.on({ method: "HEAD", path: /manifests/, fault: { do: "change", headers: { "docker-content-digest": other } } });
    expect(await repository.headManifest(image.digest)).toMatchObject({ state: "unknown", error: { code: "CHECKSUM_MISMATCH" } });
  });

  test("a manifest without end is not read to its end", async () => {
    front.on({ method: "GET", path: /manifests/, fault: { do: "change", body: "x".repeat(5 << 20) } });
    expect(await repository.manifest("v1")).toMatchObject({ state: "unknown", error: { code: "REGISTRY_FAILED" } });
  });

  test("a manifest that ends early is read again", async () => {
    front.on({ method: "GET", path: /manifests/, times: 2, fault: { do: "truncate", after: 100 } });
    expect(await repository.manifest("v1")).toMatchObject({ state: "found", value: { digest: image.digest } });
    expect(front.count("GET", /manifests/)).toBe(3);
  });

  test("a registry that is not there", async () => {
    const dead = await startFaultyProxy(registry.host);
    await dead.stop();
    const gone = clientOf(dead.host, null, { retryPolicy: quick });
    const answer = await gone.repository("acme/read").headManifest("v1");
    expect(answer).toMatchObject({ state: "unknown", error: { code: "REGISTRY_UNREACHABLE" } });
    expect(answer.state === "unknown" && answer.why).toContain("ECONNREFUSED");
    expect(answer.state === "unknown" && answer.error.explanation.fix).toContain("inside a container or a Dagger module");
    expect(gone.clock.slept.length).toBe(1);
    // Whoever asks on is told at once: nobody waits for each stage of a plan anew.
    expect(await gone.repository("acme/read").canPush()).toMatchObject({ state: "unknown" });
    expect((await gone.repository("acme/other").tags()).state).toBe("unknown");
    expect(gone.clock.slept.length).toBe(1);
    expect(gone.seen.length).toBe(2);
  });

  test("an interruption ends a wait, and is no answer", async () => {
    const stop = new AbortController();
    front.on({ path: /manifests/, times: Number.POSITIVE_INFINITY, fault: { do: "stall", after: -1 } });
    const asked = clientOf(front.host, null, { signal: stop.signal }).repository("acme/read").headManifest("v1");
    stop.abort();
    await expect(asked).rejects.toMatchObject({ code: "INTERRUPTED" });
  });
});
