/**
 * # dagger/src/oci-layout
 *
 * Blobs, layers and cached stages in an OCI image layout (OCI image specification, image-layout). A blob is read through its digest, and what
 * is damaged is as good as absent.
 */
import { createHash, randomBytes } from "node:crypto";
import {
  closeSync,
  createReadStream,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  write,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { isErrno } from "../filesystem/errno.js";
import { MissingBlob } from "./missing-blob.js";
import { type Descriptor, type ImageIndex, type Manifest, mediaTypes } from "../pipeline/oci/manifest.js";

/** Blobs of an OCI image layout in a folder (OCI image spec 1.1, image-layout.md), by digest; shared by all images of the layout. */
export const blobPath = (layout: string, digest: string): string => join(layout, "blobs", digest.replace(":", "/"));

/**
 * The bytes of a blob, held against its digest; null where it is not there. A damaged blob is as good as absent, and is removed, so that
 * whoever looks for it by its name alone (an engine that exports into the layout) writes it anew.
 */
const soundBlob = (layout: string, digest: string): Buffer | null => {
  const path = blobPath(layout, digest);
  try {
    const bytes = readFileSync(path);
    if (`sha256:${createHash("sha256").update(bytes).digest("hex")}` === digest) return bytes;
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR", "EISDIR")) return null;
    throw error;
  }
  discard(path);
  return null;
};

/** Where nothing can be removed the blob counts as absent all the same. */
const discard = (path: string): void => {
  try {
    rmSync(path, { force: true });
  } catch {
    return;
  }
};

/** The bytes of a blob that must be there. @throws MissingBlob for one that is not there, or is damaged */
export const blobBytes = (layout: string, digest: string): Buffer => {
  const bytes = soundBlob(layout, digest);
  if (bytes === null)
    throw new MissingBlob(digest, "it is not in the state folder, or was damaged there", { code: "CHECKSUM_MISMATCH" });
  return bytes;
};

/** @throws MissingBlob for a blob that is not there, or is damaged */
export const readBlob = <T>(layout: string, digest: string): T => JSON.parse(blobBytes(layout, digest).toString("utf8")) as T;
export const readManifest = (layout: string, digest: string): Manifest => readBlob<Manifest>(layout, digest);

/** Everything that an image index or manifest reaches, the thing itself last: the order in which a copy is never half there. */
export const closure = (layout: string, root: Descriptor): Descriptor[] => {
  const value = readBlob<Partial<Manifest & ImageIndex>>(layout, root.digest);
  const below = (value.manifests ?? []).flatMap((manifest) => closure(layout, manifest));
  const parts = value.config === undefined ? [] : [...(value.layers ?? []), value.config];
  return [...new Map([...below, ...parts, root].map((descriptor) => [descriptor.digest, descriptor])).values()];
};

/** The blobs that an image needs and that are not there (see hasBlob); null where not even its manifests can be read. */
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

/** Bytes up to which a blob is hashed whenever somebody asks for it: manifests, configs and the indexes that an assembler reads. */
const small = 1 << 17;

/**
 * Whether a blob is there: a small one with its bytes, a large one with its size. What large ones hold is checked when they are read
 * (dropDamaged, indexLayers): hashing them costs as much as copying them.
 */
export const hasBlob = (layout: string, { digest, size }: Pick<Descriptor, "digest" | "size">): boolean => {
  const found = statSync(blobPath(layout, digest), { throwIfNoEntry: false });
  if (found === undefined) return false;
  return found.size === size && size > small ? true : soundBlob(layout, digest)?.length === size;
};

/**
 * Hashes blobs whole, and removes those that are damaged: before layers are copied out, executed on, or handed to another program.
 * Those that are not there are passed over.
 */
export const dropDamaged = async (
  layout: string,
  blobs: readonly Pick<Descriptor, "digest">[],
  signal?: AbortSignal,
): Promise<void> => {
  for (const { digest } of blobs) {
    const path = blobPath(layout, digest);
    const hash = createHash("sha256");
    try {
      for await (const piece of createReadStream(path, { highWaterMark: 1 << 20, ...(signal === undefined ? {} : { signal }) }))
        hash.update(piece as Buffer);
    } catch (error) {
      if (isErrno(error, "ENOENT", "ENOTDIR", "EISDIR")) continue;
      throw error;
    }
    if (`sha256:${hash.digest("hex")}` !== digest) discard(path);
  }
};

/** Whether one image begins with all layers of another, in order: whether it can have been built on it. */
export const extendsImage = (layout: string, digest: string, below: string): boolean => {
  const { layers } = readManifest(layout, digest);
  return readManifest(layout, below).layers.every((layer, at) => layers[at]?.digest === layer.digest);
};

/** A value as a blob of JSON. */
export const writeJson = async (layout: string, mediaType: string, value: unknown): Promise<Descriptor> => ({
  mediaType,
  ...(await writeBlob(layout, [Buffer.from(JSON.stringify(value))])),
});
