import { zstdDecompressSync } from "node:zlib";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sha256 } from "../../fixtures/scratch.js";
import { run } from "../../../ci/host/process.js";
import { built, factory } from "../support/factory.js";
import { lacking } from "../support/needs.js";
import { openTiny, type Tiny } from "../support/tiny.js";
import { startWeb, type Web } from "../support/web.js";
import { type ForwardProxy, startForwardProxy } from "../../integration/support/forward-proxy.js";

/** A secret reaches the steps that run, and nothing that is kept: looked for in every blob, log, record and cache. */
const absent = await lacking("docker-registry", "skopeo", "busybox", "runc");

describe.skipIf(absent !== null)(`secrets${absent === null ? "" : ` (skipped: ${absent})`}`, () => {
  const values = { env: `env-s3cr3t-${Math.random()}`, file: `file-s3cr3t-${Math.random()}` };
  let tiny: Tiny;
  let web: Web;
  /** A proxy that wants a login, as companies have them; it leads to the server of this test. */
  let proxy: ForwardProxy;
  const password = `proxy-s3cr3t-${Math.random()}`;
  let folder = "";
  /** What was on the command lines of this machine while the step ran. */
  let commandLines = "";

  beforeAll(async () => {
    tiny = await openTiny();
    web = await startWeb({
      "/look": async (_, response) => {
        for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name)))
          commandLines += await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
        response.end();
      },
    });
    proxy = await startForwardProxy(new URL(web.address).host, `someone:${password}`);
    const secrets = [
      "secrets:",
      "  by-variable: { from: env:THE_TOKEN, as: env:TOKEN }",
      "  by-file: { from: file:token.txt, as: file:/run/team/token }",
      "  not-here: { from: env:NOBODY_SETS_THIS, as: env:ABSENT }",
      "",
    ].join("\n");
    const command = [
      'printf %s "$TOKEN" | sha256sum > /etc/variable',
      "sha256sum < /run/team/token > /etc/file",
      'echo "${ABSENT-absent}" > /etc/absent',
      // A name that nothing but the proxy knows.
      "wget -q -O /dev/null http://behind-the-proxy.invalid/look",
    ].join("; ");
    folder = await tiny.project(`run: [${JSON.stringify(command)}], env: { TITLE: secrets }`, { top: secrets });
    await writeFile(join(folder, "token.txt"), values.file);
  });
  afterAll(() => tiny.close());
  afterAll(() => web.close());
  afterAll(() => proxy.stop());

  const env = () => ({
    ...tiny.env,
    THE_TOKEN: values.env,
    http_proxy: `http://someone:${password}@${proxy.host}`,
    no_proxy: "127.0.0.1",
    FACTORY_SECRETS: `id=by-variable,env=THE_TOKEN\nid=by-file,src=${folder}/token.txt`,
  });

  test("reach a step, as a variable and as a file", async () => {
    const { record } = await built(folder, ["--verbose", "--output", "oci:out"], env());
    const layers = await layersOf(record.digest);
    expect(layers.some((layer) => layer.includes("etc/variable"))).toBe(true);
    for (const value of Object.values(values)) expect(layers.some((layer) => layer.includes(sha256(value)))).toBe(true);
    expect(layers.some((layer) => layer.includes("absent\n"))).toBe(true);
  });

  test("leave no trace of where they stood", async () => {
    const { record } = await built(folder, [], env());
    const names = (await layersOf(record.digest)).flatMap((layer) => layer.match(/(?:run|tmp)\/[\w./-]*/g) ?? []);
    expect(names.length).toBeGreaterThan(0);
    expect(names.filter((name) => /secrets|team|host-ca/.test(name))).toEqual([]);
  });

  /** The layers of an image as text, uncompressed. */
  const layersOf = async (digest: string): Promise<string[]> => {
    const blob = (of: string) => readFile(join(tiny.env.FACTORY_STATE, "layout/blobs", of.replace(":", "/")));
    const { layers } = JSON.parse((await blob(digest)).toString()) as { layers: { mediaType: string; digest: string }[] };
    return Promise.all(
      layers.map(async (layer) => {
        const bytes = await blob(layer.digest);
        return Buffer.from(layer.mediaType.endsWith("zstd") ? zstdDecompressSync(bytes) : bytes).toString("latin1");
      }),
    );
  };

  test("end in no layer, config, log, record, output, cache or command line", async () => {
    const { record } = await built(folder, [], env());
    const texts = await layersOf(record.digest);
    for (const value of Object.values(values)) {
      for (const text of texts) expect(text).not.toContain(value);
      expect(commandLines).toContain("wget");
      expect(commandLines).not.toContain(value);
      // The state with the engine's own: content store, snapshots, databases, log; and the output. The file of the person stays theirs.
      const found = async (text: string) => (await run("grep", ["-rlaF", "--exclude=token.txt", text, tiny.root])).stdout;
      expect(await found(value)).toBe("");
      // What the step made of it is found, so the search looks where things are.
      expect(await found(sha256(value))).toMatch(/\/engine\/root\/.*\/etc\//);
    }
    expect(await readdir(tiny.env.TMPDIR)).toEqual([]);
  });

  test("a proxy's password reaches the step and stands nowhere: no command line, no history of BuildKit's, no record", async () => {
    await built(folder, [], env());
    const login = Buffer.from(`someone:${password}`).toString("base64");
    expect(proxy.seen).toContainEqual({ line: "GET http://behind-the-proxy.invalid/look", authorization: `Basic ${login}` });
    expect(commandLines).toContain("behind-the-proxy.invalid");
    for (const value of [password, login]) {
      expect(commandLines).not.toContain(value);
      expect((await run("grep", ["-rlaF", value, tiny.root])).stdout).toBe("");
    }
    // Where BuildKit keeps what it built, the search looks too.
    expect((await run("grep", ["-rlaF", "behind-the-proxy.invalid", tiny.root])).stdout).toMatch(/\/engine\/root\/history/);
  });

  test("are no part of a key, and a step that fails does not print them", async () => {
    const { code } = await factory(folder, ["plan", "--check"], { ...tiny.env, THE_TOKEN: "another" });
    expect(code).toBe(0);
    const text = await readFile(join(folder, "images.yaml"), "utf8");
    await writeFile(join(folder, "images.yaml"), text.replace("printf", "false; printf"));
    const failed = await factory(folder, ["build", "--verbose"], { ...env(), FACTORY_DEBUG: "1" });
    expect(failed.code).toBe(70);
    for (const value of [...Object.values(values), password]) expect(failed.stdout + failed.stderr).not.toContain(value);
  });
});
