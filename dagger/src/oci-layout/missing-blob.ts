import { FactoryError } from "../pipeline/common/error.js";

/** Builds everything again, and keeps the new result. */
export const rebuild = { run: "build", words: { NO_CACHE: "1", REFRESH: "1" } } as const;

/**
 * A blob that a kept stage names, and that can be had from nowhere: neither from the layout nor from any repository. The stage is as
 * good as absent: who can make it again does so (dagger/src/build/rebuild-damaged.ts), and for everybody else this is an error like others.
 */
export class MissingBlob extends FactoryError {
  readonly digest: string;

  /**
   * @param where in words: what was asked for it, and what came of that
   * @param code CHECKSUM_MISMATCH where no registry was asked
   */
  constructor(
    digest: string,
    where: string,
    { code = "REGISTRY_FAILED", cause }: ErrorOptions & { code?: "REGISTRY_FAILED" | "CHECKSUM_MISMATCH" } = {},
  ) {
    super(code, {
      what: `a part of a kept stage cannot be had: ${digest.slice(0, 19)}`,
      why: `${digest}: ${where}`,
      fix: ["build the stage again: ", rebuild],
      cause,
    });
    this.name = "MissingBlob";
    this.digest = digest;
  }
}
