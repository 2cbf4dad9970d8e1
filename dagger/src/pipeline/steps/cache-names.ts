import { createHash } from "node:crypto";
import type { TrustLevel } from "../common/trust-level.js";

/** What the names of cache mounts begin with where nobody knows whose they are: a Dockerfile for others. */
export const sharedCaches = "image-factory";

/**
 * What the names of cache mounts begin with: those of one repository at one level of trust. What a step leaves in a cache is read by later
 * steps that mount it, so a branch or another project gets other caches. No key depends on it.
 * @param repository `registry/repository` of the image
 */
export const cachesOf = (repository: string, trust: TrustLevel): string => {
  const project = createHash("sha256").update(repository).digest("hex").slice(0, 16);
  return `${sharedCaches}-${trust}-${project}`;
};
