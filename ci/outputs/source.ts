import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { blobPath, closure } from "../../dagger/src/oci-layout/blobs.js";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import type { Descriptor } from "../../dagger/src/pipeline/oci/manifest.js";
import { damaged } from "../../dagger/src/oci-layout/read-layer.js";

/** An image to hand out: where its blobs are, what it is and how it is called. */
export type Source = {
  layout: string;
  root: Descriptor;
  name: string;
  /** Folders into which nothing is handed out: what image-factory keeps. */
  kept?: readonly string[];
};

/** All blobs of it, the image itself last. @throws FactoryError CHECKSUM_MISMATCH for a manifest that cannot be read */
export const blobsOf = ({ layout, root }: Source): Descriptor[] => {
  try {
    return closure(layout, root);
  } catch (error) {
    throw damaged(root, error);
  }
};

/**
 * The bytes of a blob, held against its digest and size while they pass: nothing damaged is handed out.
 * @throws FactoryError CHECKSUM_MISMATCH
 */
export async function* blobPieces(layout: string, blob: Descriptor): AsyncGenerator<Uint8Array> {
  const hash = createHash("sha256");
  let size = 0;
  try {
    for await (const piece of createReadStream(blobPath(layout, blob.digest), {
      highWaterMark: 1 << 18,
    }) as AsyncIterable<Buffer>) {
      hash.update(piece);
      size += piece.length;
      yield piece;
    }
  } catch (error) {
    throw unreadable(error) ? damaged(blob, error) : error;
  }
  if (size !== blob.size || `sha256:${hash.digest("hex")}` !== blob.digest)
    throw damaged(blob, new Error("its bytes have another digest"));
}

/** The text of a small blob. @throws FactoryError CHECKSUM_MISMATCH */
export const blobText = async (layout: string, blob: Descriptor): Promise<string> => {
  const parts: Uint8Array[] = [];
  for await (const part of blobPieces(layout, blob)) parts.push(part);
  return Buffer.concat(parts).toString("utf8");
};

/** An error of whoever takes the bytes is not one of the blob. */
const unreadable = (error: unknown): boolean =>
  !(error instanceof FactoryError) &&
  error instanceof Error &&
  "syscall" in error &&
  ["open", "read"].includes(String(error.syscall));
