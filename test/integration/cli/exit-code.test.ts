import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { getuid } from "node:process";
import { afterEach, beforeEach, expect, test } from "vitest";
import { run } from "../../../ci/host/process.js";
import { factory, startFactory } from "../support/factory.js";

/** The exit code is what the command came to, delivered: never what Node ends with by itself. */
let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "factory-exit-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const imagesYaml = (registry: string) => `registry: ${registry}/acme
images:
  small:
    repository: small
    platforms: [linux/amd64]
    base: { image: "${registry}/base@sha256:${"0".repeat(64)}", packages: apt }
    stages:
      base-tools: {}
      dependencies: {}
      application: {}
      runtime: { user: { name: box, uid: 1001 } }
`;
const into = (place: string) => ["/bin/sh", "-c", `exec "$@" ${place}`, "sh"];

test.for([
  ["a plan", ["plan", "--json", "--remote", "off"]],
  ["help", ["help"]],
  ["a command's help", ["plan", "--help"]],
] as const)("%s on a full disk is 73, and told", async ([, words]) => {
  writeFileSync(join(folder, "images.yaml"), imagesYaml("registry.example"));
  const { code, stderr } = await factory(folder, words, {}, into("> /dev/full"));
  expect(code).toBe(73);
  expect(stderr).toMatch(/OUTPUT_FAILED.*the result could not be written to standard output[^]*ENOSPC/);
});

test("a plan of which the disk takes the first part only is 73", async ({ skip }) => {
  skip(getuid?.() !== 0, "only root can mount a small disk");
  writeFileSync(join(folder, "images.yaml"), imagesYaml("registry.example"));
  const disk = join(folder, "disk");
  mkdirSync(disk);
  const words = ["plan", "--json", "--remote", "off"];
  const whole = await factory(folder, words);
  // A file system has no page for all of it.
  await run("mount", ["-t", "tmpfs", "-o", "size=4k", "tmpfs", disk]);
  try {
    expect(whole.stdout.length).toBeGreaterThan(4096);
    const { code } = await factory(folder, words, {}, into(`> ${join(disk, "plan.json")}`));
    expect(readFileSync(join(disk, "plan.json")).length).toBe(4096);
    expect(code).toBe(73);
  } finally {
    await run("umount", [disk]);
  }
});

test("a reader that closes early changes nothing of the code", async () => {
  writeFileSync(join(folder, "images.yaml"), imagesYaml("registry.example"));
  for (const [words, expected] of [
    [["plan", "--json", "--remote", "off"], 0],
    [["plan", "--json", "--remote", "off", "--check"], 2],
  ] as const) {
    const { process: child, ended } = startFactory(folder, words);
    child.stdout!.destroy();
    expect((await ended).code).toBe(expected);
  }
});

test("standard error that cannot be written ends nothing", async () => {
  writeFileSync(join(folder, "images.yaml"), imagesYaml("registry.example"));
  expect((await factory(folder, ["plan", "--json", "--remote", "off"], {}, into("2> /dev/full"))).code).toBe(0);
  expect((await factory(folder, ["nonsense"], {}, into("2> /dev/full"))).code).toBe(64);
});

test("a registry that answers 101 and no more is not success", async () => {
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", () => socket.end("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: nothing\r\n\r\n"));
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  writeFileSync(join(folder, "images.yaml"), imagesYaml(`127.0.0.1:${(server.address() as AddressInfo).port}`));
  try {
    const { code, stderr } = await factory(folder, ["plan", "--remote", "require"]);
    expect(code, stderr).toBe(69);
    expect(stderr).toMatch(/error/);
  } finally {
    server.close();
  }
});

test.each(["SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR2", "SIGXCPU"] as const)(
  "%s ends a command as an interrupt does",
  async (signal) => {
    let asked = (): void => undefined;
    const arrived = new Promise<void>((done) => (asked = done));
    const server = createServer((socket) => {
      socket.on("error", () => undefined);
      socket.once("data", asked);
    });
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    writeFileSync(join(folder, "images.yaml"), imagesYaml(`127.0.0.1:${(server.address() as AddressInfo).port}`));
    try {
      const { process: child, ended } = startFactory(folder, ["plan", "--remote", "require"]);
      await arrived;
      child.kill(signal);
      const { code, stderr } = await ended;
      expect(code, stderr).toBe(130);
      expect(stderr).toContain("error INTERRUPTED");
    } finally {
      server.close();
    }
  },
);
