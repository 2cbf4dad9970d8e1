import type { Readable } from "node:stream";
import type { ImageConfig } from "../../dagger/src/pipeline/oci/image-config.js";
import type { LayerBlob } from "../../dagger/src/oci-layout/read-layer.js";

/** An image that was found, wherever it is kept. Its layers are read when someone asks what is in them. */
export type Image = {
  /** As the person named it. */
  name: string;
  /** Of the manifest; null where its form has none. */
  digest: string | null;
  /** Null for a root filesystem on its own. */
  config: ImageConfig | null;
  /** From the lowest to the topmost. */
  layers: readonly LayerBlob[];
  open(layer: LayerBlob): Readable;
};
