import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { makeCa, makeServerCertificate } from "../support/certificates.js";
import { clientOf, errorOf, newBlob } from "../support/client.js";
import { type FaultyProxy, startFaultyProxy } from "../support/faulty-proxy.js";
import { type ForwardProxy, startForwardProxy } from "../support/forward-proxy.js";

/** Where a registry or its token service sends a client: what is sent stays with the host that it is for. */
const secret = "refresh-token-of-a-test";
const login = { user: "ci-bot", password: "a-password-of-a-test" };

describe("what is sent does not follow a redirect to another host", () => {
  let front: FaultyProxy;
  let thief: FaultyProxy;
  beforeAll(async () => {
    // Everything is answered by a rule: nothing is behind them.
    front = await startFaultyProxy("127.0.0.1:1");
    thief = await startFaultyProxy("127.0.0.1:1");
  });
  beforeEach(() => {
    front.clear();
    thief.clear();
    thief.on({ path: /./, times: 99, fault: { do: "answer", status: 200, body: '{"token":"of-a-thief"}' } });
  });
  afterAll(async () => {
    await front.stop();
    await thief.stop();
  });
  const answer = (method: string, path: RegExp, status: number, headers: Record<string, string> = {}) =>
    front.on({ method, path, times: 99, fault: { do: "answer", status, headers } });

  test.each([301, 302, 303, 307, 308])("a refresh token (%i)", async (status) => {
    answer("GET", /^\/v2\//, 401, { "www-authenticate": `Bearer realm="${front.url}/token",service="x"` });
    answer("POST", /^\/token/, status, { location: `${thief.url}/token` });
    const client = clientOf(front.host, null, {
      credentials: () => Promise.resolve({ credentials: { kind: "identity", token: secret }, source: "a test", notes: [] }),
    });
    expect(await client.repository("acme/x").manifest("v1")).toMatchObject({
      state: "unknown",
      error: { code: "REGISTRY_UNREACHABLE", explanation: { why: expect.stringContaining(`is for ${front.host} alone`) } },
    });
    expect(front.count("POST", /token/)).toBe(1);
    expect(thief.log).toEqual([]);
  });

  test("a refresh token, after 303 on its own host", async () => {
    answer("GET", /^\/v2\//, 401, { "www-authenticate": `Bearer realm="${front.url}/token",service="x"` });
    answer("POST", /^\/token/, 303, { location: "/elsewhere" });
    answer("GET", /^\/elsewhere/, 307, { location: `${thief.url}/token` });
    const client = clientOf(front.host, null, {
      credentials: () => Promise.resolve({ credentials: { kind: "identity", token: secret }, source: "a test", notes: [] }),
    });
    await client.repository("acme/x").manifest("v1");
    expect(thief.log).not.toEqual([]);
    expect(thief.log.every(({ method, up, authorization }) => method === "GET" && up === 0 && authorization === null)).toBe(true);
  });

  test.each(["POST", "PUT"])("an upload at its %s", async (method) => {
    if (method === "PUT") answer("POST", /uploads/, 202, { location: "/v2/acme/x/blobs/uploads/1" });
    answer(method, /uploads/, 307, { location: `${thief.url}/upload` });
    const { body, ...blob } = newBlob(1000);
    const pushed = clientOf(front.host, login).repository("acme/x", "push").pushBlob(blob, body, { absent: true });
    expect(await errorOf(pushed)).toMatchObject({ code: "REGISTRY_UNREACHABLE" });
    expect(thief.log).toEqual([]);
  });

  test("an upload's chunks", async () => {
    answer("POST", /uploads/, 202, { location: "/v2/acme/x/blobs/uploads/1" });
    answer("HEAD", /blobs/, 404, { "docker-distribution-api-version": "registry/2.0" });
    front.on({ method: "PUT", path: /uploads/, fault: { do: "reset", after: 1000 } });
    front.on({ method: "GET", path: /uploads/, times: 99, fault: { do: "answer", status: 204, headers: { range: "0-999" } } });
    answer("PATCH", /uploads/, 308, { location: `${thief.url}/upload` });
    const { body, ...blob } = newBlob(5 << 20);
    const pushed = clientOf(front.host, login).repository("acme/x", "push").pushBlob(blob, body, { absent: true });
    expect(await errorOf(pushed)).toMatchObject({ code: "REGISTRY_UNREACHABLE" });
    expect(front.count("PATCH", /uploads/)).toBeGreaterThan(0);
    expect(thief.log).toEqual([]);
  });

  test("a manifest and a deletion", async () => {
    answer("PUT", /manifests/, 307, { location: `${thief.url}/manifest` });
    answer("DELETE", /manifests/, 307, { location: `${thief.url}/manifest` });
    const repository = clientOf(front.host, login).repository("acme/x", "push");
    const put = repository.putManifest("v1", "application/vnd.oci.image.manifest.v1+json", Buffer.from("{}"));
    expect(await errorOf(put)).toMatchObject({ code: "REGISTRY_UNREACHABLE" });
    await repository.deleteManifest(newBlob(1).digest).catch(() => null);
    expect(front.count("DELETE", /manifests/)).toBe(1);
    expect(thief.log).toEqual([]);
  });
});

describe("a registry with TLS", () => {
  const name = "registry.example:5000";
  let folder = "";
  let thief: FaultyProxy;
  let tunnel: ForwardProxy;
  let ca = "";
  let headers: Record<string, string> = {};
  let status = 0;
  let server: Server;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "registry-redirects-"));
    const authority = await makeCa(folder);
    const pair = await makeServerCertificate(folder, authority, ["registry.example"]);
    ca = authority.certificate;
    server = createServer({ cert: await readFile(pair.certificate), key: await readFile(pair.key) }, (request, response) => {
      request.resume();
      response.writeHead(status, headers).end();
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    thief = await startFaultyProxy("127.0.0.1:1");
    tunnel = await startForwardProxy(`127.0.0.1:${(server.address() as AddressInfo).port}`);
  });
  afterAll(async () => {
    await tunnel.stop();
    await thief.stop();
    server.closeAllConnections();
    server.close();
    await rm(folder, { recursive: true, force: true });
  });
  const push = () => {
    const client = clientOf(name, login, { env: { HTTPS_PROXY: tunnel.host, FACTORY_CA_FILE: ca } });
    const { body, ...blob } = newBlob(1000);
    return errorOf(client.repository("acme/x", "push").pushBlob(blob, body, { absent: true })).finally(client.close);
  };

  test("sends no upload to an address without", async () => {
    [status, headers] = [202, { location: `${thief.url}/upload` }];
    expect(await push()).toMatchObject({ code: "REGISTRY_FAILED", explanation: { why: expect.stringContaining("without TLS") } });
    expect(thief.log).toEqual([]);
  });

  test("sends no login to a token service without, on the client's own machine neither", async () => {
    [status, headers] = [401, { "www-authenticate": `Bearer realm="${thief.url}/token"` }];
    expect(await push()).toMatchObject({ code: "REGISTRY_DENIED", explanation: { why: expect.stringContaining("no TLS") } });
    expect(thief.log).toEqual([]);
  });
});
