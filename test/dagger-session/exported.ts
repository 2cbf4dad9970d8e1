import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { gzipSync } from "node:zlib";
import { type Header, pack } from "tar-stream";
import type { Call } from "./query.js";

/** What an engine would have executed of the small project: `export` of a container leaves layers of the stage that it is of. */
export const exportAnswers = async (chain: readonly Call[]): Promise<unknown> => {
  const last = chain.at(-1)!;
  if (last.field !== "export" || !chain.some(({ field }) => field === "asTarball")) return undefined;
  const dependencies = chain.some(({ args }) => args["name"] === "io.image-factory.stage.dependencies");
  const config = { Env: ["PATH=/usr/bin:/bin"], Cmd: ["bash"], OnBuild: ["RUN false"] };
  const layers = [baseLayer, toolsLayer, ...(dependencies ? [venvLayer] : [])];
  await writeExport(String(last.args["path"]), layers, config);
  return last.args["path"];
};

type File = Partial<Header> & { name: string; text?: string };

const tarOf = async (files: readonly File[]): Promise<Buffer> => {
  const archive = pack();
  for (const { text = "", ...header } of files) archive.entry({ mtime: new Date(0), ...header }, text);
  archive.finalize();
  const parts: Buffer[] = [];
  for await (const part of archive) parts.push(part as Buffer);
  return Buffer.concat(parts);
};

const digestOf = (bytes: string | Uint8Array): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

/**
 * Writes an image of these layers as an engine exports one: an OCI layout in a tar, with Docker's manifest.json beside, times of
 * the export in the config, and a history that knows nothing of the base.
 */
const writeExport = async (file: string, layers: readonly (readonly File[])[], config: object): Promise<void> => {
  const tars = await Promise.all(layers.map(tarOf));
  const blobs = tars.map((tar) => gzipSync(tar));
  const text = JSON.stringify({
    created: new Date().toISOString(),
    architecture: "amd64",
    os: "linux",
    config,
    rootfs: { type: "layers", diff_ids: tars.map(digestOf) },
    history: tars.map((_, at) => ({ created: new Date().toISOString(), created_by: `exec ${at}`, comment: "an engine" })),
  });
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: { mediaType: "application/vnd.oci.image.config.v1+json", digest: digestOf(text), size: text.length },
    layers: blobs.map((blob) => ({
      mediaType: "application/vnd.oci.image.layer.v1.tar+gzip",
      digest: digestOf(blob),
      size: blob.length,
    })),
  });
  const index = {
    schemaVersion: 2,
    manifests: [{ mediaType: "application/vnd.oci.image.manifest.v1+json", digest: digestOf(manifest), size: manifest.length }],
  };
  const archive = pack();
  archive.entry({ name: "blobs/", type: "directory" });
  for (const blob of [...blobs, Buffer.from(text), Buffer.from(manifest)])
    archive.entry({ name: `blobs/${digestOf(blob).replace(":", "/")}` }, blob);
  archive.entry({ name: "index.json" }, JSON.stringify(index));
  archive.entry({ name: "manifest.json" }, "[]");
  archive.entry({ name: "oci-layout" }, '{"imageLayoutVersion":"1.0.0"}');
  archive.finalize();
  await pipeline(archive, createWriteStream(file));
};

/** What an engine would have made of the small project's executed stages, in little. */
const baseLayer: readonly File[] = [
  { name: "etc/", type: "directory", mode: 0o755 },
  { name: "etc/passwd", text: "root:x:0:0:root:/root:/bin/bash\n" },
  { name: "etc/group", text: "root:x:0:\n" },
  { name: "etc/shadow", text: "root:*:19000:0:99999:7:::\n", mode: 0o640, gid: 42 },
  { name: "etc/gshadow", text: "root:*::\n", mode: 0o640, gid: 42 },
  { name: "home/", type: "directory", mode: 0o755 },
  { name: "opt/", type: "directory", mode: 0o755 },
  { name: "tmp/", type: "directory", mode: 0o1777 },
];
const toolsLayer: readonly File[] = [
  { name: "usr/", type: "directory", mode: 0o755 },
  { name: "usr/local/", type: "directory", mode: 0o755 },
  { name: "usr/local/bin/", type: "directory", mode: 0o755 },
  { name: "usr/local/bin/task", text: "task", mode: 0o755 },
];
const venvLayer: readonly File[] = ["", "bin/", "lib/", "lib/python3.11/", "lib/python3.11/site-packages/"].map((path) => ({
  name: `opt/venv/${path}`,
  type: "directory",
  mode: 0o755,
}));
