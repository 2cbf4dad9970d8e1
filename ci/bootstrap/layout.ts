import { createHash, randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { access, mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { extract } from "tar-stream";
import type { Architecture } from "../../dagger/src/pipeline/stage.js";
import { withLock } from "../io/alive.js";

const MEDIA = {
  index: "application/vnd.oci.image.index.v1+json",
  manifest: "application/vnd.oci.image.manifest.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar",
} as const;
const REF_NAME = "org.opencontainers.image.ref.name";

type Descriptor = {
  mediaType: string;
  digest: string;
  size: number;
  platform?: { architecture: string; os: string };
  annotations?: Record<string, string>;
};

export type RootImage = {
  /** An uncompressed tar inside `folder` (so that a rename suffices); it becomes the image's only layer. */
  tar: string;
  architecture: Architecture;
  /** Seconds since the Unix epoch. */
  epoch: number;
  /** What the image's history says of its layer. */
  createdBy: string;
  /** The name in index.json; an image of that name is replaced, all others stay. */
  name: string;
};

/** Adds a root filesystem as an image of one layer to the OCI layout `folder`, which is made when absent. Returns the manifest's digest. */
export async function addRootImage(folder: string, image: RootImage, tar: TarFacts, signal?: AbortSignal): Promise<string> {
  const blobs = join(folder, "blobs/sha256");
  await mkdir(blobs, { recursive: true });
  await rename(image.tar, join(blobs, tar.sha256));
  const created = new Date(image.epoch * 1000).toISOString().replace(".000Z", "Z");
  const platform = { architecture: image.architecture, os: "linux" };
  const layer = { mediaType: MEDIA.layer, digest: `sha256:${tar.sha256}`, size: tar.size };
  const config = await writeBlob(folder, MEDIA.config, {
    created,
    ...platform,
    config: {
      Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
      Cmd: ["bash"],
    },
    rootfs: { type: "layers", diff_ids: [layer.digest] },
    history: [{ created, created_by: image.createdBy }],
  });
  const manifest = await writeBlob(folder, MEDIA.manifest, {
    schemaVersion: 2,
    mediaType: MEDIA.manifest,
    config,
    layers: [layer],
  });
  await withLock(
    join(folder, ".index.lock"),
    async () => {
      const others = (await readManifests(folder)).filter((one) => one.annotations?.[REF_NAME] !== image.name);
      const manifests = [...others, { ...manifest, platform, annotations: { [REF_NAME]: image.name } }];
      await replace(join(folder, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
      await replace(join(folder, "index.json"), JSON.stringify({ schemaVersion: 2, mediaType: MEDIA.index, manifests }));
    },
    { signal },
  );
  return manifest.digest;
}

async function readManifests(folder: string): Promise<Descriptor[]> {
  const text = await readFile(join(folder, "index.json"), "utf8").catch(() => null);
  return text === null ? [] : ((JSON.parse(text) as { manifests?: Descriptor[] }).manifests ?? []);
}

async function writeBlob(folder: string, mediaType: string, value: unknown): Promise<Descriptor> {
  const text = JSON.stringify(value);
  const sha256 = createHash("sha256").update(text).digest("hex");
  const path = join(folder, "blobs/sha256", sha256);
  const there = await access(path).then(
    () => true,
    () => false,
  );
  if (!there) await replace(path, text);
  return { mediaType, digest: `sha256:${sha256}`, size: Buffer.byteLength(text) };
}

/** A reader sees the old content or the new one, never a part. */
async function replace(path: string, text: string): Promise<void> {
  const fresh = `${path}.${randomBytes(6).toString("hex")}`;
  await writeFile(fresh, text);
  await rename(fresh, path);
}

export type TarFacts = { sha256: string; size: number; dpkgStatus: string };

/** Reads a root filesystem's tar once: its hash, its size in bytes and its dpkg status file. */
export async function readTar(path: string, signal?: AbortSignal): Promise<TarFacts> {
  const hash = createHash("sha256");
  let size = 0;
  let dpkgStatus = "";
  const entries = extract();
  entries.on("entry", (header, stream, next) => {
    const wanted = /^(\.\/)?var\/lib\/dpkg\/status$/.test(header.name);
    const parts: Uint8Array[] = [];
    stream.on("data", (part: unknown) => {
      if (wanted && part instanceof Uint8Array) parts.push(part);
    });
    stream.on("end", () => {
      if (wanted) dpkgStatus = Buffer.concat(parts).toString("utf8");
      next();
    });
    stream.resume();
  });
  const counted = async function* (source: AsyncIterable<Buffer>) {
    for await (const part of source) {
      hash.update(part);
      size += part.length;
      yield part;
    }
  };
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), counted, entries, signal === undefined ? {} : { signal });
  return { sha256: hash.digest("hex"), size, dpkgStatus };
}
