import { createHash } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { addRootImage, readTar } from "../../../ci/bootstrap/layout.js";
import { findProgram } from "../../../ci/host/programs.js";
import { run } from "../../../ci/host/process.js";
import { resolveBaseDigest } from "../../../ci/lock/base-image.js";
import type { Net } from "../../../ci/lock/common/http.js";
import { FactoryError } from "../../../dagger/src/pipeline/common/error.js";
import { startRegistry, type TestRegistry } from "../support/registry.js";

const net = { env: {} };
const needed = ["docker-registry", "openssl", "perl", "skopeo", "tar"];
const missing: string[] = [];
for (const program of needed) if ((await findProgram(program, process.env)) === null) missing.push(program);

test("what is no reference is the config's fault", async () => {
  for (const bad of ["", "UPPER/case", "a/b@sha256:12", "a b"])
    await expect(resolveBaseDigest(bad, net), bad).rejects.toMatchObject({ code: "CONFIG_INVALID", exitCode: 65 });
});

test("a digest in the reference is the answer; nobody is asked", async () => {
  const digest = `sha256:${"b".repeat(64)}`;
  expect(await resolveBaseDigest(`127.0.0.1:1/base@${digest}`, net)).toBe(digest);
});

describe.skipIf(missing.length > 0)(`a registry${missing.length > 0 ? ` (skipped: no ${missing.join(", ")})` : ""}`, () => {
  let folder = "";
  let registry: TestRegistry;
  let address = "";

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "lock-base-"));
    registry = await startRegistry({ auth: { user: "me", password: "my-password" } });
    address = registry.host;
    await mkdir(join(folder, "home/.docker"), { recursive: true });
    const auth = Buffer.from("me:my-password").toString("base64");
    await writeFile(join(folder, "home/.docker/config.json"), JSON.stringify({ auths: { [address]: { auth } } }));
  });
  afterAll(async () => {
    await registry?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  test("gives the digest of what was pushed, and a reason for what was not", async () => {
    const layout = join(folder, "layout");
    await mkdir(join(folder, "root/etc"), { recursive: true });
    await mkdir(layout);
    await writeFile(join(folder, "root/etc/name"), "base\n");
    const tar = join(layout, ".root.tar");
    await run("tar", ["-cf", tar, "-C", join(folder, "root"), "."]);
    const image = {
      tar,
      architecture: "amd64",
      epoch: 0,
      name: "base",
      createdBy: "a test",
    } as const;
    const digest = await addRootImage(layout, image, await readTar(tar));
    const copied = await run("skopeo", [
      "copy",
      "--preserve-digests",
      "--dest-tls-verify=false",
      "--dest-creds=me:my-password",
      `oci:${layout}:base`,
      `docker://${address}/acme/base:1`,
    ]);
    expect(copied.exitCode, copied.stderr).toBe(0);

    const known = { env: { HOME: join(folder, "home") } };
    expect(await resolveBaseDigest(`${address}/acme/base:1`, known)).toBe(digest);
    const refusal = async (ref: string, as: Net) => {
      const error: unknown = await resolveBaseDigest(ref, as).catch((caught: unknown) => caught);
      expect(error).toMatchObject({ code: "BASE_UNREACHABLE", exitCode: 69 });
      return error instanceof FactoryError ? error.explanation : null;
    };
    expect(await refusal(`${address}/acme/base:2`, known)).toEqual({
      what: `cannot read the base image ${address}/acme/base:2`,
      why: `${address}/acme/base has no 2`,
      fix: "correct the name and tag of `base` in images.yaml, or write its digest (`…@sha256:…`)",
    });
    expect((await refusal(`${address}/acme/base:1`, { env: { HOME: folder } }))?.fix).toContainEqual({ login: address });
    await refusal("127.0.0.1:1/acme/base:1", known);
  });
});

describe("a registry that asks for a token", () => {
  const body = JSON.stringify({ schemaVersion: 2 });
  const digest = "sha256:bf4e5eb45e7e3f6e7f5a4a0b5bd1c43b5ca0d2f2d0be0b3c9b5fd3f2c2d0c6a1";
  let server: Server;
  let address = "";
  beforeAll(async () => {
    server = createServer((request, response) => {
      const url = new URL(request.url ?? "/", `http://${address}`);
      if (url.pathname === "/token")
        response.end(
          JSON.stringify({
            token: `${url.searchParams.get("service")}|${url.searchParams.get("scope")}`,
          }),
        );
      else if (url.pathname.startsWith("/v2/other/") || request.headers.authorization !== "Bearer acme|repository:a/b:pull") {
        const challenge = `Bearer realm="http://${address}/token",service="acme",scope="repository:a/b:pull"`;
        response.writeHead(401, { "www-authenticate": challenge }).end();
      } else if (url.pathname.endsWith("/told"))
        response
          .writeHead(200, { "docker-content-digest": digest, "content-length": body.length })
          .end(request.method === "HEAD" ? "" : body);
      else response.writeHead(200).end(request.method === "HEAD" ? "" : body);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => server.close());

  test("gets the anonymous one", async () => {
    expect(await resolveBaseDigest(`${address}/a/b:told`, net)).toBe(digest);
  });

  test("is taken at its bytes where it does not tell the digest", async () => {
    expect(await resolveBaseDigest(`${address}/a/b:untold`, net)).toBe(
      `sha256:${createHash("sha256").update(body).digest("hex")}`,
    );
  });

  test("and refuses even then is unreachable, with the status", async () => {
    const error = await resolveBaseDigest(`${address}/other/b:1`, net).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: "BASE_UNREACHABLE" });
    expect(String(error)).toContain("401");
  });
});

test("a layout keeps its other images, and replaces one of the same name", async () => {
  const folder = await mkdtemp(join(tmpdir(), "layout-"));
  try {
    const add = async (name: string, content: string) => {
      const root = await mkdtemp(join(folder, "root-"));
      await writeFile(join(root, "file"), content);
      const tar = join(folder, "layout", `.${name}.tar`);
      await mkdir(join(folder, "layout"), { recursive: true });
      await run("tar", ["-cf", tar, "--mtime=@0", "-C", root, "file"]);
      return addRootImage(
        join(folder, "layout"),
        { tar, architecture: "arm64", epoch: 0, name, createdBy: "a test" },
        await readTar(tar),
      );
    };
    const digests = await Promise.all(["a", "b", "c", "d"].map((name) => add(name, name)));
    const again = await add("a", "changed");
    expect(again).not.toBe(digests[0]);
    const index = JSON.parse(await readFile(join(folder, "layout/index.json"), "utf8")) as {
      manifests: { digest: string; annotations: Record<string, string> }[];
    };
    const named = Object.fromEntries(index.manifests.map((one) => [Object.values(one.annotations)[0], one.digest]));
    expect(named).toEqual({ a: again, b: digests[1], c: digests[2], d: digests[3] });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
