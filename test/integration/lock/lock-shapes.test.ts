import type { ServerResponse } from "node:http";
import { symlinkSync, writeFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { readTar } from "../../../ci/bootstrap/layout.js";
import { resolveNpmFile, resolvePypiFile, resolveToolFile } from "../../../ci/lock/files/tool-files.js";
import { limits } from "../../../ci/lock/common/http.js";
import { readPylock, resolvePython } from "../../../ci/lock/python/requirements-lock.js";
import { readRpmAnswer } from "../../../ci/lock/dnf/dnf-script.js";
import { lookInto } from "../../../ci/lock/files/archive.js";
import { hostToolsFile } from "../../../ci/host/pinned-tools.js";
import { stateOf } from "../../../ci/state/state.js";
import { type Page, startWeb, type Web } from "../../e2e/support/web.js";

/** Answers of another form or of any size: an error that names who answered, and nothing is read without an end. */
let web: Web;
const pages: Record<string, Page> = {};
const scratch = mkdtempSync(join(tmpdir(), "factory-shapes-"));
const usual = { ...limits };
beforeAll(async () => {
  web = await startWeb((path) => pages[path]);
});
afterEach(() => void Object.assign(limits, usual));
afterAll(() => web.close());
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const hash = "a".repeat(64);
const wheel = "task-1.0-py3-none-any.whl";
const pypi = (index = `${web.address}/simple`) =>
  resolvePypiFile(
    { package: "task", version: "1.0", platform: "linux/amd64", python: "3.11" },
    { env: { PIP_INDEX_URL: index } },
  );
const npm = () => resolveNpmFile({ package: "task", version: "1.0" }, { env: { npm_config_registry: web.address } });
const failed = (code: string) => expect.objectContaining({ name: "FactoryError", code });

test.each(["{", "[]", "null", "{}", '{"files": 5}', '{"files": {"x": 1}}'])("an index that answers %s", async (text) => {
  pages["/simple/task/"] = text;
  await expect(pypi()).rejects.toEqual(failed(text === "null" ? "VERSION_UNKNOWN" : "MIRROR_FAILED"));
});

test("an entry of an index that cannot be read counts as absent, the others count", async () => {
  const good = { filename: wheel, url: `../f/${wheel}`, hashes: { sha256: hash } };
  const odd = [
    5,
    null,
    {},
    { ...good, url: "http://[" },
    { ...good, url: "file:///etc/passwd" },
    { ...good, hashes: { sha256: "zz" } },
  ];
  pages["/simple/task/"] = JSON.stringify({ files: [...odd, good] });
  expect(await pypi()).toEqual({ filename: wheel, url: `${web.address}/simple/f/${wheel}`, sha256: hash });
  pages["/simple/task/"] = JSON.stringify({ files: odd });
  await expect(pypi()).rejects.toEqual(failed("VERSION_UNKNOWN"));
});

test("a page of links is read in linear time, quotes and all", async () => {
  const link = `<a data-requires-python=">=3.6" href="/f/${wheel}#sha256=${hash}&amp;egg=x">\n ${wheel} </a>`;
  pages["/simple/task/"] = `${"<a ".repeat(1_000_000)}${'<a href="'.repeat(300_000)}${"<a #".repeat(300_000)}${link}`;
  expect((await pypi()).url).toBe(`${web.address}/f/${wheel}`);
});

test.each(["not an address", "file:///etc", "http://", ""])("an index at %j", async (index) => {
  await expect(pypi(index)).rejects.toEqual(failed("MIRROR_UNREACHABLE"));
});

test.each([
  "<html>log in</html>",
  "null",
  "[]",
  "{}",
  '{"dist": 5}',
  '{"dist": {"tarball": 5}}',
  '{"dist": {"tarball": "not an address"}}',
  '{"dist": {"tarball": "file:///etc/passwd"}}',
  '{"dist": {"tarball": "http://x.example/x", "integrity": 5}}',
])("an npm registry that answers %s", async (text) => {
  pages["/task/1.0"] = text;
  await expect(npm()).rejects.toEqual(failed("MIRROR_FAILED"));
});

test("a tarball whose registry gives no hash, or another one, is not locked; a login in its address stays out of the lock", async () => {
  pages["/x.tgz"] = "x";
  const answer = (dist: object) =>
    JSON.stringify({ dist: { tarball: `${web.address.replace("//", "//me:secret@")}/x.tgz#top`, ...dist } });
  for (const dist of [
    {},
    { integrity: "md5-x" },
    { integrity: "sha512-" },
    { shasum: "" },
    { shasum: "11f6ad8ec52a2984abaafd7c3b516503785c2072", integrity: "sha512-AAAA" },
  ]) {
    pages["/task/1.0"] = answer(dist);
    await expect(npm(), JSON.stringify(dist)).rejects.toEqual(failed("CHECKSUM_MISMATCH"));
  }
  pages["/task/1.0"] = answer({ shasum: "11f6ad8ec52a2984abaafd7c3b516503785c2072" });
  expect((await npm()).url).toBe(`${web.address}/x.tgz`);
});

test.each(["http://[", "//", "file:///etc/passwd", "data:,x", "http://a b/"])("a redirect to %s", async (location) => {
  pages["/moved"] = (_, response) => void response.writeHead(302, { location }).end();
  await expect(resolveToolFile({ url: `${web.address}/moved` }, { env: {} })).rejects.toEqual(failed("MIRROR_FAILED"));
});

/** Writes without an end, for as long as anyone reads. */
const endless = (_: unknown, response: ServerResponse) => {
  const more = () => {
    while (!response.destroyed && response.write(Buffer.alloc(64 * 1024, "x")));
  };
  response.on("drain", more);
  more();
};

test("a page, a file and all answers together have a largest size", async () => {
  Object.assign(limits, { page: 100_000, file: 200_000, run: 500_000 });
  const tooLarge = { code: "MIRROR_FAILED", explanation: { what: expect.stringContaining("is too large") } };
  pages["/simple/task/"] = pages["/task/1.0"] = pages["/endless"] = endless;
  await expect(pypi()).rejects.toMatchObject(tooLarge);
  await expect(npm()).rejects.toMatchObject(tooLarge);
  await expect(resolveToolFile({ url: `${web.address}/endless` }, { env: {} })).rejects.toMatchObject(tooLarge);
  pages["/huge"] = (_, response) => void response.writeHead(200, { "content-length": "200001" }).flushHeaders();
  await expect(resolveToolFile({ url: `${web.address}/huge` }, { env: {} })).rejects.toMatchObject(tooLarge);
  pages["/fits"] = Buffer.alloc(190_000);
  const net = { env: {} };
  const fits = () => resolveToolFile({ url: `${web.address}/fits` }, net);
  await fits();
  await fits();
  await expect(fits()).rejects.toMatchObject({
    ...tooLarge,
    explanation: { why: expect.stringContaining("all answers together") },
  });
});

test("what programs answer", async () => {
  for (const text of ["{", '{"package": 5}', '{"package": "--setopt=x"}', '{"package": "a b-0:1-1.x"}', '{"odd": 1}', "{}"])
    expect(() => readRpmAnswer(`${text}\n{"done": true}\n`, ["a"], "x"), text).toThrow(/MIRROR_FAILED/);
  for (const text of [
    "[",
    "packages = 5",
    '[[packages]]\nname = "--index-url=x"\nversion = "1"',
    '[[packages]]\nname = "a"\nversion = "1 --hash"',
  ])
    expect(() => readPylock(text), text).toThrow(/MIRROR_FAILED/);
  writeFileSync(join(scratch, "not.tar"), "no tar at all".repeat(100));
  await expect(readTar(join(scratch, "not.tar"))).rejects.toEqual(failed("STEP_FAILED"));
  for (const kind of ["tar", "zip", "package"] as const)
    await expect(lookInto(join(scratch, "not.tar"), kind, ["x"], "not.tar", undefined), kind).rejects.toEqual(
      failed("MIRROR_FAILED"),
    );
  symlinkSync("/dev/null", join(scratch, "null"));
  await expect(lookInto(join(scratch, "null"), "tar", ["x"], "null", undefined)).rejects.toEqual(failed("MIRROR_FAILED"));
});

test("an index whose answers uv cannot read is no requirement without a solution", async () => {
  pages["/simple/task/"] = (_, response) =>
    void response.writeHead(200, { "content-type": "application/vnd.pypi.simple.v1+json" }).end('{"files": 5}');
  pages["/denied/task/"] = (_, response) => void response.writeHead(403).end();
  const ask = (index: string) =>
    resolvePython({
      requires: ["task"],
      pythonVersion: "3.11",
      platforms: ["linux/amd64"],
      hostTools: hostToolsFile,
      work: scratch,
      cache: stateOf(scratch, process.env).cache,
      net: {
        env: { ...process.env, PIP_INDEX_URL: `${web.address}/${index}`, UV_DEFAULT_INDEX: undefined, NO_PROXY: "127.0.0.1" },
      },
    });
  await expect(ask("simple")).rejects.toEqual(failed("MIRROR_FAILED"));
  pages["/endless/task/"] = (request, response) => {
    response.writeHead(200, { "content-type": "application/vnd.pypi.simple.v1+json" });
    response.write('{"files": [');
    endless(request, response);
  };
  await expect(ask("endless")).rejects.toEqual(failed("MIRROR_FAILED"));
  await expect(ask("denied")).rejects.toEqual(failed("MIRROR_UNREACHABLE"));
});
