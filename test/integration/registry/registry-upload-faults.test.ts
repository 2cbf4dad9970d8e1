import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Repository } from "../../../dagger/src/registry/client.js";
import { persistent } from "../../../dagger/src/registry/http/retry.js";
import { known } from "../../../dagger/src/registry/reference/lookup.js";
import { clientOf, errorOf, newBlob, type TestClient } from "../support/client.js";
import { type Fault, type FaultyProxy, startFaultyProxy } from "../support/faulty-proxy.js";
import { startRegistry, type TestRegistry, whyNoRegistry } from "../support/registry.js";

const why = await whyNoRegistry();
const size = 10_000_000;
const always = Number.POSITIVE_INFINITY;
const answer = (status: number, body: string, headers: Record<string, string> = {}): Fault => ({
  do: "answer",
  status,
  body,
  headers,
});

describe("a large blob pushed to a registry that misbehaves", () => {
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
    repository = client.repository("acme/large");
  });
  afterAll(async () => {
    await front?.stop();
    await registry?.stop();
  });
  const requests = () => front.log.map(({ method }) => method).join(" ");
  /** Pushes a blob and holds what the registry then has against it, past the proxy. */
  const pushed = async () => {
    const { body, ...blob } = newBlob(size);
    const result = await repository.pushBlob(blob, body, { absent: true });
    const there = known(await clientOf(registry.host).repository("acme/large").smallBlob(blob, size));
    expect(there?.equals(blob.bytes)).toBe(true);
    return result;
  };

  test("whose connection breaks in the middle goes on in chunks of at most 4 MiB", async () => {
    front.on({ method: "PUT", path: /uploads/, fault: { do: "break", after: 5_000_000 } });
    expect(await pushed()).toEqual({ how: "uploaded", chunks: 3 });
    expect(front.log.filter(({ method }) => method === "PATCH").map(({ up }) => up)).toEqual([
      4 << 20,
      4 << 20,
      size - (8 << 20),
    ]);
    expect(client.clock.slept).toEqual([250]);
  });

  test("whose chunks break goes on at the chunk that broke", async () => {
    front.on({ method: "PUT", path: /uploads/, fault: { do: "reset", after: 100_000 } });
    front.on({ method: "PATCH", path: /uploads/, skip: 1, fault: { do: "reset", after: 100_000 } });
    front.on({ method: "PATCH", path: /uploads/, skip: 1, fault: { do: "answer", status: 502, body: "" } });
    await pushed();
    const whole = front.log.filter(({ method, fault }) => method === "PATCH" && fault === null);
    expect(whole.map(({ up }) => up)).toEqual([4 << 20, 4 << 20, size - (8 << 20)]);
  });

  test("whose chunk arrived although its answer was lost is not sent twice into one blob", async () => {
    front.on({ method: "PUT", path: /uploads/, fault: { do: "reset", after: 100_000 } });
    front.on({ method: "PATCH", path: /uploads/, skip: 1, fault: { do: "lose" } });
    await pushed();
  });

  test("that a proxy finds too large for one request goes in chunks", async () => {
    front.on({
      method: "PUT",
      path: /uploads/,
      fault: answer(413, "<html>413 Request Entity Too Large</html>", { "content-type": "text/html" }),
    });
    expect(await pushed()).toEqual({ how: "uploaded", chunks: 3 });
  });

  test("that is refused before it is sent whole is not sent to its end, and the refusal is told", async () => {
    front.on({ method: "PUT", path: /uploads/, fault: answer(403, '{"errors":[{"code":"DENIED","message":"denied"}]}') });
    const { body, ...blob } = newBlob(size);
    expect(await errorOf(repository.pushBlob(blob, body))).toMatchObject({ code: "REGISTRY_DENIED" });
    expect(front.count("PUT", /uploads/)).toBe(1);
    expect(client.clock.slept).toEqual([]);
  });

  test("that stalls goes on in chunks", async () => {
    client = clientOf(front.host, null, {
      retryPolicy: { ...persistent, timeouts: { connect: 5_000, answer: 5_000, idle: 250 } },
    });
    repository = client.repository("acme/large");
    front.on({ method: "PUT", path: /uploads/, fault: { do: "hang", after: 100_000 } });
    expect(await pushed()).toEqual({ how: "uploaded", chunks: 3 });
  });

  test("a chunk at the wrong place (416) is sent anew from where the registry is", async () => {
    front.on({ method: "PUT", path: /uploads/, fault: { do: "reset", after: 100_000 } });
    // wasmCloud/wash-archive issue 268: GHCR's words when a chunk does not suit it.
    const body =
      '{"errors":[{"code":"REQUESTED_RANGE_NOT_SATISFIABLE","message":"the request body is too large and exceeds the maximum permissible limit of 4.00MiB"}]}';
    front.on({ method: "PATCH", path: /uploads/, skip: 1, fault: answer(416, body) });
    await pushed();
    expect(requests()).toContain("PATCH PATCH HEAD GET");
  });

  test("a registry that answers 416 for good is left", async () => {
    front.on({ method: "PUT", path: /uploads/, fault: { do: "reset", after: 100_000 } });
    front.on({ method: "PATCH", path: /uploads/, times: always, fault: answer(416, "") });
    const { body, ...blob } = newBlob(size);
    expect(await errorOf(repository.pushBlob(blob, body))).toMatchObject({ code: "REGISTRY_FAILED" });
    expect(front.count("PATCH", /uploads/)).toBeLessThan(4);
  });

  test("an upload that the registry forgets is begun again, and not for ever", async () => {
    const unknown = answer(404, '{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":"blob upload unknown to registry"}]}');
    front.on({ method: "PUT", path: /uploads/, fault: unknown });
    front.on({ method: "GET", path: /uploads/, fault: unknown });
    expect(await pushed()).toEqual({ how: "uploaded", chunks: 3 });
    front.clear();
    front.on({ method: "PUT", path: /uploads/, times: always, fault: answer(500, "") });
    const { body, ...blob } = newBlob(size);
    expect(await errorOf(repository.pushBlob(blob, body))).toMatchObject({ code: "REGISTRY_UNREACHABLE" });
    expect(front.count("POST", /uploads/)).toBeLessThan(8);
    expect(front.count("PATCH", /uploads/)).toBeLessThan(30);
  });
});
