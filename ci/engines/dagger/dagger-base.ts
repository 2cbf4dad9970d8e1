import { createReadStream } from "node:fs";
import { blobPath, readBlob, readManifest, writeBlob, writeJson } from "../../../dagger/src/oci-layout/blobs.js";
import type { ImageConfig } from "../../../dagger/src/pipeline/oci/image-config.js";
import { tarHeader } from "../../../dagger/src/pipeline/layer/write-tar.js";
import { type Descriptor, mediaTypes } from "../../../dagger/src/pipeline/oci/manifest.js";
import { layerBytes } from "../../../dagger/src/oci-layout/read-layer.js";

/**
 * A bootstrapped base as Dagger takes it: with the /dev that mmdebstrap leaves out. Where there is none, the runtime makes one for the first
 * command, with the time of day, and that command's layer holds it. Here /dev is in the base's own layer, as the module's bootstrap has it:
 * an image of Dagger then has as many layers as one of BuildKit.
 * @param draft an OCI layout that takes the new image
 */
export const withDev = async (layout: string, digest: string, epoch: number, draft: string): Promise<Descriptor> => {
  const manifest = readManifest(layout, digest);
  const config = readBlob<ImageConfig>(layout, manifest.config.digest);
  const [layer, ...others] = manifest.layers;
  if (layer === undefined || others.length > 0) throw new Error(`the base ${digest} has ${manifest.layers.length} layers`);
  async function* pieces(): AsyncGenerator<Uint8Array> {
    yield tarHeader({ path: "/dev", type: "directory", mode: "755", uid: 0, gid: 0 }, epoch);
    yield* layerBytes(createReadStream(blobPath(layout, layer!.digest), { highWaterMark: 1 << 20 }), layer!);
  }
  const whole = { mediaType: mediaTypes.layer, ...(await writeBlob(draft, pieces())) };
  const rootfs = { type: "layers", diff_ids: [whole.digest] };
  const written = await writeJson(draft, manifest.config.mediaType, { ...config, rootfs });
  return writeJson(draft, manifest.mediaType, { ...manifest, config: written, layers: [whole] });
};
