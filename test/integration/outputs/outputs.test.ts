import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { getuid } from "node:process";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parseOutput } from "../../../ci/outputs/index.js";
import { writeText } from "../../../ci/outputs/text.js";
import { blobPath } from "../../../dagger/src/oci-layout/blobs.js";
import { type Descriptor, type ImageIndex, mediaTypes } from "../../../dagger/src/pipeline/oci/manifest.js";
import { sha256 } from "../../fixtures/scratch.js";
import { imageIn } from "../support/layers.js";

/** Where an image is written to: what may be replaced is replaced whole, what takes bytes gets them, and nothing else is touched. */
let folder = "";
let layout = "";
let first: Descriptor;
let second: Descriptor;
const at = (...path: string[]) => join(folder, ...path);
const image = async (text: string): Promise<Descriptor> => {
  const digest = await imageIn(layout, [[{ name: "same", text: "same" }], [{ name: "own", text }]]);
  return { mediaType: mediaTypes.manifest, digest, size: statSync(blobPath(layout, digest)).size };
};
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "factory-outputs-"));
  layout = at("state/layout");
  mkdirSync(join(layout, "blobs/sha256"), { recursive: true });
  [first, second] = [await image("first"), await image("second")];
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const write = (form: string, root: Descriptor, signal = new AbortController().signal) => {
  const { output, target } = parseOutput(form);
  return output.write({ layout, root, name: "it:1", kept: [at("state"), at("cache")] }, target, signal);
};
const archives = ["tar", "docker"] as const;
/** What a tar program finds in an archive. */
const entries = async (file: string) => (await promisify(execFile)("tar", ["-tf", file])).stdout.trim().split("\n");
/** The image that a layout holds, with every blob as its digest says. */
const held = (path: string): string => {
  for (const name of readdirSync(join(path, "blobs/sha256")))
    expect(sha256(readFileSync(join(path, "blobs/sha256", name)))).toBe(name);
  const { manifests } = JSON.parse(readFileSync(join(path, "index.json"), "utf8")) as ImageIndex;
  expect(manifests).toHaveLength(1);
  return manifests[0]!.digest;
};
const litter = () => readdirSync(folder, { recursive: true }).filter((name) => /draft|lock/.test(String(name)));

describe.each(archives)("an archive as %s", (form) => {
  test("replaces a file, and one that a link leads to; the link stays", async () => {
    await write(`${form}:${at("new/image.tar")}`, first);
    const whole = readFileSync(at("new/image.tar"));
    writeFileSync(at("old.tar"), "old");
    symlinkSync("old.tar", at("link.tar"));
    await write(`${form}:${at("link.tar")}`, first);
    expect(readlinkSync(at("link.tar"))).toBe("old.tar");
    expect(readFileSync(at("old.tar")).equals(whole)).toBe(true);
    expect(litter()).toEqual([]);
  });

  test("goes into a pipe, which stays one", async () => {
    await write(`${form}:${at("image.tar")}`, first);
    await promisify(execFile)("mkfifo", [at("pipe")]);
    const reader = spawn("sha256sum", [at("pipe")]);
    const said: Buffer[] = [];
    reader.stdout.on("data", (part: Buffer) => said.push(part));
    await Promise.all([write(`${form}:${at("pipe")}`, first), once(reader, "close")]);
    expect(Buffer.concat(said).toString().slice(0, 64)).toBe(sha256(readFileSync(at("image.tar"))));
    expect(lstatSync(at("pipe")).isFIFO()).toBe(true);
  });

  test("into a pipe that nobody reads waits until it is stopped", async () => {
    await promisify(execFile)("mkfifo", [at("pipe")]);
    const stop = new AbortController();
    const writing = write(`${form}:${at("pipe")}`, first, stop.signal);
    stop.abort();
    await expect(writing).rejects.toMatchObject({ code: "INTERRUPTED" });
  });

  test("goes into a device, which stays one", async () => {
    const before = lstatSync("/dev/null");
    await write(`${form}:/dev/null`, first);
    expect(lstatSync("/dev/null")).toMatchObject({ ino: before.ino, rdev: before.rdev });
    await expect(write(`${form}:/dev/full`, first)).rejects.toMatchObject({ code: "ENOSPC" });
    expect(lstatSync("/dev/full").isCharacterDevice()).toBe(true);
  });

  test("is refused where a folder, a socket, a disk or a link to nowhere is", async () => {
    mkdirSync(at("empty"));
    const server = createServer();
    await new Promise<void>((done) => server.listen(at("socket"), done));
    symlinkSync("nowhere", at("dangling"));
    symlinkSync("loop", at("loop"));
    const places = ["empty", "socket", "dangling", "loop"];
    if (getuid?.() === 0) {
      await promisify(execFile)("mknod", [at("disk"), "b", "7", "250"]);
      places.push("disk");
    }
    try {
      for (const place of places) {
        const kind = lstatSync(at(place)).mode;
        await expect(write(`${form}:${at(place)}`, first), place).rejects.toMatchObject({ code: "OUTPUT_FAILED" });
        expect(lstatSync(at(place)).mode, place).toBe(kind);
      }
    } finally {
      server.close();
    }
    expect(litter()).toEqual([]);
  });

  test("follows no file that stands under a draft's name, and takes away what a dead process left", async () => {
    writeFileSync(at("victim"), "safe");
    symlinkSync("victim", at("image.tar.999999999-1-0123456789ab.draft"));
    symlinkSync("victim", at(`image.tar.${process.pid}.draft`));
    await write(`${form}:${at("image.tar")}`, first);
    expect(readFileSync(at("victim"), "utf8")).toBe("safe");
    expect(litter()).toEqual([`image.tar.${process.pid}.draft`]);
  });

  test("of a damaged blob is not written, and what was there stays", async () => {
    await write(`${form}:${at("image.tar")}`, first);
    const before = readFileSync(at("image.tar"));
    for (const name of readdirSync(join(layout, "blobs/sha256"))) {
      const path = join(layout, "blobs/sha256", name);
      const good = readFileSync(path);
      const bad = Buffer.from(good);
      bad[good.length >> 1]! ^= 1;
      for (const bytes of [bad, good.subarray(0, -1), null]) {
        if (bytes === null) rmSync(path);
        else writeFileSync(path, bytes);
        const reached = await write(`${form}:${at("image.tar")}`, second).then(
          () => true,
          (error: { code?: string }) => expect(error.code).toBe("CHECKSUM_MISMATCH"),
        );
        // The blobs of the first image alone are not looked at.
        if (reached === true) rmSync(at("image.tar"));
        else expect(readFileSync(at("image.tar")).equals(before)).toBe(true);
        writeFileSync(path, good);
        if (reached === true) writeFileSync(at("image.tar"), before);
      }
    }
  });
});

