import { createReadStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { extract } from "tar-stream";
import { blobPath } from "../../../dagger/src/oci-layout/blobs.js";
import { type LayerBlob, layerBytes } from "../../../dagger/src/oci-layout/read-layer.js";

/** The entries of a layer that are newer than the usual epoch of 1980. */
export const newerThanEpoch = async (folder: string, layer: LayerBlob): Promise<string[]> => {
  const newer: string[] = [];
  const read = extract();
  read.on("entry", ({ name, mtime }, stream, next) => {
    if (mtime !== undefined && mtime.getTime() > Date.UTC(1980, 0, 2)) newer.push(`${name} ${mtime.toISOString()}`);
    stream.on("end", next).resume();
  });
  await pipeline(layerBytes(createReadStream(blobPath(folder, layer.digest)), layer), read);
  return newer;
};
