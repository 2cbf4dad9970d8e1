import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pack } from "tar-stream";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openAnyImage } from "../../../ci/images/index.js";
import { writeBlob } from "../../../dagger/src/oci-layout/blobs.js";
import { mediaTypes } from "../../../dagger/src/pipeline/oci/manifest.js";

/** Images from elsewhere that are not what their form promises: told, never an exception of JavaScript's, and nobody waits. */
let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "factory-images-"));
  mkdirSync(join(folder, "blobs/sha256"), { recursive: true });
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const opened = (text: string) =>
  openAnyImage(text, { folder, platform: null, stage: () => Promise.reject(new Error("no stage is asked for")) });
const invalid = { code: "IMAGE_INVALID" };
const described = (digest: string) => JSON.stringify({ manifests: [{ mediaType: mediaTypes.manifest, digest, size: 2 }] });
const odd = ["null", "[]", "1", '"text"', "{", "", '{"manifests":null}', '{"manifests":[null]}', '{"manifests":[{"digest":1}]}'];

test.for([
  ...odd,
  described("sha256:../../../../etc/passwd"),
  described("../../etc/passwd"),
  described(`sha256:${"0".repeat(64)}`),
  JSON.stringify({ manifests: [], padding: "x".repeat(33 << 20) }),
] as const)("a layout whose index is another thing", async (text) => {
  writeFileSync(join(folder, "index.json"), text);
  await expect(opened("oci:.")).rejects.toMatchObject(invalid);
});

test("a layout whose index is a pipe, a device, a folder or not there", async () => {
  await expect(opened("oci:.")).rejects.toMatchObject(invalid);
  execFileSync("mkfifo", [join(folder, "index.json")]);
  await expect(opened("oci:.")).rejects.toMatchObject(invalid);
  rmSync(join(folder, "index.json"));
  mkdirSync(join(folder, "index.json"));
  await expect(opened("oci:.")).rejects.toMatchObject(invalid);
});

test.for([...odd, '{"config":{},"layers":[]}', '{"config":null,"layers":null}'] as const)(
  "a manifest that is %s",
  async (text) => {
    const { digest } = await writeBlob(folder, [Buffer.from(text)]);
    writeFileSync(join(folder, "index.json"), described(digest));
    await expect(opened("oci:.")).rejects.toMatchObject(invalid);
  },
);

test.for([...odd, '[{"Config":1,"Layers":[]}]', '[{"Config":"c","Layers":"x"}]', '[{"Config":"c","Layers":[1]}]'] as const)(
  "a docker archive that says %s",
  async (text) => {
    const archive = pack();
    archive.entry({ name: "manifest.json" }, text);
    archive.entry({ name: "c" }, "null");
    archive.finalize();
    const parts: Buffer[] = [];
    for await (const part of archive as AsyncIterable<Buffer>) parts.push(part);
    writeFileSync(join(folder, "image.tar"), Buffer.concat(parts));
    await expect(opened("docker:image.tar")).rejects.toMatchObject(invalid);
  },
);
