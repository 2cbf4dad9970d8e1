import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { FoundCredentials } from "../../../dagger/src/registry/auth/credentials.js";
import { clientOf, newBlob, newImage } from "../support/client.js";
import { type FaultyProxy, startFaultyProxy } from "../support/faulty-proxy.js";
import { whyNoRegistry } from "../support/registry.js";
import { startTokenRegistry, type TokenRegistry } from "../support/token-registry.js";

const why = await whyNoRegistry();
const login = { user: "ci-bot", password: "correct horse battery: staple" };

describe("a token service", () => {
  let registry: TokenRegistry;
  let front: FaultyProxy;
  beforeAll(async () => {
    if (why !== null) return;
    registry = await startTokenRegistry({
      ...login,
      refreshToken: "refresh-token-of-a-test",
      may: (user, repository, action) =>
        (user !== null && !(repository === "acme/secret" && action !== "pull") && repository !== "acme/hidden") ||
        (repository === "acme/public" && action === "pull"),
    });
    front = await startFaultyProxy(registry.host);
  });
  beforeEach((ctx) => {
    if (why !== null) ctx.skip(why);
    front.clear();
    registry.asked.length = 0;
  });
  afterEach(() => {
    if (why === null) Object.assign(registry.tokens, { life: 300, refuse: null });
  });
  afterAll(async () => {
    await front?.stop();
    await registry?.stop();
  });

  test("one token for reading and writing serves a whole push", async () => {
    const repository = clientOf(front.host, login).repository("acme/public", "push");
    const image = await newImage(repository);
    await repository.putManifest("v1", image.mediaType, image.bytes);
    expect(registry.asked).toEqual([
      { method: "GET", user: login.user, scopes: ["repository:acme/public:pull,push"], refreshToken: null },
    ]);
    expect(front.log.filter(({ status }) => status === 401).length).toBe(1);
  });

  test("who only reads asks for no more; and anonymously where there is no login", async () => {
    const repository = clientOf(front.host).repository("acme/public");
    expect((await repository.manifest("v1")).state).toBe("found");
    expect(registry.asked).toEqual([{ method: "GET", user: null, scopes: ["repository:acme/public:pull"], refreshToken: null }]);
    expect(await repository.canPush()).toMatchObject({ state: "denied", error: { code: "REGISTRY_DENIED" } });
  });

  test("requests at the same time wait for one token", async () => {
    const repository = clientOf(front.host, login).repository("acme/public");
    const answers = await Promise.all(["v1", "v2", "v3", "v4"].map((tag) => repository.headManifest(tag)));
    expect(answers.map(({ state }) => state)).toEqual(["found", "absent", "absent", "absent"]);
    expect(registry.asked.length).toBe(1);
  });

  test("a token that has run out is renewed before it is used", async () => {
    registry.tokens.life = 60;
    const client = clientOf(front.host, login);
    const repository = client.repository("acme/public");
    await repository.headManifest("v1");
    client.clock.at += 45_000;
    await repository.headManifest("v1");
    expect(registry.asked.length).toBe(1);
    client.clock.at += 10_000;
    await repository.headManifest("v1");
    expect(registry.asked.length).toBe(2);
    expect(front.log.filter(({ status }) => status === 401).length).toBe(1);
  });

  test("a token without a life is good for a minute", async () => {
    registry.tokens.life = null;
    const client = clientOf(front.host, login);
    const repository = client.repository("acme/public");
    await repository.headManifest("v1");
    client.clock.at += 51_000;
    await repository.headManifest("v1");
    expect(registry.asked.length).toBe(2);
  });

  test("a token that is refused in the middle of a push is renewed, and the push goes on", async () => {
    const repository = clientOf(front.host, login).repository("acme/public", "push");
    const challenge = `Bearer realm="${await realmOf(front)}",service="test-service",scope="repository:acme/public:pull,push",error="invalid_token"`;
    const expired = {
      do: "answer",
      status: 401,
      headers: { "www-authenticate": challenge },
      body: '{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}',
    } as const;
    front.clear();
    front.on({ method: "PUT", path: /blobs\/uploads/, fault: expired });
    front.on({ method: "PUT", path: /manifests/, fault: expired });
    const image = await newImage(repository, 2_000_000);
    expect(await repository.putManifest("v2", image.mediaType, image.bytes)).toEqual({ state: "put", digest: image.digest });
    expect((await repository.manifest("v2")).state).toBe("found");
    expect(registry.asked.length).toBe(3);
    expect(front.count("POST", /uploads/)).toBe(2);
  });

  test("a mount asks for both repositories; one that may not be read is uploaded instead", async () => {
    const client = clientOf(front.host, login);
    const { body, ...blob } = newBlob(5_000);
    await client.repository("acme/public", "push").pushBlob(blob, body);
    registry.asked.length = 0;
    const to = client.repository("acme/copy", "push");
    expect(await to.pushBlob(blob, body, { mountFrom: ["acme/public"], absent: true })).toEqual({
      how: "mounted",
      from: "acme/public",
    });
    expect(registry.asked.map(({ scopes }) => scopes)).toEqual([
      ["repository:acme/copy:pull,push", "repository:acme/public:pull"],
    ]);

    const { body: hidden, ...other } = newBlob(5_000);
    expect(await to.pushBlob(other, hidden, { mountFrom: ["acme/hidden"], absent: true })).toEqual({
      how: "uploaded",
      chunks: 0,
    });
  });

  test("an identity token is exchanged in a body, and never stands in an address", async () => {
    const identity: FoundCredentials = {
      credentials: { kind: "identity", token: "refresh-token-of-a-test" },
      source: "a test",
      notes: [],
    };
    const client = clientOf(front.host, null, { credentials: () => Promise.resolve(identity) });
    expect((await client.repository("acme/public").headManifest("v1")).state).toBe("found");
    expect(registry.asked).toEqual([
      { method: "POST", user: null, scopes: ["repository:acme/public:pull"], refreshToken: "refresh-token-of-a-test" },
    ]);
    expect(JSON.stringify(client.seen)).not.toContain("refresh-token");

    const stale: FoundCredentials = { ...identity, credentials: { kind: "identity", token: "of-last-year" } };
    const answer = await clientOf(front.host, null, { credentials: () => Promise.resolve(stale) })
      .repository("acme/public")
      .headManifest("v1");
    expect(answer).toMatchObject({ state: "unknown", error: { code: "REGISTRY_DENIED" } });
    expect(JSON.stringify(answer)).not.toContain("of-last-year");
  });

  test("a wrong password is told by the token service", async () => {
    const answer = await clientOf(front.host, { user: "ci-bot", password: "wrong-password" })
      .repository("acme/public")
      .headManifest("v1");
    expect(answer).toMatchObject({ state: "unknown", error: { code: "REGISTRY_DENIED" } });
    expect(answer.state === "unknown" && answer.error.explanation.why).toBe(
      "its token service refused: it answered 401: UNAUTHORIZED: authentication required\nthe login is from a test",
    );
  });

  test("a right that is missing is a refusal, also when the service gives a token all the same", async () => {
    const repository = clientOf(front.host, login).repository("acme/secret", "push");
    expect(await repository.headManifest("v1")).toEqual({ state: "absent" });
    expect(await repository.canPush()).toMatchObject({ state: "denied", error: { code: "REGISTRY_DENIED" } });
  });

  // What ghcr.io says to an anonymous caller of a package that is private or does not exist: openai/tart issue 277 (403, the
  // body whole), openai/tunnel-client issue 75 (401 for the same).
  test.each([
    [403, '{"errors":[{"code":"DENIED","message":"denied"}]}\n'],
    [401, '{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}\n'],
  ])("GHCR's %i at the token endpoint is no absence", async (status, body) => {
    registry.tokens.refuse = { status, body };
    const repository = clientOf(front.host).repository("acme/public");
    for (const answer of [
      await repository.headManifest("v1"),
      await repository.manifest("v1"),
      await repository.tags(),
      await repository.headBlob(newBlob(1).digest),
    ]) {
      expect(answer).toMatchObject({ state: "unknown", error: { code: "REGISTRY_DENIED" } });
      expect(answer.state === "unknown" && answer.error.explanation.why).toContain(
        "a private repository and one that does not exist look the same",
      );
    }
    expect(await repository.canPush()).toMatchObject({ state: "denied" });
  });

  test("a token service that is out of breath is asked again, and is no refusal", async () => {
    registry.tokens.refuse = { status: 503, body: "" };
    const client = clientOf(front.host, login);
    const answer = await client.repository("acme/public").headManifest("v1");
    expect(answer).toMatchObject({ state: "unknown", error: { code: "REGISTRY_UNREACHABLE" } });
    expect(registry.asked.length).toBe(client.clock.slept.length + 1);
    expect(registry.asked.length).toBe(6);
  });
});

/** Where the registry sends those who need a token. */
const realmOf = async (front: FaultyProxy): Promise<string> => {
  const challenge = (await fetch(`${front.url}/v2/`)).headers.get("www-authenticate") ?? "";
  return /realm="([^"]+)"/.exec(challenge)?.[1] ?? "";
};
