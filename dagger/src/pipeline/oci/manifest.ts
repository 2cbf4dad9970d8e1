/**
 * # dagger/src/pipeline/oci
 *
 * The JSON documents of an image: manifest, index, config, and the artifact that keeps a stage under its key. Equal values are written as
 * equal bytes, and what is read is checked before it is believed.
 */
import type { ImageConfig } from "./image-config.js";
import { type StageKey } from "../plan/key.js";
import { canonical } from "../common/canonical.js";
import { type Platform, type StageName, stageNames } from "../common/stage.js";

/** What names a blob (OCI image spec 1.1, descriptor.md). */
export type Descriptor = {
  mediaType: string;
  digest: string;
  size: number;
  platform?: { os: string; architecture: string };
  artifactType?: string;
  annotations?: Record<string, string>;
};
export type LayerDescriptor = Pick<Descriptor, "mediaType" | "digest" | "size">;
export type Manifest = {
  schemaVersion: 2;
  mediaType: string;
  artifactType?: string;
  config: Descriptor;
  layers: Descriptor[];
  annotations?: Record<string, string>;
};
export type ImageIndex = { schemaVersion: 2; mediaType: string; manifests: Descriptor[]; annotations?: Record<string, string> };

export const mediaTypes = {
  index: "application/vnd.oci.image.index.v1+json",
  manifest: "application/vnd.oci.image.manifest.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar",
} as const;
/** Under what name an image stands in a layout's index (OCI image spec 1.1, annotations.md). */
export const refName = "org.opencontainers.image.ref.name";

export const layerType = (compression: "zstd" | "gzip"): string => `${mediaTypes.layer}+${compression}`;

export const platformParts = (platform: Platform): { os: string; architecture: string } => {
  const [os, architecture] = platform.split("/") as [string, string];
  return { os, architecture };
};

/** A stage's key in an image's manifest: `io.image-factory.stage.base-tools=69ea7857…`, one for each stage that the image holds. */
/**
 * The index of an image of several platforms. Each manifest says which key its highest stage has, so that whoever finds the index can tell
 * what it is an image of without asking further.
 */
export const imageIndex = (
  images: readonly { manifest: Descriptor; last: { stage: StageName; key: StageKey } }[],
): ImageIndex => ({
  schemaVersion: 2,
  mediaType: mediaTypes.index,
  manifests: images.map(({ manifest: { mediaType, digest, size, platform }, last }) => ({
    mediaType,
    digest,
    size,
    ...(platform === undefined ? {} : { platform }),
    annotations: { [stageAnnotation(last.stage)]: last.key },
  })),
});

export const stageAnnotation = (stage: StageName): string => `io.image-factory.stage.${stage}`;

/** The keys of the stages that an image holds, the lowest first; none where the manifest is not ours. */
export const stageKeysOf = ({ annotations }: Pick<Partial<Manifest>, "annotations">): string[] =>
  stageNames.flatMap((stage) => {
    const key = annotations?.[stageAnnotation(stage)];
    return typeof key === "string" ? [key] : [];
  });

/** The text of a config; equal configs have equal texts, and so one digest. */
export const configText = (config: ImageConfig): string => canonical(config);

/**
 * The text of a manifest. Of the layers' descriptors only type, digest and size are taken: an exporter's own annotations
 * (`buildkit/rewritten-timestamp`) depend on the way a layer came, and the digest must not.
 */
export const manifestText = (
  config: LayerDescriptor,
  layers: readonly LayerDescriptor[],
  stages: readonly { stage: StageName; key: StageKey }[],
): string =>
  canonical({
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: plain(config),
    layers: layers.map(plain),
    annotations: Object.fromEntries(stages.map(({ stage, key }) => [stageAnnotation(stage), key])),
  });

const plain = ({ mediaType, digest, size }: LayerDescriptor): LayerDescriptor => ({
  mediaType: ociType(mediaType),
  digest,
  size,
});

/** Docker's names for the same things; a manifest holds one family of types (OCI image spec, media-types.md, "Compatibility matrix"). */
const ociType = (mediaType: string): string => {
  switch (mediaType) {
    case "application/vnd.docker.image.rootfs.diff.tar.gzip":
      return layerType("gzip");
    case "application/vnd.docker.image.rootfs.diff.tar.zstd":
      return layerType("zstd");
    case "application/vnd.docker.image.rootfs.diff.tar":
      return mediaTypes.layer;
    case "application/vnd.docker.container.image.v1+json":
      return mediaTypes.config;
    default:
      return mediaType;
  }
};
