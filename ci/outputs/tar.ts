import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { pipeline } from "node:stream/promises";
import { type Pack, pack } from "tar-stream";
import { blobPath, closure } from "../../dagger/src/layout.js";
import type { Source } from "./index.js";
import { indexOf } from "./oci-layout.js";

/** Writes an image as one tar of an OCI layout (what skopeo calls oci-archive). The same image gives the same bytes. */
export const writeTar = (source: Source, target: string, signal: AbortSignal): Promise<void> =>
  writeArchive(target, signal, async (archive) => {
    await addText(archive, "oci-layout", '{"imageLayoutVersion":"1.0.0"}');
    await addText(archive, "index.json", JSON.stringify(indexOf(source.root, source.name)));
    for (const { digest, size } of closure(source.layout, source.root)) {
      await addStream(archive, `blobs/${digest.replace(":", "/")}`, size, createReadStream(blobPath(source.layout, digest)));
    }
  });

/** A tar file that appears whole or not at all. */
export const writeArchive = async (
  target: string,
  signal: AbortSignal,
  fill: (archive: Pack) => Promise<void>,
): Promise<void> => {
  await mkdir(dirname(target), { recursive: true });
  const draft = `${target}.${process.pid}.draft`;
  try {
    const archive = pack();
    const written = pipeline(archive, createWriteStream(draft), { signal });
    await Promise.all([
      written,
      fill(archive).then(
        () => archive.finalize(),
        (error: unknown) => void archive.destroy(error instanceof Error ? error : new Error(String(error))),
      ),
    ]);
    await rename(draft, target);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
};

const fixed = { mtime: new Date(0), mode: 0o644, uid: 0, gid: 0 } as const;

export const addText = (archive: Pack, name: string, text: string): Promise<void> =>
  new Promise((done, fail) => {
    archive.entry({ ...fixed, name }, text, (error) => (error ? fail(error) : done()));
  });

export const addStream = async (archive: Pack, name: string, size: number, content: NodeJS.ReadableStream): Promise<void> => {
  const entry = archive.entry({ ...fixed, name, size });
  await pipeline(content, entry);
};
