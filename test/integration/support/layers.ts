import { gzipSync } from "node:zlib";
import { pack } from "tar-stream";
import { writeBlob } from "../../../dagger/src/oci-layout/blobs.js";
import { configText, layerType, manifestText, mediaTypes } from "../../../dagger/src/pipeline/oci/manifest.js";
import type { LayerBlob } from "../../../dagger/src/oci-layout/read-layer.js";
import { sha256 } from "../../fixtures/scratch.js";

/** An entry of a layer, as tar-stream takes it; what it is, nothing checks. */
export type Item = {
  name: string;
  type?: "file" | "directory" | "symlink" | "link" | "fifo" | "character-device" | "block-device";
  linkname?: string;
  mode?: number;
  uid?: number;
  text?: string | Buffer;
  mtime?: number;
  pax?: Record<string, string>;
  devmajor?: number;
  devminor?: number;
};

const tarOf = async (items: readonly Item[]): Promise<Buffer> => {
  const archive = pack();
  for (const { text = "", type = "file", mode = type === "directory" ? 0o755 : 0o644, mtime = 1_000_000, ...rest } of items) {
    const header = { gid: rest.uid ?? 0, ...rest, type, mode, mtime: new Date(mtime * 1000) };
    archive.entry(header as Parameters<typeof archive.entry>[0], type === "file" ? text : "");
  }
  archive.finalize();
  const parts: Buffer[] = [];
  for await (const part of archive as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts);
};

/** A layer of these entries, in a layout. */
export const layerIn = async (layout: string, items: readonly Item[]): Promise<LayerBlob & { diffId: string }> => {
  const tar = await tarOf(items);
  const blob = await writeBlob(layout, [gzipSync(tar, { level: 1 })]);
  return { mediaType: layerType("gzip"), ...blob, diffId: `sha256:${sha256(tar)}` };
};

/** An image of such layers; the digest of its manifest. */
export const imageIn = async (layout: string, layers: readonly (readonly Item[])[]): Promise<string> => {
  const blobs: (LayerBlob & { diffId: string })[] = [];
  for (const items of layers) blobs.push(await layerIn(layout, items));
  const rootfs = { type: "layers", diff_ids: blobs.map(({ diffId }) => diffId) };
  const config = configText({ architecture: "amd64", os: "linux", config: { Env: ["PATH=/bin"] }, rootfs });
  const described = { mediaType: mediaTypes.config, ...(await writeBlob(layout, [Buffer.from(config)])) };
  const descriptors = blobs.map(({ mediaType, digest, size }) => ({ mediaType, digest, size }));
  return (await writeBlob(layout, [Buffer.from(manifestText(described, descriptors, []))])).digest;
};
