import { randomBytes } from "node:crypto";
import { existsSync, readdirSync, rmSync, statSync } from "node:fs";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { closure } from "../../dagger/src/layout.js";
import { type Descriptor, type ImageIndex, mediaTypes, refName } from "../../dagger/src/pipeline/oci.js";
import { withLock } from "./alive.js";

/** Enters an image into the layout's index under a name, in place of what had that name. */
export const nameInLayout = (layout: string, name: string, image: Descriptor, signal?: AbortSignal): Promise<void> =>
  withLock(
    join(layout, ".lock"),
    async () => {
      const index = await readIndex(layout);
      const manifests = [
        ...index.manifests.filter((one) => one.annotations?.[refName] !== name),
        { ...image, annotations: { [refName]: name } },
      ];
      const version = join(layout, "oci-layout");
      if (!existsSync(version)) await writeWhole(version, '{"imageLayoutVersion":"1.0.0"}');
      await writeWhole(join(layout, "index.json"), JSON.stringify({ ...index, manifests }));
    },
    { signal },
  );

const readIndex = async (layout: string): Promise<ImageIndex> => {
  const text = await readFile(join(layout, "index.json"), "utf8").catch(() => null);
  return text === null ? { schemaVersion: 2, mediaType: mediaTypes.index, manifests: [] } : (JSON.parse(text) as ImageIndex);
};

const writeWhole = async (path: string, text: string): Promise<void> => {
  await mkdir(dirname(path), { recursive: true });
  const draft = `${path}.${randomBytes(6).toString("hex")}`;
  await writeFile(draft, text);
  await rename(draft, path);
};

/** Removes the blobs that no named image reaches any more; returns how many bytes that freed. */
export const sweep = (layout: string, keep: ReadonlySet<string>): Promise<number> =>
  withLock(join(layout, ".lock"), async () => {
    const index = await readIndex(layout);
    const manifests = index.manifests.filter(({ digest }) => keep.has(digest));
    await writeWhole(join(layout, "index.json"), JSON.stringify({ ...index, manifests }));
    const reached = new Set(manifests.flatMap((one) => closure(layout, one)).map(({ digest }) => digest));
    const folder = join(layout, "blobs", "sha256");
    let freed = 0;
    for (const name of existsSync(folder) ? readdirSync(folder) : []) {
      if (reached.has(`sha256:${name}`)) continue;
      freed += statSync(join(folder, name)).size;
      rmSync(join(folder, name), { force: true });
    }
    return freed;
  });
