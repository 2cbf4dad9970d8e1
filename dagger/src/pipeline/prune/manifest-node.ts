import { isMark } from "../oci/tag-origin.js";
import { type Descriptor, type ImageIndex, type Manifest, mediaTypes, stageKeysOf } from "../oci/manifest.js";
import { isStageArtifact, stageArtifactKey } from "../oci/stage-artifact.js";
import { stageNames } from "../common/stage.js";

/** A manifest or index of a repository, as far as pruning must know it. */
export type ManifestNode = {
  digest: string;
  tags: readonly string[];
  /** The manifests that it names, in its order: without one of them it cannot be pulled whole. */
  members: readonly string[];
  /** What it is attached to (OCI image spec 1.1, `subject`): a signature, an attestation. */
  subject: string | null;
  /** The key of the stage whose result it is: of a stage artifact, or the highest one of an image. */
  makes: string | null;
  isStageArtifact: boolean;
  /** The keys of all stages that it holds, its own with them. */
  holds: readonly string[];
  /** Whether it is image-factory's own by what it says, or by what is remembered of it. */
  ours: boolean;
  /** What it names beside manifests: layers and configs. */
  blobs: readonly Pick<Descriptor, "digest" | "size">[];
  /** Bytes of itself. */
  size: number;
  /** Since when it is there at least; milliseconds since the Unix epoch. Null where nobody knows. */
  since: number | null;
};

/** What prune remembers between its runs stands under this tag (ci/prune/first-seen.ts). */
export const seenTag = "cache-seen";
export const seenType = "application/vnd.image-factory.seen.v1+json";

const ownTag = new RegExp(`^(?:cache-(?:${stageNames.join("|")})-|key-|key-branch-)[0-9a-f]{24}$`);

/**
 * Tags that publish and prune make, and nobody else: `cache-<stage>-<key>`, `key-<key>`, `key-branch-<key>`, `cache-seen`. All others are a person's, and
 * so is `mark-<tag>`: a mark stays as long as nobody deletes it, and the one that another took the place of has no tag any more.
 */
export const isOwnTag = (tag: string): boolean => tag === seenTag || ownTag.test(tag);

/** Docker's names for an index and a manifest. */
const dockerTypes = new Set([
  "application/vnd.docker.distribution.manifest.list.v2+json",
  "application/vnd.docker.distribution.manifest.v2+json",
]);
const isManifestType = (mediaType: unknown): boolean =>
  mediaType === mediaTypes.index || mediaType === mediaTypes.manifest || dockerTypes.has(String(mediaType));

type Anything = Partial<Omit<Manifest, "mediaType"> & ImageIndex> & { subject?: Partial<Descriptor> };

/**
 * Reads what a repository has under a digest. Whatever it is, it becomes a node: what is not understood names nothing.
 * An index may name blobs too (BuildKit's cache of `mode=max` does): they are no members.
 */
export const manifestNode = (
  digest: string,
  bytes: Uint8Array,
  more: Pick<ManifestNode, "tags" | "since"> & { remembered: boolean },
): ManifestNode => {
  const value = parsed(bytes);
  const named = list(value.manifests);
  const refKey = stageArtifactKey(value);
  const holds = refKey === null ? stageKeysOf(value) : [refKey];
  return {
    digest,
    tags: [...more.tags].sort(),
    members: [...new Set(named.filter(({ mediaType }) => isManifestType(mediaType)).map((one) => one.digest))],
    subject: typeof value.subject?.digest === "string" ? value.subject.digest : null,
    makes: holds.at(-1) ?? null,
    isStageArtifact: refKey !== null,
    holds,
    ours: more.remembered || holds.length > 0 || isStageArtifact(value) || isMark(value) || value.artifactType === seenType,
    blobs: [
      ...named.filter(({ mediaType }) => !isManifestType(mediaType)),
      ...list(value.config === undefined ? [] : [value.config]),
      ...list(value.layers),
    ].map(({ digest, size }) => ({ digest, size })),
    size: bytes.length,
    since: more.since,
  };
};

const parsed = (bytes: Uint8Array): Anything => {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString("utf8"));
    return typeof value === "object" && value !== null ? (value as Anything) : {};
  } catch {
    return {};
  }
};

/** Descriptors that can be used; a registry takes anything as a manifest. */
const list = (value: unknown): Descriptor[] =>
  Array.isArray(value)
    ? (value as Partial<Descriptor>[]).filter(
        (one): one is Descriptor => typeof one?.digest === "string" && typeof one.size === "number",
      )
    : [];
