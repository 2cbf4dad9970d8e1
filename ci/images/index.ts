/**
 * # ci/images
 *
 * Images as a person names them for compare: layout, tar, archive, stage, root filesystem. What is read is hashed before it is compared.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { resolve } from "node:path";
import { indexBlobs } from "../../dagger/src/oci-layout/index-layers.js";
import type { ImageValue } from "../../dagger/src/pipeline/compare/image-difference.js";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import { mediaTypes } from "../../dagger/src/pipeline/oci/manifest.js";
import type { FileIndex } from "../../dagger/src/pipeline/contents/file-entry.js";
import type { Platform } from "../../dagger/src/pipeline/common/stage.js";
import { suggestion } from "../../dagger/src/pipeline/common/suggest.js";
import { dockerImage } from "./docker.js";
import { filesOfFolder, filesOfTar } from "./files.js";
import type { Image } from "./image.js";
import { manifestImage, ociImage } from "./oci.js";

/** What opening an image may need beside its name. */
type ImageSources = {
  /** The folder that paths are taken from. */
  folder: string;
  /** Which image of an index of several; null asks for the only one. */
  platform: Platform | null;
  /** A stage that is kept here, as `IMAGE/STAGE`. */
  stage: (name: string) => Promise<{ layout: string; digest: string }>;
};

type Opener = (text: string, place: ImageSources) => Promise<Image>;

/** Every form in which an image can be named. The only list. */
const forms = {
  oci: {
    about: "oci:DIR[:NAME]  an OCI layout in a folder; NAME (or a digest) where it holds several",
    open: async (text, { folder, platform }) => {
      const { path, name } = split(text);
      return ociImage(filesOfFolder(resolve(folder, path), `oci:${text}`), name, platform);
    },
  },
  tar: {
    about: "tar:FILE[:NAME]  an OCI layout as one tar",
    open: async (text, { folder, platform }) => {
      const { path, name } = split(text);
      return ociImage(await filesOfTar(resolve(folder, path), `tar:${text}`), name, platform);
    },
  },
  docker: {
    about: "docker:FILE[:TAG]  what docker save or podman save wrote",
    open: async (text, { folder }) => {
      const { path, name } = split(text);
      return dockerImage(await filesOfTar(resolve(folder, path), `docker:${text}`), name);
    },
  },
  stage: {
    about: "stage:IMAGE[/STAGE]  a stage that is kept here; runtime, which is the image, when no other is named",
    open: async (text, { stage, platform }) => {
      const { layout, digest } = await stage(text);
      return manifestImage(filesOfFolder(layout, `stage:${text}`), { digest }, platform);
    },
  },
  rootfs: {
    about: "rootfs:FILE  a root filesystem as one tar (docker export); it has no config, so only files are compared",
    open: async (text, { folder }) => {
      const path = resolve(folder, text);
      await filesOfTar(path, `rootfs:${text}`);
      const digest = await digestOf(path);
      const layers = [{ mediaType: mediaTypes.layer, digest, size: 0 }];
      return { name: `rootfs:${text}`, digest: null, config: null, layers, open: () => createReadStream(path) };
    },
  },
} satisfies Record<string, { about: string; open: Opener }>;

/** At the first colon, as skopeo does: what follows may hold slashes and a tag of its own. */
const split = (text: string): { path: string; name: string | null } => {
  const at = text.indexOf(":");
  return at < 0 ? { path: text, name: null } : { path: text.slice(0, at), name: text.slice(at + 1) };
};

const digestOf = async (path: string): Promise<string> => {
  const hash = createHash("sha256");
  for await (const piece of createReadStream(path) as AsyncIterable<Uint8Array>) hash.update(piece);
  return `sha256:${hash.digest("hex")}`;
};

/** @throws FactoryError USAGE for a form that is none, INPUT_MISSING, IMAGE_INVALID */
export const openAnyImage: Opener = (text, place) => {
  const at = text.indexOf(":");
  const form = at < 0 ? text : text.slice(0, at);
  const known = Object.entries(forms).find(([name]) => name === form)?.[1];
  if (known !== undefined && at > 0 && text.length > at + 1) return known.open(text.slice(at + 1), place);
  throw new FactoryError("USAGE", {
    what: `cannot tell where the image ${text} is`,
    why: formsText,
    fix: known === undefined ? suggestion(form, Object.keys(forms)) : `for example: ${known.about.split("  ")[0]}`,
  });
};

export const formsText = Object.values(forms)
  .map(({ about }) => about)
  .join("\n");

/**
 * Both images as values. Layers that stand below both are read once.
 * @throws FactoryError CHECKSUM_MISMATCH, INTERRUPTED
 */
export const imageValues = async (a: Image, b: Image, signal: AbortSignal): Promise<[ImageValue, ImageValue]> => {
  const differ = a.layers.findIndex((layer, at) => layer.digest !== b.layers[at]?.digest);
  const shared = differ < 0 ? a.layers.length : differ;
  const read = (image: Image, from: number, to: number, below: FileIndex | null): Promise<FileIndex> => {
    const options = { signal, fix: `${image.name} is damaged; make it again` };
    return indexBlobs((layer) => image.open(layer), image.layers.slice(from, to), below, options);
  };
  const below = shared === 0 ? null : await read(a, 0, shared, null);
  const index = async (image: Image) =>
    image.layers.length === shared && below !== null ? below : read(image, shared, image.layers.length, below);
  return [
    { config: a.config, index: await index(a) },
    { config: b.config, index: await index(b) },
  ];
};
