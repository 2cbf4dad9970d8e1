import { execFile } from "node:child_process";
import { chmod, cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import type { ImageTest } from "../../../ci/image-test/test-image.js";
import { run } from "../../../ci/host/process.js";
import { built, factory } from "../support/factory.js";
import { lacking } from "../support/needs.js";
import { openSmall, type Small } from "../support/small.js";

/** The small image, tested as a person tests it; then images that are not what their plan says. */
const absent = await lacking("mmdebstrap", "runc");

describe.skipIf(absent !== null)(`the small image${absent === null ? "" : ` (skipped: ${absent})`}`, () => {
  let small: Small;
  beforeAll(async () => {
    small = await openSmall();
    await built(small.project, [], small.env);
  });
  afterAll(() => small?.close());

  const tested = async (...words: string[]) => {
    const { code, stdout, stderr } = await factory(small.project, ["test-image", "--json", ...words], small.env);
    if (code > 3) throw new Error(stderr);
    return { code, test: JSON.parse(stdout) as ImageTest, stderr };
  };
  /** What does not pass: check → verdict and words. */
  const odd = ({ checks }: ImageTest) =>
    Object.fromEntries(
      checks.filter(({ verdict }) => verdict !== "pass").map(({ name, verdict, words }) => [name, `${verdict}: ${words}`]),
    );
  /** The image with one thing changed, built and tested; the change is taken back. */
  const changed = async (change: (text: string) => string) => {
    let before = "";
    await small.edit("images.yaml", (text) => change((before = text)));
    try {
      await built(small.project, [], small.env);
      return await tested();
    } finally {
      await small.edit("images.yaml", () => before);
    }
  };
  const replaced = (from: string, to: string) => (text: string) => {
    expect(text).toContain(from);
    return text.replace(from, to);
  };

  test("passes every check that its plan asks for, a line for each and what they come to", async () => {
    const { code, stdout } = await factory(small.project, ["test-image"], small.env);
    expect(code, stdout).toBe(0);
    const [head, ...lines] = stdout.trimEnd().split("\n");
    expect(head).toMatch(/^small for linux\/\w+ {2}sha256:[0-9a-f]{64}$/);
    expect(lines.pop()).toBe("small passes: 11 checks, 11 pass");
    expect(lines.map((line) => line.replaceAll(/ {2,}[\d.]+ s {2}/g, ": ").replaceAll(/ {2,}/g, " "))).toEqual([
      " pass user: 1234:0, /home/small, /workspace",
      " pass start: /opt/venv/bin/python3",
      " pass tool hello: 1.0.0",
      expect.stringMatching(/^ pass packages: \d+ packages$/),
      expect.stringMatching(/^ pass binaries: \d+ binaries$/),
      " pass python packages: 2 packages",
      " pass python imports: yaml",
      expect.stringMatching(/^ pass wheel \/opt\/small\/app: small-0\.1\.0-py3-none-any\.whl, \d files$/),
      expect.stringMatching(/^ pass healthcheck: jq-1\./),
      " pass any uid /home/small: 1000700000:0",
      " pass any uid /workspace: 1000700000:0",
    ]);
  });

  test("fails, and names it: a tool of another version than the plan's, a healthcheck, a closed home, a foreign binary, a broken requirement", async () => {
    const breaking = [
      "        files:",
      '          /usr/local/bin/hello: { content: "#!/bin/sh\\necho hello 1.0.10\\n", mode: "755" }',
      // An ELF header of a machine that no image here is for (SPARC V9), and nothing else.
      '          /usr/local/bin/alien: { from: alien, mode: "755" }',
      "          /opt/venv/lib/python3.11/site-packages/yaml/__init__.py: { content: \"raise ImportError('gone')\\n\" }",
      "",
    ].join("\n");
    await writeFile(join(small.project, "alien"), "\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x2b\0\n", "latin1");
    const { code, test: result } = await changed((text) =>
      replaced(
        "command: [jq, --version]",
        "command: [jq, --no-such-flag]",
      )(
        replaced(
          "      runtime:\n",
          `      runtime:\n${breaking}`,
        )(
          replaced(
            'owner: small, mode: "2775" }',
            'owner: small, mode: "2775" }, { path: /home/small, owner: "1234:0", mode: "700" }',
          )(text),
        ),
      ),
    );
    expect(code).toBe(2);
    const found = odd(result);
    expect(Object.keys(found).sort()).toEqual(["any uid /home/small", "binaries", "healthcheck", "python imports", "tool hello"]);
    expect(found["tool hello"]).toBe('fail: answers "hello 1.0.10", not 1.0.0');
    expect(found["healthcheck"]).toMatch(/^fail: exit 2: /);
    expect(found["binaries"]).toBe("fail: /usr/local/bin/alien is for machine 43 of ELF");
    expect(found["python imports"]).toBe("fail: exit 1: yaml: ImportError: gone");
    expect(found["any uid /home/small"]).toMatch(/Permission denied|cannot create/);
  });

  test("is not tested, and never passes, where no container can be started: exit 3", async ({ skip }) => {
    const lacks = await lacking("setpriv");
    if (lacks !== null) skip(lacks);
    // Someone without rights, with the state of the build and the compiled program: nothing of root's is open to them.
    const own = await mkdtemp(join(tmpdir(), "factory-unprivileged-"));
    try {
      const [program, project, state] = ["bin", "project", "state"].map((name) => join(own, name)) as [string, string, string];
      await cp(small.project, project, { recursive: true });
      await cp(small.env["FACTORY_STATE"]!, state, { recursive: true, filter: (path) => !path.includes("/engine") });
      await cp(dirname(inject("program")), program, { recursive: true });
      await run("chown", ["--recursive", "65534:65534", own]);
      await chmod(own, 0o755);
      const { exitCode, stdout, stderr } = await run(
        "setpriv",
        [
          "--reuid=65534",
          "--regid=65534",
          "--clear-groups",
          process.execPath,
          join(program, basename(inject("program"))),
          "test-image",
          "--json",
        ],
        { cwd: project, env: { FACTORY_STATE: state, FACTORY_CACHE: join(own, "cache"), FACTORY_REMOTE: "off", HOME: own } },
      );
      expect(stderr).not.toContain("bug");
      expect(exitCode, stderr).toBe(3);
      const result = JSON.parse(stdout) as ImageTest;
      expect(result.verdict).toBe("not-tested");
      expect(new Set(result.checks.map(({ verdict }) => verdict))).toEqual(new Set(["not-tested"]));
      expect(result.checks[0]?.words).toContain("cannot run a container as this user");
    } finally {
      await rm(own, { recursive: true, force: true });
    }
  });

  test("shell hands on what a command prints, byte by byte and all of it", async () => {
    // More than a buffer of 64 MiB, and no byte of it is text.
    const command = "head -c 70000000 /dev/zero | tr '\\0' '\\377'; printf '\\200' >&2";
    const words = [inject("program"), "shell", "--command", command];
    const env = { ...process.env, FACTORY_REMOTE: "off", ...small.env };
    const options = { cwd: small.project, env, encoding: "buffer", maxBuffer: 80_000_000 } as const;
    const { stdout, stderr } = await promisify(execFile)(process.execPath, words, options);
    expect(stdout.length).toBe(70_000_000);
    expect(stdout.every((byte) => byte === 0xff)).toBe(true);
    expect(stderr.at(-1)).toBe(0x80);
  });

  test("that is not built is said to be not built", async () => {
    await small.edit("app/start.sh", (text) => `${text}# changed\n`);
    const { code, stderr } = await factory(small.project, ["test-image"], small.env);
    expect(code).toBe(66);
    expect(stderr).toContain("runtime of small for linux/amd64 is not built");
  });
});
