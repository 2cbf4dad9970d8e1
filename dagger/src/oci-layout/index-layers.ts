import { createReadStream } from "node:fs";
import type { Readable } from "node:stream";
import { blobPath, dropDamaged, hasBlob } from "./blobs.js";
import { MissingBlob } from "./missing-blob.js";
import { FactoryError } from "../pipeline/common/error.js";
import type { FileIndex } from "../pipeline/contents/file-entry.js";
import { IndexFold } from "../pipeline/contents/fold-layers.js";
import { damaged, type LayerBlob, layerBytes, type ReadOptions } from "./read-layer.js";

/**
 * The index of a stage: of what is below it, and its own layers read from an OCI layout. Each layer's bytes are held against its
 * digest while they are read. Memory: the names, and a window of the decompressor (8 MB).
 * @param layout folder of the OCI layout
 * @param below index of the parent stage, null where the layers begin at nothing
 * @throws MissingBlob for a layer that is damaged or not there; FactoryError CHECKSUM_MISMATCH for one that is no layer, INTERRUPTED
 */
export const indexLayers = (
  layout: string,
  layers: readonly LayerBlob[],
  below: FileIndex | null,
  signal?: AbortSignal,
): Promise<FileIndex> =>
  indexBlobs(openIn(layout), layers, below, { signal }).catch(async (error: unknown) => {
    // A layer that is damaged here is as good as absent: it goes, so that whoever makes it again is not handed the same bytes.
    if (!(error instanceof FactoryError) || error.code !== "CHECKSUM_MISMATCH") throw error;
    await dropDamaged(layout, layers, signal);
    const gone = layers.find((layer) => !hasBlob(layout, layer));
    if (gone === undefined) throw error;
    throw new MissingBlob(gone.digest, "what stood for it in the state folder was something else", {
      cause: error,
      code: "CHECKSUM_MISMATCH",
    });
  });

/** Opens blobs of an OCI layout. */
export const openIn =
  (layout: string) =>
  ({ digest }: LayerBlob): Readable =>
    createReadStream(blobPath(layout, digest), { highWaterMark: 1 << 18 });

/** The same, of layers from anywhere. */
export const indexBlobs = async (
  open: (layer: LayerBlob) => Readable,
  layers: readonly LayerBlob[],
  below: FileIndex | null,
  options: ReadOptions = {},
): Promise<FileIndex> => {
  const fold = new IndexFold(below);
  for (const layer of layers) {
    try {
      fold.start();
      for await (const piece of layerBytes(open(layer), layer, options)) fold.push(piece);
      fold.end();
    } catch (error) {
      throw damaged(layer, error, options.fix);
    }
  }
  return fold.index();
};
