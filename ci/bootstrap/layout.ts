import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, rename } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { extract } from "tar-stream";
import { baseConfig } from "../../dagger/src/pipeline/steps/debian-base.js";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import type { Architecture } from "../../dagger/src/pipeline/common/stage.js";
import { writeJson } from "../../dagger/src/oci-layout/blobs.js";
import { mediaTypes } from "../../dagger/src/pipeline/oci/manifest.js";
import { nameInLayout } from "../state/layout-index.js";

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
  const layer = { mediaType: mediaTypes.layer, digest: `sha256:${tar.sha256}`, size: tar.size };
  const config = await writeJson(folder, mediaTypes.config, {
    created,
    ...platform,
    config: {
      Env: [`PATH=${baseConfig.path}`],
      Cmd: baseConfig.cmd,
    },
    rootfs: { type: "layers", diff_ids: [layer.digest] },
    history: [{ created, created_by: image.createdBy }],
  });
  const manifest = await writeJson(folder, mediaTypes.manifest, {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config,
    layers: [layer],
  });
  await nameInLayout(folder, image.name, { ...manifest, platform }, signal);
  return manifest.digest;
}

export type TarFacts = { sha256: string; size: number; dpkgStatus: string };

/** A status file has some hundred bytes a package. */
const largestStatus = 64 * 2 ** 20;

/**
 * Reads a root filesystem's tar once: its hash, its size in bytes and its dpkg status file.
 * @throws FactoryError STEP_FAILED when it is no whole tar, INTERRUPTED
 */
export async function readTar(path: string, signal?: AbortSignal): Promise<TarFacts> {
  const hash = createHash("sha256");
  let size = 0;
  let dpkgStatus = "";
  const entries = extract();
  entries.on("entry", (header, stream, next) => {
    const wanted = /^(\.\/)?var\/lib\/dpkg\/status$/.test(header.name);
    const parts: Uint8Array[] = [];
    if (wanted && (header.size ?? 0) > largestStatus) return next(new Error(`${header.name} has ${header.size} bytes`));
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
  const source = createReadStream(path, { highWaterMark: 1 << 20 });
  await pipeline(source, counted, entries, signal === undefined ? {} : { signal }).catch((cause: unknown) => {
    if (signal?.aborted || (cause instanceof Error && "syscall" in cause)) throw cause;
    throw new FactoryError("STEP_FAILED", {
      what: "what mmdebstrap left is no whole tar",
      why: cause instanceof Error ? cause.message : String(cause),
      fix: "see whether the disk is full, then run the same command again",
      cause,
    });
  });
  return { sha256: hash.digest("hex"), size, dpkgStatus };
}
