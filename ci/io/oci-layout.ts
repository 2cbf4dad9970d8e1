import { createHash, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Platform } from "../../dagger/src/pipeline/stage.js";
import { withLock } from "./alive.js";

/**
 * An OCI image layout in a folder (OCI image spec 1.1, image-layout.md): blobs by digest, and an index of names.
 * Blobs are shared by all images of the layout; a reader sees the old index or the new one, never a part.
 */
export type Descriptor = {
  mediaType: string;
  digest: string;
  size: number;
  platform?: { os: string; architecture: string };
  annotations?: Record<string, string>;
};
export type Manifest = {
  schemaVersion: 2;
  mediaType: string;
  config: Descriptor;
  layers: Descriptor[];
  annotations?: Record<string, string>;
};
export type ImageIndex = { schemaVersion: 2; mediaType: string; manifests: Descriptor[] };

export const mediaTypes = {
  index: "application/vnd.oci.image.index.v1+json",
  manifest: "application/vnd.oci.image.manifest.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar",
} as const;
const refName = "org.opencontainers.image.ref.name";

export const blobPath = (layout: string, digest: string): string => join(layout, "blobs", digest.replace(":", "/"));

export const readBlob = <T>(layout: string, digest: string): T => JSON.parse(readFileSync(blobPath(layout, digest), "utf8")) as T;
export const readManifest = (layout: string, digest: string): Manifest => readBlob<Manifest>(layout, digest);

/** Everything an image index or manifest reaches, the thing itself last: the order in which a copy is never half there. */
export const closure = (layout: string, root: Descriptor): Descriptor[] => {
  const value = readBlob<Partial<Manifest & ImageIndex>>(layout, root.digest);
  const below = (value.manifests ?? []).flatMap((manifest) => closure(layout, manifest));
  const parts = value.config === undefined ? [] : [...(value.layers ?? []), value.config];
  return [...new Map([...below, ...parts, root].map((descriptor) => [descriptor.digest, descriptor])).values()];
};

/** Whether an image is there whole: each blob present with its size. Content is checked by whoever reads it. */
export const isWhole = (layout: string, digest: string): boolean => {
  try {
    const size = statSync(blobPath(layout, digest)).size;
    return closure(layout, { mediaType: mediaTypes.manifest, digest, size }).every(
      (one) => statSync(blobPath(layout, one.digest)).size === one.size,
    );
  } catch {
    return false;
  }
};

export const writeBlob = async (layout: string, mediaType: string, value: unknown): Promise<Descriptor> => {
  const text = JSON.stringify(value);
  const digest = `sha256:${createHash("sha256").update(text).digest("hex")}`;
  const path = blobPath(layout, digest);
  if (!existsSync(path)) await writeWhole(path, text);
  return { mediaType, digest, size: Buffer.byteLength(text) };
};

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
      await writeWhole(join(layout, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
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

export const platformParts = (platform: Platform): { os: string; architecture: string } => {
  const [os, architecture] = platform.split("/") as [string, string];
  return { os, architecture };
};

/** A small file replaced whole, for records; a reader never sees a part. */
export const replaceFile = (path: string, text: string): void => {
  mkdirSync(dirname(path), { recursive: true });
  const draft = `${path}.${randomBytes(6).toString("hex")}`;
  writeFileSync(draft, text);
  renameSync(draft, path);
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
