import { missingBlobs } from "../dagger/src/layout.js";
import { FactoryError } from "../dagger/src/pipeline/error.js";
import { suggestion } from "../dagger/src/pipeline/suggest.js";
import type { World } from "./command.js";
import { lastRecord, type MadeImage } from "./make-image.js";
import type { Project } from "./project.js";
import { bringHere, type Remote } from "./remote.js";

/**
 * Whether an image is tested between its push by digest and its tags. off: no. when-possible: where all its bytes are here and this machine
 * can run it; what cannot be tried is told and holds nothing up. required: its bytes are fetched, and without a pass no tag moves.
 */
export type TestPolicy = "off" | "when-possible" | "required";
const policies: readonly TestPolicy[] = ["off", "when-possible", "required"];

/** @throws FactoryError USAGE */
export const testPolicyOf = (text: string): TestPolicy => {
  const known = policies.find((policy) => policy === text);
  if (known !== undefined) return known;
  throw new FactoryError("USAGE", {
    what: `cannot read TEST=${text}`,
    why: `it is one of: ${policies.join(", ")}`,
    fix: suggestion(text, policies),
  });
};

/** Tests what was made, on each platform. @throws FactoryError IMAGE_FAILED; then the image is there by its digest, and no tag has moved */
export const testMade = async (
  { state }: Project,
  remote: Remote,
  { platforms }: MadeImage,
  world: World,
  policy: TestPolicy,
): Promise<void> => {
  if (policy === "off") return;
  const { testImage } = await import("./test-image.js");
  for (const { plan, done } of platforms) {
    const record = lastRecord(done);
    const name = `${plan.image} for ${plan.platform}`;
    const isHere = missingBlobs(state.layout, record.digest)?.length === 0;
    if (!isHere && policy === "when-possible") {
      world.stderr(`note: ${name} is not tested: its layers are not here; TEST=required fetches them\n`);
      continue;
    }
    await bringHere(state, remote, record);
    const { verdict, checks } = await testImage(state, plan, record.digest, world);
    if (verdict === "pass") world.stderr(`${name} is tested: ${checks.length} checks\n`);
    else if (verdict === "not-tested" && policy === "when-possible")
      world.stderr(`note: ${name} is not tested: ./task test:image IMAGE=${plan.image} says why\n`);
    else {
      throw new FactoryError("IMAGE_FAILED", {
        what: `${name} ${verdict === "fail" ? "does not pass its test" : "could not be tested"}`,
        why: `${record.digest} is in the registry by its digest; no tag has moved`,
        fix: `./task test:image IMAGE=${plan.image}`,
      });
    }
  }
};
