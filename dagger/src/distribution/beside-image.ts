import { MissingBlob } from "../oci-layout/missing-blob.js";
import { type ErrorCode, FactoryError } from "../pipeline/common/error.js";
import type { Repository } from "../registry/client.js";

/**
 * What is kept in a repository beside the image: stage artifacts, the tag of the image's keys, and marks of tags. A registry may refuse all of it
 * (GitLab's takes no artifact of an unknown type, and a login may have rights for some tags only). That never decides about the image.
 */
export type BesideImage = {
  /** After a write that failed: says once that the work goes on without it. @throws the error, where it is not the registry's */
  unkept(error: unknown): void;
  /**
   * After a read that failed: the same. A registry that answers nothing else either is no matter of what is kept beside.
   * @param needed the repository, where the image itself is written to it
   * @throws the error, where it is not a refusal of these alone
   */
  unread(needed: Repository | null, error: unknown): Promise<void>;
};

/** A read that is refused for good. An outage is waited for by running again: a stage made twice is two images under one key. */
const refusals: ReadonlySet<ErrorCode> = new Set(["REGISTRY_DENIED", "REGISTRY_FAILED"]);
const unwritten: ReadonlySet<ErrorCode> = new Set([...refusals, "REGISTRY_UNREACHABLE", "CHECKSUM_MISMATCH", "TAG_IMMUTABLE"]);

/** Of no content: who may read a repository hears that it is absent. */
const nothing = `sha256:${"0".repeat(64)}`;

/** @param warn told once at most: what the first refusal says, the others say too */
export const besideImage = (warn: (text: string) => void): BesideImage => {
  let told = false;
  const leave = ({ explanation: { what, why } }: FactoryError): void => {
    if (!told)
      warn(
        `what is kept beside the image (stages for other machines, the tag of its keys, marks of tags) is left out: ${what}: ${why.split("\n")[0]}; ` +
          "the image does not need it, and other machines may have to build its stages again",
      );
    told = true;
  };
  const isOf = (error: unknown, codes: ReadonlySet<ErrorCode>): error is FactoryError =>
    error instanceof FactoryError && !(error instanceof MissingBlob) && codes.has(error.code);
  return {
    unkept(error) {
      if (!isOf(error, unwritten)) throw error;
      leave(error);
    },
    async unread(needed, error) {
      if (!isOf(error, refusals)) throw error;
      if (needed !== null && (await needed.manifest(nothing)).state === "unknown") throw error;
      leave(error);
    },
  };
};
