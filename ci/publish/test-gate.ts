import { missingBlobs } from "../../dagger/src/oci-layout/blobs.js";
import { wordOf } from "../../dagger/src/pipeline/config/arguments.js";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import { type TestPolicy, testPolicies } from "../../dagger/src/pipeline/config/test-policy.js";
import type { World } from "../host/world.js";
import { lastRecord } from "../../dagger/src/build/build-stages.js";
import { ensureLocal } from "../../dagger/src/build/ensure-local.js";
import type { BuiltImage } from "../build/build-image.js";
import type { Project } from "../project/project.js";
import type { Remote } from "../remote/remote.js";

/** @throws FactoryError USAGE */
export const testPolicyOf = (text: string): TestPolicy =>
  wordOf(text, testPolicies, { what: `cannot read TEST=${text}`, known: "it is one of" });

/** Tests what was made, on each platform. @throws FactoryError IMAGE_FAILED; then the image is there by its digest, and no tag has moved */
export const testMade = async (
  { state }: Project,
  remote: Remote,
  { platforms }: BuiltImage,
  world: World,
  policy: TestPolicy,
): Promise<void> => {
  if (policy === "off") return;
  const { testImage } = await import("../image-test/test-image.js");
  for (const { plan, done } of platforms) {
    const record = lastRecord(done);
    const name = `${plan.image} for ${plan.platform}`;
    const isHere = missingBlobs(state.layout, record.digest)?.length === 0;
    if (!isHere && policy === "when-possible") {
      world.stderr(`note: ${name} is not tested: its layers are not here; TEST=required fetches them\n`);
      continue;
    }
    await ensureLocal(state, remote, record);
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
