import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { factory } from "../support/factory.js";

/** Who gets FACTORY_REGISTRY_TOKEN: the registry that the environment names, and none that images.yaml names alone. */
let folder: string;
let host: string;
let seen: string[] = [];
const server = createServer((request, response) => {
  if (request.headers.authorization !== undefined) seen.push(request.headers.authorization);
  // The first request of a client has no login: this asks for one, in both ways that there are.
  response.setHeader("www-authenticate", ['Basic realm="registry"', `Bearer realm="http://${host}/token",service="registry"`]);
  response.writeHead(401).end();
});
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  folder = await mkdtemp(join(tmpdir(), "factory-authority-"));
  await writeFile(
    join(folder, "images.yaml"),
    `registry: ${host}/team
images:
  box:
    repository: box
    platforms: [linux/amd64]
    base: { image: "docker.io/library/busybox@sha256:${"c0de".repeat(16)}", packages: apt }
    stages: { base-tools: { run: ["true"] }, dependencies: {}, application: {}, runtime: {} }
`,
  );
});
beforeEach(() => {
  seen = [];
});
afterAll(async () => {
  server.close();
  await rm(folder, { recursive: true, force: true });
});

const login = { FACTORY_REGISTRY_USER: "ci", FACTORY_REGISTRY_TOKEN: "a-token-of-the-job" };
const run = (words: string[], env: Record<string, string>) =>
  factory(folder, words, { HOME: folder, FACTORY_BUILDKIT: "none", FACTORY_SCOPE: "protected", ...login, ...env });

test.each([
  ["plan", []],
  ["publish", ["--tag", "1.0"]],
  ["promote", [`sha256:${"0".repeat(64)}`, "stable"]],
  ["prune", ["--yes"]],
])("%s sends the token of the environment to no registry that images.yaml names alone", async (verb, words) => {
  const { stdout, stderr } = await run([verb, ...words], {});
  expect(seen).toEqual([]);
  expect(stdout + stderr).not.toContain(login.FACTORY_REGISTRY_TOKEN);
  // A fork's images.yaml may even name a registry that the environment names another one of.
  await run([verb, ...words], { FACTORY_REGISTRY: "registry.example/team" }).catch(() => undefined);
  expect(seen).toEqual([]);
});

test("publish says why the token is not sent, and what to set", async () => {
  const { code, stderr } = await run(["publish"], {});
  expect(code).toBe(77);
  expect(stderr).toContain(`FACTORY_REGISTRY_TOKEN is not sent to ${host}: only images.yaml names that registry`);
  expect(stderr).toContain("FACTORY_REGISTRY");
});

test("the registry that the environment names gets it, but not from a build of a fork", async () => {
  await run(["plan"], { FACTORY_REGISTRY: `${host}/team` });
  expect(seen.length).toBeGreaterThan(0);
  seen = [];
  await run(["plan"], { FACTORY_REGISTRY: `${host}/team`, FACTORY_SCOPE: "fork" });
  expect(seen).toEqual([]);
});
