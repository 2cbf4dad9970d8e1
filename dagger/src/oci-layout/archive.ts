import { createHash } from "node:crypto";
import { closeSync, createReadStream, createWriteStream, mkdirSync, openSync, renameSync, writeSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { blobPath, closure, readBlob } from "./blobs.js";
import { FactoryError } from "../pipeline/common/error.js";
import { tarHeader } from "../pipeline/layer/write-tar.js";
import { type Descriptor, type ImageIndex, mediaTypes } from "../pipeline/oci/manifest.js";
import { isImageIndex, jsonOf } from "../pipeline/oci/guards.js";
import { TarReader } from "../pipeline/archive/tar-reader.js";
import { blockSize } from "../pipeline/archive/tar-header.js";

/** The index.json of a layout that holds one image. */
export const indexOf = (image: Descriptor): ImageIndex => ({ schemaVersion: 2, mediaType: mediaTypes.index, manifests: [image] });
export const layoutText = '{"imageLayoutVersion":"1.0.0"}';

/** Writes an image of a layout as one tar, which is how a Dagger engine takes an image in. The same image gives the same bytes. */
export const packLayout = async (layout: string, image: Descriptor, file: string): Promise<void> => {
  async function* pieces(): AsyncGenerator<Uint8Array> {
    yield* text("oci-layout", layoutText);
    yield* text("index.json", JSON.stringify(indexOf(image)));
    for (const { digest, size } of closure(layout, image)) {
      yield header(`blobs/${digest.replace(":", "/")}`, size);
      yield* createReadStream(blobPath(layout, digest), { highWaterMark: 1 << 18 }) as AsyncIterable<Uint8Array>;
      yield padding(size);
    }
    yield new Uint8Array(2 * blockSize);
  }
  await pipeline(Readable.from(pieces(), { objectMode: false }), createWriteStream(file));
};

function* text(name: string, content: string): Generator<Uint8Array> {
  const bytes = Buffer.from(content);
  yield header(name, bytes.length);
  yield bytes;
  yield padding(bytes.length);
}

const header = (name: string, size: number): Uint8Array =>
  tarHeader({ path: `/${name}`, type: "file", mode: "644", uid: 0, gid: 0, size, sha256: "", content: { text: "" } }, 0);

const padding = (size: number): Uint8Array => new Uint8Array((blockSize - (size % blockSize)) % blockSize);

/**
 * Unpacks the blobs of such a tar into a layout, each held against its digest, and returns the image that its index.json names.
 * @throws FactoryError ENGINE_FAILED for a tar that is no image of one platform, CHECKSUM_MISMATCH
 */
export const unpackLayout = async (file: string, layout: string): Promise<Descriptor> => {
  mkdirSync(join(layout, "blobs", "sha256"), { recursive: true });
  const draft = join(layout, ".blob");
  const index: Buffer[] = [];
  let current: { take: (bytes: Uint8Array) => void; end: () => void } | null = null;
  const reader = new TarReader({
    entry({ path, type }) {
      const name = path.replace(/^\.?\/+/, "");
      const hex = /^blobs\/sha256\/([0-9a-f]{64})$/.exec(name)?.[1];
      if (type === "file" && hex !== undefined) current = blobWriter(draft, join(layout, "blobs", "sha256", hex), hex);
      else if (name === "index.json") current = { take: (bytes) => index.push(Buffer.from(bytes)), end: () => undefined };
    },
    data: (bytes) => current?.take(bytes),
    end() {
      current?.end();
      current = null;
    },
  });
  for await (const piece of createReadStream(file, { highWaterMark: 1 << 20 })) reader.push(piece as Buffer);
  reader.finish();
  let manifests = manifestsIn(jsonOf(Buffer.concat(index)));
  // An index may name another one.
  while (manifests.length === 1 && manifests[0]!.mediaType === mediaTypes.index)
    manifests = manifestsIn(readBlob<unknown>(layout, manifests[0]!.digest));
  const [image] = manifests;
  if (image !== undefined && manifests.length === 1) return image;
  throw new FactoryError("ENGINE_FAILED", {
    what: "the engine exported no image of one platform",
    why: `its index.json names ${manifests.length} images`,
    fix: "use the version of the engine that dagger.json names",
  });
};

const manifestsIn = (value: unknown): readonly Descriptor[] => (isImageIndex(value) ? value.manifests : []);

const blobWriter = (draft: string, to: string, hex: string) => {
  const handle = openSync(draft, "w", 0o644);
  const hash = createHash("sha256");
  return {
    take(bytes: Uint8Array) {
      hash.update(bytes);
      for (let at = 0; at < bytes.length;) at += writeSync(handle, bytes, at);
    },
    end() {
      closeSync(handle);
      if (hash.digest("hex") === hex) return renameSync(draft, to);
      throw new FactoryError("CHECKSUM_MISMATCH", {
        what: `a part of the exported image is damaged`,
        why: `sha256:${hex} has other bytes`,
        fix: "run the same command again",
      });
    },
  };
};
