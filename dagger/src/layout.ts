import { createHash, randomBytes } from "node:crypto";
import { closeSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, statSync, write, writeSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Descriptor, type ImageIndex, type Manifest, mediaTypes } from "./pipeline/oci.js";

/** Blobs of an OCI image layout in a folder (OCI image spec 1.1, image-layout.md), by digest; shared by all images of the layout. */
export const blobPath = (layout: string, digest: string): string => join(layout, "blobs", digest.replace(":", "/"));

export const readBlob = <T>(layout: string, digest: string): T => JSON.parse(readFileSync(blobPath(layout, digest), "utf8")) as T;
export const readManifest = (layout: string, digest: string): Manifest => readBlob<Manifest>(layout, digest);

/** Everything that an image index or manifest reaches, the thing itself last: the order in which a copy is never half there. */
export const closure = (layout: string, root: Descriptor): Descriptor[] => {
  const value = readBlob<Partial<Manifest & ImageIndex>>(layout, root.digest);
  const below = (value.manifests ?? []).flatMap((manifest) => closure(layout, manifest));
  const parts = value.config === undefined ? [] : [...(value.layers ?? []), value.config];
  return [...new Map([...below, ...parts, root].map((descriptor) => [descriptor.digest, descriptor])).values()];
};

/**
 * The blobs that an image needs and that are not there with their size; null where not even its manifests can be read. What blobs
 * hold is checked by whoever reads them.
 */
export const missingBlobs = (layout: string, digest: string): Descriptor[] | null => {
  try {
    const size = statSync(blobPath(layout, digest)).size;
    return closure(layout, { mediaType: mediaTypes.manifest, digest, size }).filter((one) => !hasBlob(layout, one));
  } catch {
    return null;
  }
};

const writeAll = (file: number, bytes: Uint8Array): void => {
  for (let at = 0; at < bytes.length;) at += writeSync(file, bytes, at);
};

const writeLater = promisify(write);
const writeAllLater = async (file: number, bytes: Uint8Array): Promise<void> => {
  for (let at = 0; at < bytes.length;) at += (await writeLater(file, bytes, at)).bytesWritten;
};

/** Bytes from which on a piece is written by another thread while this one hashes it. */
const large = 1 << 18;

/** Writes a blob aside and moves it to its digest's place; on any error nothing is left. */
export const writeBlob = async (
  layout: string,
  pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<{ digest: string; size: number }> => {
  const folder = join(layout, "blobs", "sha256");
  mkdirSync(folder, { recursive: true });
  const draft = join(folder, `.draft-${process.pid}-${randomBytes(6).toString("hex")}`);
  // Synchronous: most blobs are a few kilobytes, and a turn of the thread pool for each call takes longer than all of them.
  const file = openSync(draft, "wx", 0o644);
  try {
    const hash = createHash("sha256");
    let size = 0;
    try {
      for await (const piece of pieces) {
        const written = piece.length < large ? writeAll(file, piece) : writeAllLater(file, piece);
        hash.update(piece);
        size += piece.length;
        await written;
      }
    } finally {
      closeSync(file);
    }
    const hex = hash.digest("hex");
    renameSync(draft, join(folder, hex));
    return { digest: `sha256:${hex}`, size };
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  }
};

/** Whether a blob is there with its size; what it holds is checked by whoever reads it. */
export const hasBlob = (layout: string, { digest, size }: Pick<Descriptor, "digest" | "size">): boolean =>
  statSync(blobPath(layout, digest), { throwIfNoEntry: false })?.size === size;

/** A value as a blob of JSON. */
export const writeJson = async (layout: string, mediaType: string, value: unknown): Promise<Descriptor> => ({
  mediaType,
  ...(await writeBlob(layout, [Buffer.from(JSON.stringify(value))])),
});
