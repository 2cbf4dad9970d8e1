import { existsSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { isErrno } from "../../dagger/src/filesystem/errno.js";
import { closure } from "../../dagger/src/oci-layout/blobs.js";
import { isImageIndex, jsonOf } from "../../dagger/src/pipeline/oci/guards.js";
import { type Descriptor, type ImageIndex, mediaTypes, refName } from "../../dagger/src/pipeline/oci/manifest.js";
import { withLock } from "../host/process-lock.js";
import { replaceFile } from "../host/atomic-write.js";

/** Enters an image into the layout's index under a name, in place of what had that name. */
export const nameInLayout = (layout: string, name: string, image: Descriptor, signal?: AbortSignal): Promise<void> =>
  nameAllInLayout(layout, { [name]: image }, signal);

/** The same for several images at once: each time that the index is replaced, the file system writes it out before it goes on. */
export const nameAllInLayout = (
  layout: string,
  images: Readonly<Record<string, Descriptor>>,
  signal?: AbortSignal,
): Promise<void> =>
  withLock(
    join(layout, ".lock"),
    async () => {
      const index = readIndex(layout);
      const manifests = [
        ...index.manifests.filter((one) => !Object.hasOwn(images, one.annotations?.[refName] ?? "")),
        ...Object.entries(images).map(([name, image]) => ({ ...image, annotations: { [refName]: name } })),
      ];
      const version = join(layout, "oci-layout");
      if (!existsSync(version) || readFileSync(version, "utf8") !== layoutText) replaceFile(version, layoutText);
      replaceFile(join(layout, "index.json"), JSON.stringify({ ...index, manifests }));
    },
    { signal },
  );

const layoutText = '{"imageLayoutVersion":"1.0.0"}';

/**
 * Names are for other programs that read the layout; what is kept is found by its record. So a damaged index is an empty one, and what it
 * named is named again with the next build of it.
 */
const readIndex = (layout: string): ImageIndex => {
  const empty: ImageIndex = { schemaVersion: 2, mediaType: mediaTypes.index, manifests: [] };
  try {
    const value = jsonOf(readFileSync(join(layout, "index.json")));
    return isImageIndex(value) ? value : empty;
  } catch (error) {
    if (isErrno(error, "ENOENT", "EISDIR")) return empty;
    throw error;
  }
};

/**
 * Removes the blobs that no kept image reaches any more; returns how many bytes that freed.
 * @param keep digests of manifests and indexes; each must be readable
 */
export const sweep = (layout: string, keep: ReadonlySet<string>): Promise<number> =>
  withLock(join(layout, ".lock"), async () => {
    const index = readIndex(layout);
    const manifests = index.manifests.filter(({ digest }) => keep.has(digest));
    const write = () => replaceFile(join(layout, "index.json"), JSON.stringify({ ...index, manifests }));
    // Before the blobs, so that no name is without its image; on a full disk after them, because they are what makes room.
    const isFull = manifests.length < index.manifests.length && failsOnFullDisk(write);
    const roots = [...keep].map((digest): Descriptor => ({ mediaType: mediaTypes.manifest, digest, size: 0 }));
    const reached = new Set(roots.flatMap((one) => closure(layout, one)).map(({ digest }) => digest));
    const folder = join(layout, "blobs", "sha256");
    let freed = 0;
    for (const name of existsSync(folder) ? readdirSync(folder) : []) {
      if (reached.has(`sha256:${name}`)) continue;
      freed += statSync(join(folder, name)).size;
      rmSync(join(folder, name), { force: true });
    }
    if (isFull) write();
    return freed;
  });

const failsOnFullDisk = (work: () => void): boolean => {
  try {
    work();
    return false;
  } catch (error) {
    if (isErrno(error, "ENOSPC", "EDQUOT")) return true;
    throw error;
  }
};
