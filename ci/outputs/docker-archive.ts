import { createHash } from "node:crypto";
import { closeSync, createReadStream, openSync, rmSync, writeSync } from "node:fs";
import { openIn } from "../../dagger/src/oci-layout/index-layers.js";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import type { ImageConfig } from "../../dagger/src/pipeline/oci/image-config.js";
import { type Manifest, mediaTypes } from "../../dagger/src/pipeline/oci/manifest.js";
import { damaged, type LayerBlob, layerBytes } from "../../dagger/src/oci-layout/read-layer.js";
import { draftOf, type OutputPlace } from "./place.js";
import { blobText, type Source } from "./source.js";
import { addStream, addText, writeArchive } from "./tar.js";

/**
 * Writes an image as `docker save` does: layers uncompressed, because docker load does not read zstd. The image's ID is the
 * digest of its config, as everywhere.
 * @throws FactoryError OUTPUT_FAILED for an index of several platforms, which the format cannot hold; CHECKSUM_MISMATCH
 */
export const writeDockerArchive = async ({ layout, root, name }: Source, target: string, signal: AbortSignal): Promise<void> => {
  if (root.mediaType === mediaTypes.index) {
    throw new FactoryError("OUTPUT_FAILED", {
      what: "a docker archive holds one platform",
      why: "this image has several",
      fix: "name one: PLATFORM=linux/amd64",
    });
  }
  const { config, layers } = JSON.parse(await blobText(layout, root)) as Manifest;
  const configText = await blobText(layout, config);
  const diffIds = (JSON.parse(configText) as ImageConfig).rootfs.diff_ids;
  const names = diffIds.map((id) => `${id.slice("sha256:".length)}/layer.tar`);
  const configName = `${config.digest.slice("sha256:".length)}.json`;
  const manifest = [{ Config: configName, RepoTags: [name.includes(":") ? name : `${name}:latest`], Layers: names }];
  await writeArchive(target, signal, async (archive, place) => {
    await addText(archive, "manifest.json", JSON.stringify(manifest));
    await addText(archive, configName, configText);
    for (const [at, layer] of layers.entries()) {
      const plain = await plainLayer(layout, layer, diffIds[at]!, scratchIn(place, layout), signal);
      await addStream(archive, names[at]!, plain.size, createReadStream("", { fd: plain.handle, start: 0 }));
    }
  });
};

/** A file that is gone from its folder already: nothing is left of it when this process is killed. */
const scratchIn = (place: OutputPlace, layout: string): number => {
  const path = draftOf(place.is === "new" || place.is === "file" ? place.path : `${layout}/layer`);
  const handle = openSync(path, "wx+", 0o600);
  rmSync(path);
  return handle;
};

/** The layer's tar, in a file: a tar needs an entry's size before its bytes, and only the unpacked layer tells it. */
const plainLayer = async (layout: string, layer: LayerBlob, diffId: string, handle: number, signal: AbortSignal) => {
  const hash = createHash("sha256");
  let size = 0;
  try {
    for await (const piece of layerBytes(openIn(layout)(layer), layer, { signal })) {
      hash.update(piece);
      size += piece.length;
      for (let at = 0; at < piece.length;) at += writeSync(handle, piece, at);
    }
    if (`sha256:${hash.digest("hex")}` !== diffId) throw damaged(layer, new Error("the image's config names another content"));
    return { handle, size };
  } catch (error) {
    closeSync(handle);
    throw error;
  }
};
