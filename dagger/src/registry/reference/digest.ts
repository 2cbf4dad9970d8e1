import { createHash, type Hash } from "node:crypto";

/** The digest of bytes, by the algorithm that another digest names (sha256 where there is none). */
export const digestOf = (bytes: Uint8Array, like: string = "sha256:"): string => {
  const algorithm = algorithmOf(like);
  return `${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}`;
};

/** A hash to be fed piece by piece, for holding content against a digest. */
export const hashFor = (digest: string): Hash => createHash(algorithmOf(digest));

const algorithmOf = (digest: string): string => digest.slice(0, digest.indexOf(":"));
