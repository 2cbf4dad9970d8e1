import { type Descriptor, type ImageIndex, type Manifest, refName } from "../../dagger/src/pipeline/oci/manifest.js";
import { isImageConfig, isImageIndex, isManifest } from "../../dagger/src/pipeline/oci/guards.js";
import type { Platform } from "../../dagger/src/pipeline/common/stage.js";
import { type Files, notAnImage, readJson } from "./files.js";
import type { Image } from "./image.js";

/**
 * An image of an OCI layout, in a folder or a tar: by its name in the layout or its digest, or the only one there is.
 * @throws FactoryError IMAGE_INVALID, with the names that there are where none or several fit
 */
export const ociImage = async (files: Files, wanted: string | null, platform: Platform | null): Promise<Image> => {
  const { value: index } = await readJson(files, "index.json", isImageIndex);
  const all = index.manifests;
  const fitting = wanted === null ? all : all.filter((one) => one.annotations?.[refName] === wanted || one.digest === wanted);
  // One image under several names is one image.
  const [first, ...others] = new Map(fitting.map((one) => [one.digest, one])).values();
  if (first === undefined || others.length > 0) {
    const names = all.map((one) => one.annotations?.[refName] ?? one.digest).slice(0, 20);
    const why = wanted === null ? `it holds ${all.length} images` : `it holds no image ${wanted}`;
    throw notAnImage(files.name, why, `name one of them: ${names.join(", ")}`);
  }
  return manifestImage(files, first, platform);
};

/** The image that a manifest or index of a layout names. */
export const manifestImage = async (
  files: Files,
  root: Pick<Descriptor, "digest">,
  platform: Platform | null,
): Promise<Image> => {
  const value = await blob(files, root.digest, isManifestOrIndex);
  if ("manifests" in value) return manifestImage(files, chosen(files, value.manifests, platform), platform);
  const config = await blob(files, value.config.digest, isImageConfig);
  return {
    name: files.name,
    digest: root.digest,
    config,
    layers: value.layers.map(({ mediaType, digest, size }) => ({ mediaType, digest, size })),
    open: ({ digest }) => files.stream(pathOf(digest)),
  };
};

const chosen = (files: Files, manifests: readonly Descriptor[], platform: Platform | null): Descriptor => {
  // Attestations and artifacts stand beside images in an index.
  const images = manifests.filter((one) => one.artifactType === undefined && one.platform?.os !== "unknown");
  const named = ({ platform: one }: Descriptor) => `${one?.os ?? "?"}/${one?.architecture ?? "?"}`;
  const fitting = platform === null ? images : images.filter((one) => named(one) === platform);
  const [first, ...others] = fitting;
  if (first !== undefined && others.length === 0) return first;
  const why = `it holds ${images.map(named).join(", ") || "no image"}`;
  throw notAnImage(files.name, why, "name one platform: PLATFORM=linux/amd64");
};

const isManifestOrIndex = (value: unknown): value is Manifest | ImageIndex => isManifest(value) || isImageIndex(value);

/** A blob of JSON, held against its digest. */
const blob = async <T>(files: Files, digest: string, hasShape: (value: unknown) => value is T): Promise<T> => {
  const { value, sha256 } = await readJson(files, pathOf(digest), hasShape);
  if (`sha256:${sha256}` !== digest) throw notAnImage(files.name, `the blob ${digest} has another digest`, "make it again");
  return value;
};

const pathOf = (digest: string): string => `blobs/${digest.replace(":", "/")}`;
