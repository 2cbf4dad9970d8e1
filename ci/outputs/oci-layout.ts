import { createWriteStream, lstatSync, readdirSync, rmSync } from "node:fs";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { blobPath } from "../../dagger/src/oci-layout/blobs.js";
import { type ImageIndex, mediaTypes, refName } from "../../dagger/src/pipeline/oci/manifest.js";
import { withLock } from "../host/process-lock.js";
import { draftOf, placeOf, refused } from "./place.js";
import { blobPieces, blobsOf, type Source } from "./source.js";

/**
 * Writes an image as an OCI layout of its own. Whoever is killed leaves a whole layout, the earlier one or the new one: a new folder is
 * made beside its place and renamed; into a layout that is there blobs are brought first, its index is replaced in one step, and what that
 * does not reach goes last.
 * @throws FactoryError OUTPUT_FAILED where something that is no layout stands in the way, CHECKSUM_MISMATCH
 */
export const writeLayout = async (source: Source, target: string, signal?: AbortSignal): Promise<void> => {
  const path = await folderAt(target);
  await mkdir(dirname(path), { recursive: true });
  // Held while it is looked at, too: another build may write the same place.
  await withLock(`${path}.lock`, () => (isThere(path) ? renew(source, target, path, signal) : make(source, path, signal)), {
    signal,
  });
};

/** @throws FactoryError OUTPUT_FAILED */
const folderAt = async (target: string): Promise<string> => {
  const { is, path } = await placeOf(target);
  if (is === "folder" || is === "new") return path;
  throw noLayout(target);
};
const isThere = (path: string): boolean =>
  readdirSync(dirname(path)).includes(basename(path)) ? readdirSync(path).length > 0 : false;
const noLayout = (target: string) => refused(target, "it is there and is no OCI layout", "name another folder, or remove it");

const make = async (source: Source, path: string, signal: AbortSignal | undefined): Promise<void> => {
  const draft = draftOf(path);
  try {
    await mkdir(join(draft, "blobs", "sha256"), { recursive: true });
    await bring(source, draft, signal);
    await writeFile(join(draft, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
    await writeFile(join(draft, "index.json"), indexText(source));
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    throw error;
  }
};

export const indexOf = (root: Source["root"], name: string): ImageIndex => ({
  schemaVersion: 2,
  mediaType: mediaTypes.index,
  manifests: [{ ...root, annotations: { [refName]: name } }],
});
const indexText = ({ root, name }: Source): string => JSON.stringify(indexOf(root, name));

/** @throws FactoryError OUTPUT_FAILED for a folder that is no layout, or whose parts lead elsewhere */
const renew = async (source: Source, target: string, layout: string, signal: AbortSignal | undefined): Promise<void> => {
  const folder = join(layout, "blobs", "sha256");
  const version = await readFile(join(layout, "oci-layout"), "utf8").catch(() => "");
  const isWhole = [dirname(folder), folder].every((part) => lstatSync(part, { throwIfNoEntry: false })?.isDirectory() ?? true);
  if (!version.includes("imageLayoutVersion") || !isWhole) throw noLayout(target);
  await mkdir(folder, { recursive: true });
  const reached = await bring(source, layout, signal);
  const draft = draftOf(join(layout, "index.json"));
  await writeFile(draft, indexText(source), { flag: "wx" });
  await rename(draft, join(layout, "index.json"));
  for (const name of readdirSync(folder))
    if (isBlob.test(name) && !reached.has(name)) rmSync(join(folder, name), { force: true });
};
/** A blob, or what is left of one that was being written. */
const isBlob = /^[0-9a-f]{64}(?:\.[0-9a-f-]+\.draft)?$/;

/** Copies all blobs, each held against its digest; one that is there may be damaged. Returns their names. */
const bring = async (source: Source, layout: string, signal: AbortSignal | undefined): Promise<ReadonlySet<string>> => {
  const names = new Set<string>();
  for (const blob of blobsOf(source)) {
    const path = blobPath(layout, blob.digest);
    const draft = draftOf(path);
    try {
      await pipeline(Readable.from(blobPieces(source.layout, blob)), createWriteStream(draft, { flags: "wx" }), { signal });
      await rename(draft, path);
    } catch (error) {
      await rm(draft, { force: true });
      throw error;
    }
    names.add(blob.digest.slice("sha256:".length));
  }
  return names;
};
