import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { FoundCredentials } from "../../../dagger/src/registry/auth/credentials.js";
import { clientOf, newBlob, newImage } from "../support/client.js";
import { type FaultyProxy, startFaultyProxy } from "../support/faulty-proxy.js";
import { startRegistry, type TestRegistry, whyNoRegistry } from "../support/registry.js";

const why = await whyNoRegistry();
const login = { user: "ci-bot", password: "correct horse battery: staple" };

describe("basic authentication", () => {
  let registry: TestRegistry;
  let front: FaultyProxy;
  beforeAll(async () => {
    if (why !== null) return;
    registry = await startRegistry({ auth: login });
    front = await startFaultyProxy(registry.host);
  });
  beforeEach((ctx) => {
    if (why !== null) ctx.skip(why);
    front.clear();
  });
  afterAll(async () => {
    await front?.stop();
    await registry?.stop();
  });

  test("the login is sent when it is asked for, and from then on at once", async () => {
    const repository = clientOf(front.host, login).repository("acme/one");
    const image = await newImage(repository);
    await repository.putManifest("v1", image.mediaType, image.bytes);
    expect((await repository.headManifest("v1")).state).toBe("found");
    expect(front.log.filter(({ status }) => status === 401).length).toBe(1);
    expect(await repository.canPush()).toEqual({ state: "allowed" });
  });

  test("without a login nothing is absent: nobody knows", async () => {
    const repository = clientOf(front.host).repository("acme/one");
    const answer = await repository.headManifest("v9");
    expect(answer).toMatchObject({ state: "unknown", error: { code: "REGISTRY_DENIED", exitCode: 77 } });
    expect(answer.state === "unknown" && answer.error.explanation).toEqual({
      what: `not allowed to read ${front.host}/acme/one:v9`,
      why: `it wants a user and a password\nno login for ${front.host} was found`,
      fix: { login: front.host },
    });
    expect(await repository.canPush()).toMatchObject({ state: "denied", error: { code: "REGISTRY_DENIED" } });
    const { body, ...blob } = newBlob(100);
    await expect(repository.pushBlob(blob, body)).rejects.toMatchObject({ code: "REGISTRY_DENIED" });
  });

  test("a wrong password is refused, and stands nowhere", async () => {
    const wrong = { user: login.user, password: "not-the-password-of-anyone" };
    const repository = clientOf(front.host, wrong).repository("acme/one");
    const answer = await repository.manifest("v1");
    expect(answer).toMatchObject({ state: "unknown", error: { code: "REGISTRY_DENIED" } });
    expect(answer.state === "unknown" && answer.error.explanation.why).toBe(
      "it answered 401: UNAUTHORIZED: authentication required\nthe login is from a test",
    );
    expect(JSON.stringify(answer) + String(answer.state === "unknown" && answer.error.stack)).not.toContain(wrong.password);
    // Asked once without and once with the login, and then no more: accounts are locked for guessing.
    expect(front.log.length).toBe(2);
  });

  test("what the places of logins had to say stands in the refusal", async () => {
    const noted: FoundCredentials = {
      credentials: null,
      source: null,
      notes: ["~/.docker/config.json names docker-credential-desktop, which is not on PATH"],
    };
    const repository = clientOf(front.host, null, { credentials: () => Promise.resolve(noted) }).repository("acme/one");
    const answer = await repository.headManifest("v1");
    expect(answer.state === "unknown" && answer.error.explanation.why).toContain(
      "docker-credential-desktop, which is not on PATH",
    );
  });

  test("a login that a server repeats in its words is struck out", async () => {
    const body = JSON.stringify({ errors: [{ code: "DENIED", message: `user ci-bot with ${login.password} may not` }] });
    front.on({ method: "HEAD", path: /blobs/, skip: 1, fault: { do: "change", status: 404 } });
    front.on({ method: "POST", path: /uploads/, fault: { do: "answer", status: 403, body } });
    const repository = clientOf(front.host, login).repository("acme/one");
    const { body: content, ...blob } = newBlob(10);
    const error: unknown = await repository.pushBlob(blob, content).catch((caught: unknown) => caught);
    expect(error).toMatchObject({
      code: "REGISTRY_DENIED",
      explanation: { why: expect.stringContaining("user ci-bot with … may not") as string },
    });
    expect(String((error as Error).stack)).not.toContain(login.password);
  });
});