test("an archive holds what its form says", async () => {
  await write(`tar:${at("oci.tar")}`, first);
  expect((await entries(at("oci.tar"))).slice(0, 2)).toEqual(["oci-layout", "index.json"]);
  await write(`docker:${at("docker.tar")}`, first);
  expect((await entries(at("docker.tar")))[0]).toBe("manifest.json");
});

test("a report replaces a file and is written into a device", async () => {
  writeFileSync(at("old.xml"), "old");
  symlinkSync("old.xml", at("link.xml"));
  await writeText(at("link.xml"), "new");
  expect([readlinkSync(at("link.xml")), readFileSync(at("old.xml"), "utf8")]).toEqual(["old.xml", "new"]);
  await writeText(at("a/b/report.xml"), "new");
  await writeText("/dev/null", "new");
  expect(lstatSync("/dev/null").isCharacterDevice()).toBe(true);
  await expect(writeText(folder, "new")).rejects.toMatchObject({ code: "OUTPUT_FAILED" });
});

describe("a layout", () => {
  test("is renewed in its place, and holds nothing but the image", async () => {
    await write(`oci:${at("a/b/out")}`, first);
    expect(held(at("a/b/out"))).toBe(first.digest);
    const inode = statSync(at("a/b/out")).ino;
    await write(`oci:${at("a/b/out")}`, second);
    expect(held(at("a/b/out"))).toBe(second.digest);
    expect(statSync(at("a/b/out")).ino).toBe(inode);
    expect(readdirSync(at("a/b/out/blobs/sha256"))).toHaveLength(4);
    expect(litter()).toEqual([]);
  });

  test("fills an empty folder, and one that a link leads to; the link stays", async () => {
    mkdirSync(at("empty"));
    symlinkSync("empty", at("link"));
    await write(`oci:${at("link")}`, first);
    await write(`oci:${at("link")}`, second);
    expect(readlinkSync(at("link"))).toBe("empty");
    expect(held(at("empty"))).toBe(second.digest);
  });

  test("whose blobs were damaged is fixed, and shares no file with what is kept", async () => {
    await write(`oci:${at("out")}`, first);
    for (const name of readdirSync(at("out/blobs/sha256"))) writeFileSync(at("out/blobs/sha256", name), "bad");
    await write(`oci:${at("out")}`, first);
    expect(held(at("out"))).toBe(first.digest);
  });

  test("is refused where a file, a full folder, a pipe or a link to nowhere is", async () => {
    writeFileSync(at("file"), "mine");
    mkdirSync(at("full"));
    writeFileSync(at("full/mine"), "mine");
    mkdirSync(at("false/blobs"), { recursive: true });
    writeFileSync(at("false/oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
    mkdirSync(at("precious"));
    writeFileSync(at("precious", "0".repeat(64)), "mine");
    symlinkSync("../../precious", at("false/blobs/sha256"));
    symlinkSync("nowhere", at("dangling"));
    await promisify(execFile)("mkfifo", [at("pipe")]);
    for (const place of ["file", "full", "false", "dangling", "pipe", "/dev/null", "/dev/stdout"])
      await expect(write(`oci:${place.startsWith("/") ? place : at(place)}`, first), place).rejects.toMatchObject({
        code: "OUTPUT_FAILED",
      });
    expect(readFileSync(at("file"), "utf8")).toBe("mine");
    expect(readdirSync(at("full"))).toEqual(["mine"]);
    expect(readdirSync(at("precious"))).toEqual(["0".repeat(64)]);
    expect(litter()).toEqual([]);
  });
});

test.for([
  "oci:state/layout",
  "oci:state",
  "oci:state/new/deep",
  "oci:.",
  "oci:cache",
  "oci:cache/engine",
  "oci:through/layout",
  "oci:a/../state/layout",
  "tar:state/layout/index.json",
  "docker:state/image.tar",
  "tar:through/layout/blobs/image.tar",
  "docker:cache/image.tar",
])("nothing is written into what is kept, nor over it: %s", async (form) => {
  symlinkSync("state", at("through"));
  mkdirSync(at("a"));
  const before = readdirSync(at("state"), { recursive: true }).sort();
  const [kind, path] = form.split(":") as [string, string];
  await expect(write(`${kind}:${folder}/${path}`, first)).rejects.toMatchObject({ code: "OUTPUT_FAILED" });
  expect(readdirSync(at("state"), { recursive: true }).sort()).toEqual(before);
});
