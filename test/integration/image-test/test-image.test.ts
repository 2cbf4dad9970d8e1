import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { getuid } from "node:process";
import { gzipSync } from "node:zlib";
import { pack } from "tar-stream";
import { afterEach, beforeEach, expect, test } from "vitest";
import { findProgram } from "../../../ci/host/programs.js";
import { type State, stateOf } from "../../../ci/state/state.js";
import { testImage } from "../../../ci/image-test/test-image.js";
import { writeBlob } from "../../../dagger/src/oci-layout/blobs.js";
import { configText, layerType, manifestText, mediaTypes } from "../../../dagger/src/pipeline/oci/manifest.js";
import { planOf } from "../../fixtures/box.js";
import { sha256 } from "../../fixtures/scratch.js";
import { quietWorld } from "../../fixtures/quiet-world.js";

let folder = "";
let state: State;
beforeEach(async ({ skip }) => {
  skip(getuid?.() !== 0, "only root can unpack an image and start a container");
  skip((await findProgram("runc", process.env)) === null, "runc is not installed");
  folder = mkdtempSync(join(tmpdir(), "factory-test-image-"));
  state = stateOf(folder, { FACTORY_STATE: join(folder, "state") });
  mkdirSync(join(state.layout, "blobs/sha256"), { recursive: true });
});
afterEach(() => {
  if (folder !== "") rmSync(folder, { recursive: true, force: true });
});

/** An image of these files, for a user of its own. */
const imageOf = async (files: Readonly<Record<string, Uint8Array>>): Promise<string> => {
  const archive = pack();
  for (const [name, bytes] of Object.entries(files)) archive.entry({ name, mode: 0o755 }, Buffer.from(bytes));
  archive.finalize();
  const parts: Buffer[] = [];
  for await (const part of archive as AsyncIterable<Buffer>) parts.push(part);
  const tar = Buffer.concat(parts);
  const rootfs = { type: "layers", diff_ids: [`sha256:${sha256(tar)}`] };
  const config = configText({ architecture: "amd64", os: "linux", config: { Env: ["PATH=/bin"], User: "1001:0" }, rootfs });
  const layer = { mediaType: layerType("gzip"), ...(await writeBlob(state.layout, [gzipSync(tar)])) };
  const described = { mediaType: mediaTypes.config, ...(await writeBlob(state.layout, [Buffer.from(config)])) };
  return (await writeBlob(state.layout, [Buffer.from(manifestText(described, [layer], []))])).digest;
};

/** A program of which only the header is there. */
const elf = (machine: number): Buffer => {
  const bytes = Buffer.alloc(128);
  bytes.write("\x7fELF\x02\x01\x01", "latin1");
  bytes.writeUInt16LE(2, 16);
  bytes.writeUInt16LE(machine, 18);
  return bytes;
};
const tested = async (digest: string, platform: "linux/amd64" | "linux/arm64") =>
  testImage(state, { ...planOf(), platform }, digest, quietWorld({ cwd: folder }).world);

test("an image for a machine that this one cannot be is not tested: what its files tell is told, and passes nothing", async () => {
  // No kernel has an interpreter for SPARC V9 by chance.
  const { verdict, checks } = await tested(await imageOf({ "bin/sh": elf(43) }), "linux/arm64");
  expect(checks.find(({ name }) => name === "binaries")).toMatchObject({
    verdict: "fail",
    words: "/bin/sh is for machine 43 of ELF",
  });
  expect(verdict).toBe("fail");
  const others = checks.filter(({ name }) => name !== "binaries");
  expect(new Set(others.map((check) => `${check.verdict}: ${check.words}`))).toEqual(
    new Set(["not-tested: this machine has another architecture and no emulation for the image's (qemu-user, binfmt_misc)"]),
  );
});

test("an image without a shell is not tested, and says what runc says", async () => {
  const { verdict, checks } = await tested(await imageOf({ "bin/tool": elf(62) }), "linux/amd64");
  expect(verdict).toBe("not-tested");
  expect(checks.find(({ name }) => name === "binaries")).toMatchObject({ verdict: "pass" });
  expect(checks.find(({ name }) => name === "user")?.words).toMatch(/^no container of it starts here: .*\/bin\/sh/);
});

test("nothing of it stays: no root, no container", async () => {
  await tested(await imageOf({ "bin/sh": elf(43) }), "linux/amd64");
  expect(readdirSync(join(state.root, "roots"))).toEqual([]);
});
