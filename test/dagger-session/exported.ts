import { createHash } from "node:crypto";
import { createWriteStream, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { gzipSync } from "node:zlib";
import { type Header, pack } from "tar-stream";
import { encoderOf } from "../../dagger/src/oci-layout/encoders.js";
import { blobPath, missingBlobs, readBlob, readManifest } from "../../dagger/src/oci-layout/blobs.js";
import { unpackLayout } from "../../dagger/src/oci-layout/archive.js";
import type { ImageConfig } from "../../dagger/src/pipeline/oci/image-config.js";
import { layerType } from "../../dagger/src/pipeline/oci/manifest.js";
import { layerBytes } from "../../dagger/src/oci-layout/read-layer.js";
import type { Call } from "./query.js";
import { type Answer, EngineError, type Session } from "./session.js";

/** What an engine would have executed of the small project: `export` of a container leaves layers of the stage that it is of. */
export const exportAnswers = async (chain: readonly Call[]): Promise<unknown> => {
  const last = chain.at(-1)!;
  if (last.field !== "export" || !chain.some(({ field }) => field === "container")) return undefined;
  const dependencies = chain.some(({ args }) => args["name"] === "io.image-factory.stage.dependencies");
  const config = { Env: ["PATH=/usr/bin:/bin"], Cmd: ["bash"], OnBuild: ["RUN false"] };
  const layers = [baseLayer, toolsLayer, ...(dependencies ? [venvLayer] : [])];
  await writeExport(chain, await Promise.all(layers.map(layerOf)), config);
  return last.args["path"];
};

/**
 * The same of a container that was imported: what a tar brought, which must be whole, and a layer on top.
 * @param scratch the working directory of the module's container
 * @param text what the layer holds
 */
export const exportImported =
  (scratch: string, text: string): Answer =>
  async (chain, session) => {
    const last = chain.at(-1)!;
    const imported = last.field === "export" ? await importedBy(chain, session, scratch) : null;
    if (imported === null) return undefined;
    const forced = [last, chain.at(-2)!].find(({ args }) => args["forcedCompression"] !== undefined)!;
    const { word } = forced.args["forcedCompression"] as { word: string };
    const all = [...imported.layers, await layerOf([{ name: "late", text }])];
    const compression = word === "Zstd" ? "zstd" : "gzip";
    await writeExport(chain, await Promise.all(all.map((one) => recompressed(one, compression))), imported.config);
    return last.args["path"];
  };

/** The layers and the settings of the image that a container was imported from, which must be whole; null for any other container. */
export const importedBy = async (
  chain: readonly Call[],
  session: Pick<Session, "chainOf">,
  scratch: string,
): Promise<{ layers: Layer[]; config: object } | null> => {
  const source = chain.find(({ field }) => field === "import")?.args["source"];
  if (source === undefined) return null;
  const file = session.chainOf(source)!.at(-1)!;
  const layout = mkdtempSync(join(tmpdir(), "dagger-import-"));
  try {
    const image = await unpackLayout(resolve(scratch, String(file.args["path"])), layout);
    const missing = missingBlobs(layout, image.digest);
    if (missing?.length !== 0) throw new EngineError(`failed to import: ${missing?.[0]?.digest ?? image.digest}: not found`);
    const { layers, config } = readManifest(layout, image.digest);
    const { rootfs, config: run } = readBlob<ImageConfig>(layout, config.digest);
    const below = layers.map(({ mediaType, digest }, at) => {
      return { mediaType, bytes: readFileSync(blobPath(layout, digest)), diffId: rootfs.diff_ids[at]! };
    });
    return { layers: below, config: run ?? {} };
  } finally {
    rmSync(layout, { recursive: true, force: true });
  }
};

export type File = Partial<Header> & { name: string; text?: string | Buffer };

const tarOf = async (files: readonly File[]): Promise<Buffer> => {
  const archive = pack();
  for (const { text = "", ...header } of files) archive.entry({ mtime: new Date(0), ...header }, text);
  archive.finalize();
  const parts: Buffer[] = [];
  for await (const part of archive) parts.push(part as Buffer);
  return Buffer.concat(parts);
};

export type Layer = { mediaType: string; bytes: Buffer; diffId: string };

export const layerOf = async (files: readonly File[]): Promise<Layer> => {
  const tar = await tarOf(files);
  return { mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", bytes: gzipSync(tar), diffId: digestOf(tar) };
};

/** What `forcedCompression` makes of a layer that is of another kind. */
const recompressed = async (layer: Layer, compression: "zstd" | "gzip"): Promise<Layer> => {
  const { bytes, diffId } = layer;
  if (layer.mediaType.endsWith(`+${compression}`)) return layer;
  const parts: Uint8Array[] = [];
  const blob = { mediaType: layer.mediaType, digest: digestOf(bytes), size: bytes.length };
  for await (const part of layerBytes(Readable.from([bytes]), blob)) parts.push(part);
  const encode = await encoderOf(compression);
  return { mediaType: layerType(compression), bytes: Buffer.from(encode(Buffer.concat(parts))), diffId };
};

const digestOf = (bytes: string | Uint8Array): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

/**
 * Writes an image of these layers as an engine exports one, of the platform of its container: an OCI layout in a tar, with Docker's
 * manifest.json beside, times of the export in the config, and a history that knows nothing of the base.
 */
export const writeExport = async (chain: readonly Call[], layers: readonly Layer[], config: object): Promise<void> => {
  const platform = chain.find(({ field }) => field === "container")?.args["platform"];
  const [os, architecture] = String(platform).split("/");
  const text = JSON.stringify({
    created: new Date().toISOString(),
    architecture,
    os,
    config,
    rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) },
    history: layers.map((_, at) => ({ created: new Date().toISOString(), created_by: `exec ${at}`, comment: "an engine" })),
  });
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: { mediaType: "application/vnd.oci.image.config.v1+json", digest: digestOf(text), size: text.length },
    layers: layers.map(({ mediaType, bytes }) => ({ mediaType, digest: digestOf(bytes), size: bytes.length })),
  });
  const index = {
    schemaVersion: 2,
    manifests: [{ mediaType: "application/vnd.oci.image.manifest.v1+json", digest: digestOf(manifest), size: manifest.length }],
  };
  const archive = pack();
  archive.entry({ name: "blobs/", type: "directory" });
  for (const blob of [...layers.map(({ bytes }) => bytes), Buffer.from(text), Buffer.from(manifest)])
    archive.entry({ name: `blobs/${digestOf(blob).replace(":", "/")}` }, blob);
  archive.entry({ name: "index.json" }, JSON.stringify(index));
  archive.entry({ name: "manifest.json" }, "[]");
  archive.entry({ name: "oci-layout" }, '{"imageLayoutVersion":"1.0.0"}');
  archive.finalize();
  await pipeline(archive, createWriteStream(String(chain.at(-1)!.args["path"])));
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
