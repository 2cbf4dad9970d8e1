import { createReadStream } from "node:fs";
import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { createServer, request as httpRequest, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { extract } from "tar-stream";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { bootstrapDebian, type DebianBootstrap } from "../../../ci/bootstrap/debian.js";
import { openApt } from "../../../ci/lock/apt/apt.js";
import { FactoryError } from "../../../dagger/src/pipeline/common/error.js";
import { debianMirror } from "../../../dagger/src/pipeline/steps/debian-base.js";

const source = {
  suite: "bookworm",
  mirror: debianMirror,
  architecture: process.arch === "arm64" ? "arm64" : "amd64",
} as const;
const epoch = 315_619_200;
const folder = await mkdtemp(join(tmpdir(), "bootstrap-"));
const absent = await openApt(source, join(folder, "probe"), null).then(
  () => null,
  (error: unknown) => {
    if (error instanceof FactoryError && ["HOST_TOOL_MISSING", "MIRROR_UNREACHABLE"].includes(error.code))
      return error.explanation.why;
    throw error;
  },
);
afterAll(() => rm(folder, { recursive: true, force: true }));

type Found = { mode: number; owner: string; mtime: number; type: string; text: string };

/** The entries of an image's only layer, by path without the leading `./`; text of small files only. */
async function entriesOf(layout: string, digest: string): Promise<Map<string, Found>> {
  const blob = (of: string) => join(layout, "blobs", of.replace(":", "/"));
  const manifest = JSON.parse(await readFile(blob(digest), "utf8")) as {
    layers: { digest: string }[];
  };
  const entries = new Map<string, Found>();
  const reader = extract();
  reader.on("entry", (header, stream, next) => {
    const parts: Uint8Array[] = [];
    stream.on("data", (part: unknown) => {
      if (part instanceof Uint8Array && (header.size ?? 0) < 200_000) parts.push(part);
    });
    stream.on("end", () => {
      const { mode = 0, uid, gid, mtime, type } = header;
      const text = Buffer.concat(parts).toString("latin1");
      entries.set(header.name.replace(/^\.\//, ""), {
        mode,
        owner: `${uid}:${gid}`,
        mtime: (mtime?.getTime() ?? 0) / 1000,
        type: type ?? "",
        text,
      });
      next();
    });
    stream.resume();
  });
  await pipeline(createReadStream(blob(manifest.layers[0]?.digest ?? "")), reader);
  return entries;
}

/** A proxy that counts, as a company has it. */
async function openProxy(): Promise<{ server: Server; address: string; asked: string[] }> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? "");
    const onward = httpRequest(new URL(request.url ?? ""), { headers: request.headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    onward.on("error", () => response.destroy());
    onward.end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

describe.skipIf(absent !== null)(`a Debian base${absent === null ? "" : ` (skipped: ${absent})`}`, () => {
  const layout = join(folder, "the layout");
  const said: string[] = [];
  const wanted: DebianBootstrap = {
    ...source,
    include: ["ca-certificates"],
    packages: null,
    epoch,
    folder: layout,
    name: "first",
    cache: join(folder, "the cache"),
    report: (line) => said.push(line),
  };
  let first: Awaited<ReturnType<typeof bootstrapDebian>>;
  let proxy: Awaited<ReturnType<typeof openProxy>>;

  beforeAll(async () => {
    proxy = await openProxy();
    const before = process.env["HTTP_PROXY"];
    process.env["HTTP_PROXY"] = proxy.address;
    try {
      first = await bootstrapDebian(wanted);
    } finally {
      if (before === undefined) delete process.env["HTTP_PROXY"];
      else process.env["HTTP_PROXY"] = before;
    }
  });
  afterAll(() => {
    proxy.server.closeAllConnections();
    proxy.server.close();
  });

  test("comes through the proxy, and holds no trace of it or of the host", async () => {
    expect(proxy.asked.filter((url) => url.endsWith(".deb")).length).toBe(first.packages.length);
    const entries = await entriesOf(layout, first.digest);
    for (const never of [
      "etc/resolv.conf",
      "etc/hostname",
      "etc/hosts",
      "etc/apt/preferences.d/image-factory-lock",
      "etc/apt/apt.conf",
    ])
      expect(entries.has(never), never).toBe(false);
    expect(entries.get("etc/machine-id")?.text ?? "").toBe("");
    expect(entries.get("etc/apt/sources.list")?.text).toContain(` ${debianMirror}-security bookworm-security main`);
    const proxied = [...entries].filter(
      ([, { text }]) => text.includes(proxy.address.slice("http://".length)) || text.includes("factory-debian-"),
    );
    expect(proxied.map(([path]) => path)).toEqual([]);
    const below = (path: string) => [...entries.keys()].filter((name) => name.startsWith(path) && !name.endsWith("/"));
    expect(below("var/cache/apt/archives/")).toEqual(["var/cache/apt/archives/lock"]);
    expect(below("var/lib/apt/lists/")).toEqual(["var/lib/apt/lists/lock"]);
    expect(below("usr/share/man/")).toEqual([]);
    expect(below("usr/share/doc/").filter((path) => /changelog|README/.test(path))).toEqual([]);
    expect(below("usr/share/doc/bash/")).toEqual(["usr/share/doc/bash/copyright"]);
    expect(below("dev/")).toEqual([]);
    expect([...entries.values()].filter(({ mtime }) => mtime > epoch)).toEqual([]);
    expect(entries.get("tmp/")?.mode).toBe(0o1777);
  });

  test("the same again from its lock: same digest, and the other image stays", async () => {
    const again = await bootstrapDebian({ ...wanted, packages: first.packages, name: "again" });
    expect(again).toEqual(first);
    const index = JSON.parse(await readFile(join(layout, "index.json"), "utf8")) as {
      manifests: { annotations: object }[];
    };
    expect(index.manifests.map(({ annotations }) => Object.values(annotations)[0])).toEqual(["first", "again"]);
    // One layer, one config, one manifest, and nothing half-made.
    expect(await readdir(join(layout, "blobs/sha256"))).toHaveLength(3);
    expect((await readdir(layout)).sort()).toEqual(["blobs", "index.json", "oci-layout"]);
    expect((await stat(join(wanted.cache, "debs"))).isDirectory()).toBe(true);
  });

  test("a locked version that is gone is named, with the one that took its place", async () => {
    const packages = first.packages.map((pin) => (pin.startsWith("bash=") ? "bash=0.1-1" : pin));
    const error = await bootstrapDebian({ ...wanted, packages }).catch((caught: unknown) => caught);
    expect(error).toMatchObject({
      code: "PACKAGE_GONE",
      explanation: { fix: expect.stringContaining("./task lock --update") },
    });
    expect(String(error)).toMatch(/bash=0\.1-1 \(now 5/);
  });

  test("a lock that is short of a package, or has one too many, is stale", async () => {
    await expect(bootstrapDebian({ ...wanted, packages: first.packages.slice(1) })).rejects.toMatchObject({ code: "LOCK_STALE" });
    await expect(bootstrapDebian({ ...wanted, include: [], packages: first.packages })).rejects.toMatchObject({
      code: "LOCK_STALE",
      explanation: { why: expect.stringContaining("locked, but not needed: ca-certificates=") },
    });
  });

  test("an interrupted one leaves nothing behind", async () => {
    const stop = new AbortController();
    const report = (line: string) => line.startsWith("installing") && stop.abort();
    const halted = {
      ...wanted,
      folder: join(folder, "halted"),
      packages: first.packages,
      signal: stop.signal,
      report,
    };
    await expect(bootstrapDebian(halted)).rejects.toMatchObject({ code: "INTERRUPTED" });
    expect(await readdir(join(folder, "halted"))).toEqual([]);
  });
});
