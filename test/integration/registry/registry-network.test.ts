import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Env } from "../../../dagger/src/registry/http/env.js";
import { known } from "../../../dagger/src/registry/reference/lookup.js";
import { quick } from "../../../dagger/src/registry/http/retry.js";
import { clientOf, newBlob, newImage } from "../support/client.js";
import { type FaultyProxy, startFaultyProxy } from "../support/faulty-proxy.js";
import { type ForwardProxy, startForwardProxy } from "../support/forward-proxy.js";
import { startRegistry, type TestRegistry, whyNoRegistry } from "../support/registry.js";

const why = await whyNoRegistry();
const login = { user: "ci-bot", password: "a-password-of-a-test" };
const name = "registry.example:5000";

describe("how a registry is reached", () => {
  const opened: { stop(): Promise<void> }[] = [];
  let [plain, secure]: TestRegistry[] = [];
  let [plainProxy, tunnelProxy]: ForwardProxy[] = [];
  let front: FaultyProxy;
  let folder = "";
  const keep = <T extends { stop(): Promise<void> }>(one: T): T => {
    opened.push(one);
    return one;
  };
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "registry-network-"));
    if (why !== null) return;
    plain = keep(await startRegistry({ auth: login }));
    secure = keep(await startRegistry({ auth: login, tls: true, names: ["registry.example"] }));
    front = keep(await startFaultyProxy(plain.host));
    plainProxy = keep(await startForwardProxy(plain.host, "me:proxy-password"));
    tunnelProxy = keep(await startForwardProxy(secure.host, "me:proxy-password"));
  });
  beforeEach((ctx) => {
    if (why !== null) ctx.skip(why);
    front.clear();
    plainProxy!.seen.length = tunnelProxy!.seen.length = 0;
  });
  afterAll(async () => {
    for (const one of opened.reverse()) await one.stop();
    await rm(folder, { recursive: true, force: true });
  });

  /** A push and a pull, as a client with this environment does them. */
  const roundTrip = async (host: string, env: Env) => {
    const client = clientOf(host, login, { env, retryPolicy: quick });
    const repository = client.repository("acme/way", "push");
    const image = await newImage(repository, 300_000);
    await repository.putManifest("v1", image.mediaType, image.bytes);
    expect(known(await repository.manifest("v1"))?.digest).toBe(image.digest);
    expect(known(await repository.smallBlob(image.layer, 300_000))?.equals(image.layer.bytes)).toBe(true);
    client.close();
  };
  const refused = async (host: string, env: Env) => {
    const answer = await clientOf(host, login, { env, retryPolicy: quick }).repository("acme/way").headManifest("v1");
    if (answer.state !== "unknown") throw new Error(answer.state);
    expect(answer.error.code).toBe("REGISTRY_UNREACHABLE");
    expect(JSON.stringify(answer)).not.toContain("password-of-a-test");
    expect(JSON.stringify(answer)).not.toContain("proxy-password");
    return answer.error.explanation;
  };

  test("a CA of our own, by FACTORY_CA_FILE, SSL_CERT_FILE or NODE_EXTRA_CA_CERTS", async () => {
    for (const setting of ["FACTORY_CA_FILE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"])
      await roundTrip(secure!.host, { [setting]: secure!.ca });
  });

  test("a certificate that nobody vouches for is refused, and the setting is named", async () => {
    const { fix, why } = await refused(secure!.host, {});
    expect(why).toMatch(/self-signed certificate|unable to (get|verify)/);
    expect(fix).toEqual([`if ${secure!.host} has a certificate of your own CA, name it: `, { trustFile: "/path/to/ca.pem" }]);
  });

  test("a FACTORY_CA_FILE without a certificate is told", async () => {
    const file = join(folder, "not-a-ca.pem");
    await writeFile(file, "hello\n");
    for (const FACTORY_CA_FILE of [file, join(folder, "none.pem")])
      await expect(
        clientOf(secure!.host, login, { env: { FACTORY_CA_FILE } }).repository("acme/way").headManifest("v1"),
      ).rejects.toMatchObject({
        code: "INPUT_MISSING",
      });
  });

  test("HTTPS_PROXY: a tunnel, with the proxy's login, and TLS with the registry inside it", async () => {
    await roundTrip(name, { HTTPS_PROXY: `http://me:proxy-password@${tunnelProxy!.host}`, FACTORY_CA_FILE: secure!.ca });
    expect(new Set(tunnelProxy!.seen.map(({ line }) => line))).toEqual(new Set([`CONNECT ${name}`]));
    // Connections are kept: one tunnel serves many requests.
    expect(tunnelProxy!.seen.length).toBe(1);
  });

  test("HTTP_PROXY: the proxy passes requests on, with its login", async () => {
    await roundTrip(name, { HTTP_PROXY: `http://me:proxy-password@${plainProxy!.host}`, FACTORY_PLAIN_HTTP: name });
    expect(plainProxy!.seen.length).toBeGreaterThan(5);
    expect(plainProxy!.seen.every(({ line }) => line.includes(` http://${name}/v2/`))).toBe(true);
  });

  test("a proxy that refuses is named, without its login", async () => {
    const { why, fix } = await refused(name, {
      HTTPS_PROXY: `http://me:wrong@${tunnelProxy!.host}`,
      FACTORY_CA_FILE: secure!.ca,
    });
    expect(why).toContain(`the proxy ${tunnelProxy!.host} answered 407`);
    expect(fix).toContain("HTTPS_PROXY");
    expect((await refused(name, { HTTPS_PROXY: "socks5://127.0.0.1:1080" })).why).toContain("socks5:");
  });

  test("a tunnel into silence is given up", async () => {
    const silent = createServer().listen(0, "127.0.0.1");
    await once(silent, "listening");
    const proxy = await startForwardProxy(`127.0.0.1:${(silent.address() as AddressInfo).port}`);
    const timeouts = { ...quick.timeouts, connect: 150 };
    try {
      const client = clientOf(name, login, { env: { HTTPS_PROXY: proxy.host }, retryPolicy: { ...quick, timeouts } });
      const answer = await client.repository("acme/way").headManifest("v1");
      expect(answer).toMatchObject({ state: "unknown", error: { code: "REGISTRY_UNREACHABLE" } });
      expect(answer.state === "unknown" && answer.why).toMatch(/no (connection|tunnel).* for 0.15 s/);
    } finally {
      await proxy.stop();
      silent.close();
    }
  });

  test("NO_PROXY and loopback pass the proxy by", async () => {
    const proxies = { HTTP_PROXY: `http://${plainProxy!.host}`, HTTPS_PROXY: `http://${tunnelProxy!.host}` };
    await roundTrip(plain!.host, proxies);
    await refused(name, { ...proxies, NO_PROXY: ".example" });
    expect([...plainProxy!.seen, ...tunnelProxy!.seen]).toEqual([]);
  });

  test("plain http only where it was asked for", async () => {
    const { why } = await refused(name, { HTTP_PROXY: `http://me:proxy-password@${plainProxy!.host}` });
    expect(plainProxy!.seen).toEqual([]);
    expect(why).toContain(`https://${name}/`);
    const toPlain = await startForwardProxy(plain!.host);
    try {
      const { fix } = await refused(name, { HTTPS_PROXY: `http://${toPlain.host}` });
      expect(fix).toEqual([`if ${name} speaks plain http and you trust the network to it: `, { plainHttp: name }]);
    } finally {
      await toPlain.stop();
    }
  });

  test("a registry on this machine that has TLS says so, and is spoken to in TLS", async () => {
    const client = clientOf(secure!.host, login, { env: { FACTORY_CA_FILE: secure!.ca } });
    const { digest } = newBlob(1);
    expect(await client.repository("acme/tls").blob({ digest, size: 1 })).toEqual({ state: "absent" });
    expect(client.seen.slice(0, 2).map(({ url, status }) => `${status} ${url.split("//")[0]}`)).toEqual([
      "400 http:",
      "400 http:",
    ]);
    // The login goes through TLS only.
    expect(client.seen.filter(({ url }) => url.startsWith("http:")).length).toBe(2);
  });

  test("the login does not follow a redirect to another host", async () => {
    const storage = await startFaultyProxy(plain!.host);
    try {
      const client = clientOf(front.host, login);
      const repository = client.repository("acme/redirected", "push");
      const { body, ...blob } = newBlob(1000);
      await repository.pushBlob(blob, body);
      const away = (location: string) =>
        front.on({ method: "GET", path: /blobs/, fault: { do: "answer", status: 307, headers: { location } } });
      away(`${storage.url}/bucket/object?X-Amz-Signature=abc`);
      storage.on({ path: /bucket/, fault: { do: "answer", status: 200, body: "x".repeat(1000) } });
      expect(await repository.smallBlob(blob, 1000)).toMatchObject({ state: "unknown", error: { code: "CHECKSUM_MISMATCH" } });
      expect(front.log.at(-1)?.authorization).toMatch(/^Basic /);
      expect(storage.log).toMatchObject([{ authorization: null }]);
      // To another address of its own host it does.
      away(`/v2/acme/redirected/blobs/${blob.digest}?again`);
      expect((await repository.smallBlob(blob, 1000)).state).toBe("found");
      away("/round");
      front.on({ path: /round/, times: 9, fault: { do: "answer", status: 302, headers: { location: "/round" } } });
      expect(await repository.blob(blob)).toMatchObject({ state: "unknown", error: { code: "REGISTRY_UNREACHABLE" } });
    } finally {
      await storage.stop();
    }
  });

  test("the login goes to no upload address on another host", async () => {
    const storage = await startFaultyProxy(plain!.host);
    try {
      const repository = clientOf(front.host, login).repository("acme/uploaded", "push");
      const { body, ...blob } = newBlob(1000);
      front.on({
        method: "POST",
        path: /uploads/,
        skip: 1,
        fault: { do: "change", headers: { location: `${storage.url}/upload?signed=1` } },
      });
      storage.on({ method: "PUT", path: /upload/, fault: { do: "answer", status: 201 } });
      expect(await repository.pushBlob(blob, body, { absent: true })).toEqual({ how: "uploaded", chunks: 0 });
      expect(storage.log).toMatchObject([
        { method: "PUT", path: `/upload?signed=1&digest=${encodeURIComponent(blob.digest)}`, authorization: null },
      ]);
    } finally {
      await storage.stop();
    }
  });
});
