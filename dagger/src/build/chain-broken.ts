import { rebuild } from "../oci-layout/missing-blob.js";
import { FactoryError } from "../pipeline/common/error.js";

/**
 * A stage that would be built on something else than the result of the stage below, or an image that is not what its plan says. Nothing
 * was built or published. A caller may decide again, from what is available now (rebuild-damaged.ts).
 */
export class ChainBroken extends FactoryError {
  constructor(what: string, why: string) {
    super("CACHE_BROKEN", {
      what,
      why,
      fix: ["build the image again: ", rebuild, "; to remove all that is kept: ", { run: "clean", flags: "--all" }],
    });
    this.name = "ChainBroken";
  }
}
