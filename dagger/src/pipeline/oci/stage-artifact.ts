import { FactoryError } from "../common/error.js";
import { type Ingredients, type StageKey } from "../plan/key.js";
import { canonical } from "../common/canonical.js";
import { type Descriptor, type ImageIndex, type Manifest, mediaTypes } from "./manifest.js";
import type { PlannedStage } from "../plan/types.js";
import type { StageName } from "../common/stage.js";

/**
 * A stage artifact: what an executed stage left, addressed by its key. An OCI index of two manifests, the stage's image and an artifact
 * whose blobs say what it was made from and what it holds. The same value in the state folder and in a registry, where the artifact
 * needs no referrers API (OCI image spec 1.1, "Guidelines for Artifact Usage").
 */
const artifactType = "application/vnd.image-factory.stage.v1+json";
export const partTypes = {
  /** What decided the stage's result; its hash is the key. */
  ingredients: "application/vnd.image-factory.ingredients.v1+json",
  /** What assembling on the stage must know: tens of kilobytes. */
  assembly: "application/vnd.image-factory.assembly-index.v1+json+gzip",
  /** Every path of it: megabytes, read by reports and comparisons only. */
  full: "application/vnd.image-factory.stage-index.v1+json+gzip",
} as const;
export type Part = keyof typeof partTypes;

const keyAnnotation = "io.image-factory.key";
const imageAnnotation = "io.image-factory.image";
const stageNameAnnotation = "io.image-factory.stage";
/** The config of an artifact, which has none (OCI image spec 1.1, "Guidance for an Empty Descriptor"). */
export const emptyConfig = { type: "application/vnd.oci.empty.v1+json", text: "{}" } as const;

/** The tag of a stage artifact, in a registry and in a layout's index. */
export const stageTag = (stage: StageName, key: StageKey): string => `cache-${stage}-${key}`;

/** @param image the digest of the stage's image: what the parts say is of this one, whatever an index puts beside them */
export const artifactText = (config: Descriptor, parts: Readonly<Record<Part, Descriptor>>, image: string): string =>
  canonical({
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    artifactType,
    config,
    layers: [parts.ingredients, parts.assembly, parts.full],
    annotations: { [imageAnnotation]: image },
  } satisfies Manifest);

/** Whether an artifact speaks of this image. Layers do not say which key they are of: without this an image mixed up with another would count. */
export const isArtifactOf = ({ annotations }: Partial<Manifest>, image: string): boolean =>
  annotations?.[imageAnnotation] === image;

export const stageArtifactText = (stage: StageName, key: StageKey, image: Descriptor, artifact: Descriptor): string =>
  canonical({
    schemaVersion: 2,
    mediaType: mediaTypes.index,
    manifests: [image, { ...artifact, artifactType }],
    annotations: { [stageNameAnnotation]: stage, [keyAnnotation]: key },
  } satisfies ImageIndex);

/** The key that an index says it is the stage artifact of; null for what is none. Nothing of it is checked. */
export const stageArtifactKey = ({ annotations }: Pick<Partial<ImageIndex>, "annotations">): string | null => {
  const key = annotations?.[keyAnnotation];
  return typeof key === "string" ? key : null;
};

/** Whether a manifest is the artifact of a stage artifact. */
export const isStageArtifact = (manifest: Pick<Partial<Manifest>, "artifactType">): boolean =>
  manifest.artifactType === artifactType;

/** The two halves of a stage artifact. */
export type StageArtifact = { image: Descriptor; artifact: Descriptor };

/**
 * Takes a stage artifact apart. Null for anything that is not one, or that speaks of another key: a tag is no promise.
 */
export const readStageArtifact = (index: Partial<ImageIndex>, key: string): StageArtifact | null => {
  const { manifests, annotations } = index;
  if (!Array.isArray(manifests) || manifests.length !== 2 || annotations?.[keyAnnotation] !== key) return null;
  const artifact = manifests.find((one) => one.artifactType === artifactType);
  const image = manifests.find((one) => one !== artifact && one.mediaType === mediaTypes.manifest);
  return artifact === undefined || image === undefined ? null : { image, artifact };
};

/** The blobs of an artifact by what they are; null where one is missing. */
export const partsOf = (artifact: Partial<Manifest>): Readonly<Record<Part, Descriptor>> | null => {
  const part = (type: string) => artifact.layers?.find(({ mediaType }) => mediaType === type);
  const ingredients = part(partTypes.ingredients);
  const assembly = part(partTypes.assembly);
  const full = part(partTypes.full);
  return ingredients === undefined || assembly === undefined || full === undefined ? null : { ingredients, assembly, full };
};

export const ingredientsText = (ingredients: Ingredients): string => canonical(ingredients);

/** A stage that was made again and is not what is kept of it. @param instead what to do to keep the new one */
export const notReproducible = ({ stage, key }: PlannedStage, kept: string, now: string, instead: string): FactoryError =>
  new FactoryError("NOT_REPRODUCIBLE", {
    what: `${stage} came out different from what is kept under its key ${key}`,
    why: `kept: ${kept}\nnow:  ${now}`,
    fix: `nothing was overwritten; ${instead}. A run step that reads the time or a floating package is the usual cause`,
  });
