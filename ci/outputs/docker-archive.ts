import { createReadStream, createWriteStream, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { Decompress } from "fzstd";
import { FactoryError } from "../../dagger/src/pipeline/error.js";
import { blobPath, readManifest } from "../../dagger/src/layout.js";
import { type Descriptor, mediaTypes } from "../../dagger/src/pipeline/oci.js";
import type { Source } from "./index.js";
import { addStream, addText, writeArchive } from "./tar.js";

/**
 * Writes an image as `docker save` does: layers uncompressed, because docker load does not read zstd. The image's ID is the
 * digest of its config, as everywhere.
 * @throws FactoryError OUTPUT_FAILED for an index of several platforms, which the format cannot hold
 */
export const writeDockerArchive = async ({ layout, root, name }: Source, target: string, signal: AbortSignal): Promise<void> => {
  if (root.mediaType === mediaTypes.index) {
    throw new FactoryError("OUTPUT_FAILED", {
      what: "a docker archive holds one platform",
      why: "this image has several",
      fix: "name one: PLATFORM=linux/amd64",
    });
  }
  const { config, layers } = readManifest(layout, root.digest);
  const configText = readFileSync(blobPath(layout, config.digest), "utf8");
  const diffIds = (JSON.parse(configText) as { rootfs: { diff_ids: string[] } }).rootfs.diff_ids;
  const names = diffIds.map((id) => `${id.slice("sha256:".length)}/layer.tar`);
  const configName = `${config.digest.slice("sha256:".length)}.json`;
  await mkdir(dirname(target), { recursive: true });
  const scratch = await mkdtemp(join(dirname(target), ".layer-"));
  try {
    await writeArchive(target, signal, async (archive) => {
      await addText(
        archive,
        "manifest.json",
        JSON.stringify([{ Config: configName, RepoTags: [name.includes(":") ? name : `${name}:latest`], Layers: names }]),
      );
      await addText(archive, configName, configText);
      for (const [at, layer] of layers.entries()) {
        // A tar needs an entry's size before its bytes, and only the unpacked layer tells it.
        const plain = join(scratch, String(at));
        await pipeline([createReadStream(blobPath(layout, layer.digest)), ...decompressor(layer), createWriteStream(plain)], {
          signal,
        });
        await addStream(archive, names[at]!, (await stat(plain)).size, createReadStream(plain));
        await rm(plain);
      }
    });
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
};

const decompressor = ({ mediaType }: Descriptor): Transform[] => {
  if (mediaType.endsWith("+gzip") || mediaType.endsWith(".gzip")) return [createGunzip()];
  return mediaType.endsWith("+zstd") ? [unzstd()] : [];
};

const unzstd = (): Transform => {
  const decompress = new Decompress();
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      decompress.ondata = (part) => this.push(part);
      decompress.push(chunk);
      done();
    },
    flush(done) {
      decompress.ondata = (part) => this.push(part);
      decompress.push(new Uint8Array(0), true);
      done();
    },
  });
};
