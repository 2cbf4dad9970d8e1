import { once } from "node:events";
import { constants, createWriteStream, openSync, closeSync } from "node:fs";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { pipeline } from "node:stream/promises";
import { type Pack, pack } from "tar-stream";
import { indexOf } from "./oci-layout.js";
import { draftOf, type OutputPlace, placeOf, refused } from "./place.js";
import { blobPieces, blobsOf, type Source } from "./source.js";

/** Writes an image as one tar of an OCI layout (what skopeo calls oci-archive). The same image gives the same bytes. */
export const writeTar = (source: Source, target: string, signal: AbortSignal): Promise<void> =>
  writeArchive(target, signal, async (archive) => {
    await addText(archive, "oci-layout", '{"imageLayoutVersion":"1.0.0"}');
    await addText(archive, "index.json", JSON.stringify(indexOf(source.root, source.name)));
    for (const blob of blobsOf(source))
      await addStream(archive, `blobs/${blob.digest.replace(":", "/")}`, blob.size, blobPieces(source.layout, blob));
  });

type Fill = (archive: Pack, place: OutputPlace) => Promise<void>;

/**
 * A tar file that appears whole or not at all: whoever is killed leaves what was there before. Into a pipe or a device it is written as it
 * comes.
 * @throws FactoryError OUTPUT_FAILED for a place that is none of these
 */
export const writeArchive = async (target: string, signal: AbortSignal, fill: Fill): Promise<void> => {
  await mkdir(dirname(target), { recursive: true });
  const place = await placeOf(target);
  if (place.is === "folder") throw refused(target, "it is a folder", "name a file");
  if (place.is === "standard output") return written(place, signal, fill, process.stdout);
  if (place.is === "stream") return intoStream(place, signal, fill);
  const draft = draftOf(place.path);
  try {
    // A file that is there under this name is somebody else's.
    await written(place, signal, fill, createWriteStream(draft, { flags: "wx" }));
    await rename(draft, place.path);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
};

const intoStream = async (place: OutputPlace, signal: AbortSignal, fill: Fill): Promise<void> => {
  signal.throwIfAborted();
  // To open a pipe waits for its reader, and nothing but one ends that.
  const stop = () => closeSync(openSync(place.path, constants.O_RDONLY | constants.O_NONBLOCK));
  signal.addEventListener("abort", stop, { once: true });
  const handle = await open(place.path, constants.O_WRONLY | constants.O_NOCTTY).finally(() =>
    signal.removeEventListener("abort", stop),
  );
  await written(place, signal, fill, handle.createWriteStream());
};

const written = async (place: OutputPlace, signal: AbortSignal, fill: Fill, to: NodeJS.WritableStream): Promise<void> => {
  const archive = pack();
  await Promise.all([
    pipeline(archive, to, { signal, end: place.is !== "standard output" }),
    fill(archive, place).then(
      () => archive.finalize(),
      (error: unknown) => void archive.destroy(error instanceof Error ? error : new Error(String(error))),
    ),
  ]);
};

const fixed = { mtime: new Date(0), mode: 0o644, uid: 0, gid: 0 } as const;

export const addText = (archive: Pack, name: string, text: string): Promise<void> =>
  new Promise((done, fail) => {
    archive.entry({ ...fixed, name }, text, (error) => (error ? fail(error) : done()));
  });

/** What goes wrong with the content goes to the caller, who destroys the archive. */
export const addStream = async (archive: Pack, name: string, size: number, content: AsyncIterable<Uint8Array>): Promise<void> => {
  const entry = archive.entry({ ...fixed, name, size });
  // What takes the archive may fail meanwhile; the caller sees that.
  const closed = once(entry, "close").catch(() => undefined);
  for await (const piece of content) {
    if (entry.destroyed) return;
    if (!entry.write(piece)) await Promise.race([once(entry, "drain"), closed]);
  }
  entry.end(undefined as never);
};
