import { layerType, mediaTypes } from "../../dagger/src/pipeline/oci/manifest.js";
import { isImageConfig } from "../../dagger/src/pipeline/oci/guards.js";
import type { LayerBlob } from "../../dagger/src/oci-layout/read-layer.js";
import { type Files, notAnImage, readJson } from "./files.js";
import type { Image } from "./image.js";

/** `manifest.json` of a docker archive (Docker image spec v1.2, "Combined Image JSON + Filesystem Changeset Format"). */
type ArchiveManifest = { Config: string; RepoTags?: string[] | null; Layers: string[] }[];

/**
 * An image of what `docker save` and `podman save` write: by one of its tags, or the only one there is. Layers are plain tars whose
 * digests are the config's diff_ids; newer Docker keeps them compressed, under the digest of what it keeps.
 * @throws FactoryError IMAGE_INVALID
 */
export const dockerImage = async (files: Files, wanted: string | null): Promise<Image> => {
  const { value: all } = await readJson(files, "manifest.json", isArchiveManifest);
  const fitting = wanted === null ? all : all.filter(({ RepoTags }) => RepoTags?.includes(wanted));
  const [first, ...others] = fitting;
  if (first === undefined || others.length > 0) {
    const why = wanted === null ? `it holds ${all.length} images` : `it holds no image ${wanted}`;
    throw notAnImage(files.name, why, `name one of them: ${all.flatMap(({ RepoTags }) => RepoTags ?? []).join(", ")}`);
  }
  const { value: config, sha256 } = await readJson(files, first.Config, isImageConfig);
  // The image's ID, by which it is called: the digest of its config.
  const id = /([0-9a-f]{64})(?:\.json)?$/.exec(first.Config)?.[1];
  if (id !== undefined && id !== sha256)
    throw notAnImage(files.name, `its config ${first.Config} has another digest`, "make it again");
  const ids = config.rootfs.diff_ids;
  if (ids.length !== first.Layers.length)
    throw notAnImage(files.name, `${first.Layers.length} layers, and ${ids.length} diff_ids in its config`, "make it again");
  const paths = new Map<LayerBlob, string>();
  for (const [at, path] of first.Layers.entries()) paths.set(await layerOf(files, path, ids[at]!), path);
  return {
    name: files.name,
    digest: null,
    config,
    layers: [...paths.keys()],
    open: (layer) => files.stream(paths.get(layer)!),
  };
};

const isArchiveManifest = (value: unknown): value is ArchiveManifest => {
  const areTexts = (list: unknown) => Array.isArray(list) && list.every((one) => typeof one === "string");
  const isImage = (one: unknown) => {
    const { Config, RepoTags = null, Layers } = (one ?? {}) as Partial<ArchiveManifest[number]>;
    return typeof Config === "string" && areTexts(Layers) && (RepoTags === null || areTexts(RepoTags));
  };
  return Array.isArray(value) && value.every(isImage);
};

const layerOf = async (files: Files, path: string, diffId: string): Promise<LayerBlob> => {
  const mediaType = await mediaTypeOf(files, path);
  const kept = /(?:^|\/)blobs\/sha256\/([0-9a-f]{64})$/.exec(path)?.[1];
  return { mediaType, digest: mediaType === mediaTypes.layer || kept === undefined ? diffId : `sha256:${kept}`, size: 0 };
};

/** The archive does not say how a layer is compressed; its first bytes do. */
const mediaTypeOf = async (files: Files, path: string): Promise<string> => {
  if (!files.has(path)) throw notAnImage(files.name, `its layer ${path} is not in it`, "make it again");
  for await (const piece of files.stream(path) as AsyncIterable<Uint8Array>) {
    const head = Buffer.from(piece.subarray(0, 4)).toString("hex");
    if (head.startsWith("1f8b")) return layerType("gzip");
    return head === "28b52ffd" ? layerType("zstd") : mediaTypes.layer;
  }
  return mediaTypes.layer;
};
