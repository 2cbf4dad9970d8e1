import { createServer, request as httpRequest, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { closest } from "../../../dagger/src/pipeline/common/suggest.js";
import { resolveNpmFile, resolvePypiFile, resolveToolFile, readSimple } from "../../../ci/lock/files/tool-files.js";
import { ask, text } from "../../../ci/lock/common/http.js";
import { wheelFit } from "../../../ci/lock/files/wheel.js";

const HELLO = "hello\n";
const HELLO_SHA256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
const HELLO_SHA512 = "58IrmUxZ2c8rSOVJseJGZmNgRZMNPafBrLKZ0cO3+TH5Sq5B7dosKyB6NuEPi8uNRSI+VIePWzFufOO2vAGWKQ==";

describe("a small server", () => {
  const servers: Server[] = [];
  const seen: string[] = [];
  let origin = "";
  let proxy = "";
  const listen = (server: Server) =>
    new Promise<string>((resolve) => {
      servers.push(server);
      server.listen(0, "127.0.0.1", () => resolve(`127.0.0.1:${(server.address() as AddressInfo).port}`));
    });

  beforeAll(async () => {
    origin = await listen(
      createServer((request, response) => {
        seen.push(`${request.method} ${request.url} ${request.headers.authorization ?? "-"}`);
        const send = (body: string, type = "application/json") => response.writeHead(200, { "content-type": type }).end(body);
        const integrity = `sha512-${HELLO_SHA512}`;
        if (request.url === "/file") send(HELLO, "text/plain");
        else if (request.url === "/moved") response.writeHead(302, { location: "/file" }).end();
        else if (request.url === "/cut") {
          response.writeHead(200, { "content-length": "100" });
          response.write("half", () => response.destroy());
        } else if (request.url === "/ill") response.writeHead(503).end();
        else if (request.url === "/%40a%2fb/1.0.0" || request.url === "/@a%2fb/1.0.0")
          send(JSON.stringify({ dist: { tarball: `http://${origin}/file`, integrity } }));
        else if (request.url === "/forged/1.0.0")
          send(
            JSON.stringify({
              dist: { tarball: `http://${origin}/file`, integrity: "sha512-AAAA" },
            }),
          );
        else if (request.url === "/simple/my-tool/")
          send(
            `<a href="../../f/my_tool-1.0-py3-none-any.whl#sha256=${HELLO_SHA256}">my_tool-1.0-py3-none-any.whl</a>`,
            "text/html",
          );
        else response.writeHead(404).end();
      }),
    );
    proxy = await listen(
      createServer((request, response) => {
        seen.push(`proxied ${request.url} ${request.headers["proxy-authorization"] ?? "-"}`);
        const { pathname } = new URL(request.url ?? "");
        const onward = httpRequest(`http://${origin}${pathname}`, { method: request.method ?? "GET" }, (answer) => {
          response.writeHead(answer.statusCode ?? 0, answer.headers);
          answer.pipe(response);
        });
        onward.end();
      }).on("connect", (request, socket) => {
        seen.push(`tunnel ${request.url}`);
        const onward = connect(Number(origin.split(":")[1]), "127.0.0.1", () => {
          socket.write("HTTP/1.1 200 OK\r\n\r\n");
          onward.pipe(socket).pipe(onward);
        });
        onward.on("error", () => socket.destroy());
        socket.on("error", () => onward.destroy());
      }),
    );
  });
  afterAll(() => {
    for (const server of servers) server.closeAllConnections();
    for (const server of servers) server.close();
  });

  test("a file's hash, through a redirect", async () => {
    expect(await resolveToolFile({ url: `http://${origin}/moved` }, { env: {} })).toEqual({
      url: `http://${origin}/moved`,
      sha256: HELLO_SHA256,
    });
  });

  test("absent, ill and broken servers are told apart", async () => {
    await expect(resolveToolFile({ url: `http://${origin}/no` }, { env: {} })).rejects.toMatchObject({ code: "VERSION_UNKNOWN" });
    await expect(resolveToolFile({ url: `http://${origin}/ill` }, { env: {} })).rejects.toMatchObject({
      code: "MIRROR_UNREACHABLE",
    });
    await expect(resolveToolFile({ url: `http://${origin}/cut` }, { env: {} })).rejects.toMatchObject({
      code: "MIRROR_UNREACHABLE",
    });
    await expect(resolveToolFile({ url: "http://127.0.0.1:1/x" }, { env: {} })).rejects.toMatchObject({
      code: "MIRROR_UNREACHABLE",
    });
  });

  test("an interrupted download says so", async () => {
    const signal = AbortSignal.abort();
    await expect(ask(`http://${origin}/file`, { env: {}, signal })).rejects.toMatchObject({
      code: "INTERRUPTED",
    });
  });

  test("HTTP_PROXY is used with its credentials, and NO_PROXY passes it by", async () => {
    seen.length = 0;
    const env = { HTTP_PROXY: `http://me:secret@${proxy}` };
    expect(await text(await ask("http://files.example/file", { env }))).toBe(HELLO);
    expect(seen[0]).toBe(`proxied http://files.example/file Basic ${Buffer.from("me:secret").toString("base64")}`);
    seen.length = 0;
    // This very machine is asked without a proxy in any case.
    await text(await ask(`http://${origin}/file`, { env }));
    expect(seen).toEqual(["GET /file -"]);
    const passedBy = ask("http://files.example/file", { env: { ...env, NO_PROXY: ".example" } });
    await expect(passedBy).rejects.toMatchObject({ code: "MIRROR_UNREACHABLE" });
    expect(seen.length).toBe(1);
  });

  test("HTTPS_PROXY is asked for a tunnel", async () => {
    seen.length = 0;
    // Nobody speaks TLS behind the tunnel: the request fails, but only after the proxy was asked.
    await expect(ask("https://tool.example/x", { env: { https_proxy: proxy } })).rejects.toMatchObject({
      code: "MIRROR_UNREACHABLE",
    });
    expect(seen[0]).toBe("tunnel tool.example:443");
  });

  test("credentials of a URL are sent, and never told", async () => {
    seen.length = 0;
    const url = `http://me:secret@${origin}/no?token=abc`;
    const error = await resolveToolFile({ url }, { env: {} }).catch((caught: unknown) => caught);
    expect(seen[0]).toContain(Buffer.from("me:secret").toString("base64"));
    expect(String(error)).not.toMatch(/secret|abc/);
  });

  test("npm: the tarball is held against the registry's integrity", async () => {
    const net = { env: { npm_config_registry: `http://${origin}/` } };
    expect(await resolveNpmFile({ package: "@a/b", version: "1.0.0" }, net)).toEqual({
      url: `http://${origin}/file`,
      sha256: HELLO_SHA256,
    });
    await expect(resolveNpmFile({ package: "forged", version: "1.0.0" }, net)).rejects.toMatchObject({
      code: "CHECKSUM_MISMATCH",
    });
    await expect(resolveNpmFile({ package: "absent", version: "1.0.0" }, net)).rejects.toMatchObject({ code: "VERSION_UNKNOWN" });
  });

  test("PyPI: an index that speaks HTML only", async () => {
    const net = { env: { PIP_INDEX_URL: `http://me:secret@${origin}/simple/` } };
    const wanted = {
      package: "My_Tool",
      version: "1",
      platform: "linux/arm64",
      python: "3.9",
    } as const;
    expect(await resolvePypiFile(wanted, net)).toEqual({
      filename: "my_tool-1.0-py3-none-any.whl",
      url: `http://${origin}/f/my_tool-1.0-py3-none-any.whl`,
      sha256: HELLO_SHA256,
    });
    await expect(resolvePypiFile({ ...wanted, version: "2" }, net)).rejects.toMatchObject({
      code: "VERSION_UNKNOWN",
    });
  });
});

test("pip's order of wheels", () => {
  const target = { architecture: "amd64", python: "3.11", glibc: "2.34" } as const;
  const order = [
    "x-1-cp311-cp311-manylinux_2_28_x86_64.whl",
    "x-1-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
    "x-1-cp39-abi3-manylinux1_x86_64.whl",
    "x-1-cp37-abi3-manylinux_2_28_x86_64.whl",
    "x-1-py3-none-manylinux_2_28_x86_64.musllinux_1_2_x86_64.whl",
    "x-1-py2.py3-none-any.whl",
  ];
  const sorted = [...order].reverse().sort((a, b) => (wheelFit(b, target) ?? 0) - (wheelFit(a, target) ?? 0));
  expect(sorted).toEqual(order);
  for (const never of [
    "x-1-cp312-cp312-manylinux_2_28_x86_64.whl",
    "x-1-cp312-abi3-manylinux_2_28_x86_64.whl",
    "x-1-cp311-cp311-manylinux_2_35_x86_64.whl",
    "x-1-cp311-cp311-manylinux_2_28_aarch64.whl",
    "x-1-cp311-cp311-musllinux_1_2_x86_64.whl",
    "x-1-py3-none-win_amd64.whl",
    "x-1-py2-none-any.whl",
    "x-1.tar.gz",
  ])
    expect(wheelFit(never, target), never).toBe(null);
});

test("an index page in JSON", () => {
  const page = JSON.stringify({
    files: [
      {
        filename: "a-1-py3-none-any.whl",
        url: "../f/a.whl",
        hashes: { sha256: HELLO_SHA256 },
        yanked: false,
      },
    ],
  });
  expect(readSimple(page, "https://index.acme/simple/a/")).toEqual([
    {
      filename: "a-1-py3-none-any.whl",
      url: "https://index.acme/simple/f/a.whl",
      sha256: HELLO_SHA256,
    },
  ]);
});

test("the name that was meant", () => {
  expect(closest("pyhton3", ["python3", "perl", "python3.11"])).toBe("python3");
  expect(closest("gti", ["curl", "git"])).toBe("git");
  expect(closest("entirely-else", ["git", "curl"])).toBe(null);
});
