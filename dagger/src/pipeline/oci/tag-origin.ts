import { canonical } from "../common/canonical.js";
import { type Descriptor, type Manifest, mediaTypes } from "./manifest.js";
import { isManifest } from "./guards.js";

/**
 * Which commit a tag was moved for. An image's digest does not depend on its commit, so the commit stands beside it: in a small artifact
 * under the tag `mark-<tag>`, put before the tag itself moves. A tag never goes back to an older commit because that one's build ended
 * later: whoever moves `latest` reads its mark first. Two that read and move at the very same moment are beyond what a registry can order.
 */
export type TagOrigin = {
  tag: string;
  /** The commit; null where a person put the tag there (promote): from then on only later commits move it. */
  commit: string | null;
  /** When it was committed, or put there; seconds since the Unix epoch. */
  time: number;
  digest: string;
};

export type Commit = {
  /** 40 or 64 hexadecimal digits. */
  id: string;
  /** When it was committed; seconds since the Unix epoch. */
  time: number;
};

/**
 * How the commit of a mark stands to the one that is published, as far as git knows: before it, after it, on another branch
 * (or beyond what a shallow clone has), or not known at all.
 */
export type Relation = "same" | "before" | "after" | "diverged" | "unknown";

const artifactType = "application/vnd.image-factory.mark.v1+json";
const annotation = {
  tag: "io.image-factory.mark.tag",
  digest: "io.image-factory.mark.digest",
  commit: "org.opencontainers.image.revision",
  time: "io.image-factory.mark.time",
} as const;

export const originTagOf = (tag: string): string => `mark-${tag}`;

/** A tag has up to 128 characters (OCI distribution spec 1.1, "Pulling manifests"). */
const longest = 128 - originTagOf("").length;

/** One release, one commit or one run: 1.4.0, v2.0.0-rc.1, 9f2c41d, sha-9f2c41d, 2026-11-25, build-77. */
const fixed = [/^v?\d+\.\d+\.\d+/, /^(?:[a-z]+-)?[0-9a-f]{7,64}$/, /^\d{4}-?\d{2}-?\d{2}/, /^(?:build|run|job)-?\d+$/];

/** Whether a tag is one that moves with a branch (latest, main, stable, 1.4), and so has a mark. One that names a release or a commit has none. */
export const isMoving = (tag: string): boolean => tag.length <= longest && !fixed.some((pattern) => pattern.test(tag));

/** @param config the empty config, which stands for the content too: the mark is in the annotations */
export const tagOriginText = ({ tag, commit, time, digest }: TagOrigin, config: Descriptor): string =>
  canonical({
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    artifactType,
    config,
    layers: [config],
    annotations: {
      [annotation.tag]: tag,
      [annotation.digest]: digest,
      ...(commit === null ? {} : { [annotation.commit]: commit }),
      [annotation.time]: new Date(time * 1000).toISOString(),
    },
  } satisfies Manifest);

/** Reads a mark. Null for anything that is none of this tag: it says nothing, and the next move puts a right one in its place. */
export const readMark = (value: unknown, tag: string): TagOrigin | null => {
  if (!isManifest(value) || value.artifactType !== artifactType || value.annotations?.[annotation.tag] !== tag) return null;
  const digest = value.annotations[annotation.digest] ?? "";
  const commit = value.annotations[annotation.commit] ?? null;
  const time = Date.parse(value.annotations[annotation.time] ?? "") / 1000;
  const holds = /^sha256:[0-9a-f]{64}$/.test(digest) && (commit === null || isCommitId(commit)) && Number.isFinite(time);
  return holds ? { tag, commit, time, digest } : null;
};

/** Whether a manifest is a mark, of whatever tag. */
export const isMark = (manifest: Pick<Partial<Manifest>, "artifactType">): boolean => manifest.artifactType === artifactType;

export const isCommitId = (text: string): boolean => /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(text);

/** Why a tag stays where it is; null where it may move. Git's word counts where it knows both commits, else the commits' times. */
export const staleMoveReason = (mark: TagOrigin, mine: Commit, relation: Relation): string | null => {
  const stands = mark.commit === null ? "it was put there by hand" : `it is of ${mark.commit.slice(0, 12)}`;
  switch (relation) {
    case "same":
    case "before":
      return null;
    case "after":
      return `${stands}, which comes after ${mine.id.slice(0, 12)}`;
    case "diverged":
    case "unknown":
      return mark.time > mine.time
        ? `${stands}${mark.commit === null ? ", at" : " of"} ${dateOf(mark.time)}, and ${mine.id.slice(0, 12)} is of ${dateOf(mine.time)}`
        : null;
  }
};

const dateOf = (time: number): string => new Date(time * 1000).toISOString().replace(/\.\d{3}Z$/, "Z");
