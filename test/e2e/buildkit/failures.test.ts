import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { actionsOf, built, type Ended, factory } from "../support/factory.js";
import { lacking } from "../support/needs.js";
import { platform } from "../support/small.js";
import { openTiny, type Tiny } from "../support/tiny.js";
import { startWeb, type Web } from "../support/web.js";

/** What goes wrong, and what the person is told: the code, the words of whoever failed, the exit code, and what is left. */
const absent = await lacking("docker-registry", "skopeo", "busybox", "runc");

describe.skipIf(absent !== null)(`a build that fails${absent === null ? "" : ` (skipped: ${absent})`}`, () => {
  let tiny: Tiny;
  let web: Web;
  const project: Tiny["project"] = (...words) => tiny.project(...words);
  const env = () => tiny.env;

  beforeAll(async () => {
    tiny = await openTiny();
    web = await startWeb({ "/tool-1.0": "#!/bin/sh\necho tool\n" });
    // One daemon for all builds of the file: each would start its own.
    await factory(await project(""), ["engine", "start"], env());
  });
  afterAll(() => tiny.close());
  afterAll(() => web.close());
  afterAll(async () => factory(await project(""), ["engine", "stop"], env()));

  const build = async (
    folder: string,
    words: readonly string[] = [],
    more: Record<string, string | undefined> = {},
  ): Promise<Ended> => factory(folder, ["build", ...words], { ...env(), ...more });
  const recordsOf = async () => (await readdir(join(tiny.env.FACTORY_STATE, "stages")).catch(() => [])).sort();

  test("a step that fails: its name, its exit code and its own words", async () => {
    const folder = await project('run: [{ name: check the weather, command: "echo looking up; echo it rains >&2; exit 3" }]');
    const { code, stdout, stderr } = await build(folder);
    expect(code).toBe(70);
    expect(stdout).toBe("");
    expect(stderr).toMatch(/error STEP_FAILED: a step of base-tools failed with exit code 3: run check the weather\n/);
    expect(stderr.slice(stderr.indexOf("error STEP_FAILED"))).toContain("it rains\n");
    expect(stderr).toMatch(/\n {2}→ \S/);
    const json = await build(folder, ["--json"]);
    expect(JSON.parse(json.stderr.trim().split("\n").at(-1)!)).toMatchObject({ error: { code: "STEP_FAILED", exitCode: 70 } });
  });

  test("a download that is not what was locked", async () => {
    const tools = `tools:\n  tool: { version: "1.0", download: { url: "${web.address}/tool-{version}" } }\n`;
    const folder = await project("tools: [tool]", { top: tools });
    await writeFile(
      join(folder, "images.lock"),
      `format: 1\ntools: { tool: { download: { "1.0": { ${platform}: { sha256: ${"ab".repeat(32)} } } } } }\n`,
    );
    const { code, stderr } = await build(folder);
    expect(stderr).toContain("error CHECKSUM_MISMATCH: download tool 1.0: it is not the file that images.lock holds");
    expect(stderr).toMatch(new RegExp(`expected sha256:${"ab".repeat(32)}\\n +got +sha256:(?!abab)[0-9a-f]{64}`));
    expect(code).toBe(68);
  });

  test("a download whose server does not answer", async () => {
    const tools = 'tools:\n  tool: { version: "1.0", download: { url: "http://127.0.0.1:1/tool-{version}" } }\n';
    const folder = await project("tools: [tool]", { top: tools });
    await writeFile(
      join(folder, "images.lock"),
      `format: 1\ntools: { tool: { download: { "1.0": { ${platform}: { sha256: ${"ab".repeat(32)} } } } } }\n`,
    );
    const { code, stderr } = await build(folder);
    expect(stderr).toContain(
      "error MIRROR_UNREACHABLE: cannot download http://127.0.0.1:1/tool-1.0\n  dial tcp 127.0.0.1:1: connect: connection refused\n",
    );
    expect(code).toBe(69);
  });

  test("a download whose server has no such file: its error page is what came", async () => {
    const tools = `tools:\n  tool: { version: "9.9", download: { url: "${web.address}/tool-{version}" } }\n`;
    const folder = await project("tools: [tool]", { top: tools });
    await writeFile(
      join(folder, "images.lock"),
      `format: 1\ntools: { tool: { download: { "9.9": { ${platform}: { sha256: ${"ab".repeat(32)} } } } } }\n`,
    );
    const { code, stderr } = await build(folder);
    expect(stderr).toContain("error CHECKSUM_MISMATCH: download tool 9.9:");
    expect(stderr).toContain("see what the address answers");
    expect(code).toBe(68);
  });

  test("a base image at a registry that does not answer", async () => {
    // Port 1: nobody listens there.
    const folder = await project('run: ["true"]', {
      base: `{ image: "127.0.0.1:1/base:1@sha256:${"0".repeat(64)}", packages: apt }`,
    });
    const { code, stderr } = await build(folder);
    expect(stderr).toContain("error BASE_UNREACHABLE:");
    expect(stderr).toContain("127.0.0.1:1");
    expect(code).toBe(69);
  });

  test("a base image that the registry does not have", async () => {
    const folder = await project('run: ["true"]', {
      base: `{ image: "${tiny.registry.host}/none@sha256:${"0".repeat(64)}", packages: apt }`,
    });
    const { code, stderr } = await build(folder);
    expect(stderr).toContain("error BASE_UNREACHABLE:");
    expect(code).toBe(69);
  });

  test("a package mirror that does not answer", async () => {
    const mirror = "{ bootstrap: debian, suite: bookworm, mirror: http://127.0.0.1:1/debian, packages: apt }";
    const { code, stderr } = await build(await project("packages: [jq]", { base: mirror }));
    expect(stderr).toContain(
      "error MIRROR_UNREACHABLE: cannot read the package lists of bookworm from http://127.0.0.1:1/debian",
    );
    expect(code).toBe(69);
  });

  test("no engine: what was tried, and why not", async () => {
    const { code, stderr } = await build(await project("run: [echo never]"), [], {
      BUILDKIT_HOST: "unix:///nowhere/buildkitd.sock",
      FACTORY_BUILDKIT: "BUILDKIT_HOST",
    });
    expect(stderr).toMatch(
      /error ENGINE_MISSING: no engine can execute a stage here\n {2}BUILDKIT_HOST: unix:\/\/\/nowhere\/buildkitd\.sock does not answer/,
    );
    expect(code).toBe(69);
  });

  test("what is typed wrong is refused before an engine is looked for", async () => {
    const folder = await project('run: ["true"]');
    const nowhere = { BUILDKIT_HOST: "unix:///nowhere/buildkitd.sock", FACTORY_BUILDKIT: "BUILDKIT_HOST" };
    for (const [words, code, name] of [
      [["--stage", "aplication"], 64, "UNKNOWN_STAGE"],
      [["--image", "tini"], 64, "UNKNOWN_IMAGE"],
      [["--platform", "amd65"], 64, "UNKNOWN_PLATFORM"],
      [["--output", "zip:x"], 64, "USAGE"],
      [["--engine", "kaniko"], 64, "USAGE"],
      [["--no-cahce"], 64, "USAGE"],
      [["--build-arg", "TASK_VERSION=1"], 64, "UNKNOWN_BUILD_ARG"],
    ] as const) {
      const ended = await build(folder, words, nowhere);
      expect([words, ended.code, /error (\w+)/.exec(ended.stderr)?.[1]]).toEqual([words, code, name]);
    }
  });

  test("a step that comes out different every time: nothing is overwritten, unless REFRESH asks for it", async () => {
    const folder = await project('run: ["cat /proc/sys/kernel/random/uuid > /etc/uuid"]');
    const first = await built(folder, [], env());
    const records = await recordsOf();
    const { code, stderr } = await build(folder, [], { FACTORY_NO_CACHE: "1" });
    expect(stderr).toContain("error NOT_REPRODUCIBLE: base-tools came out different from what is kept under its key");
    expect(stderr).toContain(`kept: ${first.record.platforms[0]!.stages[0]!.digest}`);
    expect(code).toBe(75);
    expect(await recordsOf()).toEqual(records);
    expect((await built(folder, [], env())).record.digest).toBe(first.record.digest);
    const refreshed = await built(folder, [], { ...env(), FACTORY_NO_CACHE: "1", FACTORY_REFRESH: "1" });
    expect(refreshed.record.digest).not.toBe(first.record.digest);
    expect((await built(folder, [], env())).record).toMatchObject({ digest: refreshed.record.digest });
  });

  test("an output that cannot be written, and one whose folder is not there yet", async () => {
    const folder = await project("run: [echo out > /out]");
    await writeFile(join(folder, "notes"), "mine");
    await built(folder, [], env());
    for (const [output, words] of [
      ["oci:notes", "error OUTPUT_FAILED: will not replace "],
      ["tar:notes/image.tar", "error OUTPUT_FAILED: cannot write "],
      ["docker:notes/image.tar", "error OUTPUT_FAILED: cannot write "],
    ] as const) {
      const { code, stderr } = await build(folder, ["--output", output]);
      expect(stderr).toContain(words);
      expect(code).toBe(73);
    }
    for (const output of ["oci:a/b/layout", "tar:c/d/image.tar", "docker:e/f/image.tar"])
      await built(folder, ["--output", output], env());
    expect(await readFile(join(folder, "notes"), "utf8")).toBe("mine");
    expect((await readdir(folder, { recursive: true })).filter((name) => /draft|\.layer-/.test(name))).toEqual([]);
  });

  test("a failure leaves the output and the stages of the time before", async () => {
    const folder = await project("run: [echo good > /etc/state]");
    const good = await built(folder, ["--output", "tar:image.tar"], env());
    const [tar, records, text] = [
      await readFile(join(folder, "image.tar")),
      await recordsOf(),
      await readFile(join(folder, "images.yaml"), "utf8"),
    ];
    await writeFile(join(folder, "images.yaml"), text.replace("echo good", "false; echo good"));
    expect((await build(folder, ["--output", "tar:image.tar"])).code).toBe(70);
    expect((await readFile(join(folder, "image.tar"))).equals(tar)).toBe(true);
    expect((await readdir(folder)).sort()).toEqual(["image.tar", "images.yaml"]);
    expect(await recordsOf()).toEqual(records);
    await writeFile(join(folder, "images.yaml"), text);
    const again = await built(folder, [], env());
    expect(actionsOf(again.record)["base-tools"]).toBe("reuse");
    expect(again.record.digest).toBe(good.record.digest);
  });

  test("a stage that fails leaves the one below it kept, whose index was made at the same time", async () => {
    const folder = await project('run: ["head -c 3000000 /dev/urandom > /tools"]');
    const path = join(folder, "images.yaml");
    const text = (await readFile(path, "utf8")).replace("dependencies: {}", "dependencies: { run: [exit 4] }");
    await writeFile(path, text);
    const { code, stderr } = await build(folder);
    expect(code).toBe(70);
    expect(stderr).toContain("error STEP_FAILED: a step of dependencies failed with exit code 4");
    await writeFile(path, text.replace("exit 4", "cp /tools /copy"));
    const { record } = await built(folder, [], env());
    expect(actionsOf(record)).toMatchObject({ "base-tools": "reuse", dependencies: "execute" });
  });
});
