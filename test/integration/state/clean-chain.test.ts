import { appendFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { allStages, findStage } from "../../../ci/state/records.js";
import { stateOf } from "../../../ci/state/state.js";
import { readManifest } from "../../../dagger/src/oci-layout/blobs.js";
import { built, command } from "../support/command.js";
import { openToolbox } from "../support/toolbox.js";

test("clean leaves nothing without what it is built on", async () => {
  const box = await openToolbox();
  try {
    const project = await box.checkout();
    const state = await box.machine("executed");
    const local = () => stateOf(project, { FACTORY_STATE: state }, "protected");

    // Many results of application and runtime on the same dependencies, and dependencies of another branch that are newer.
    for (const line of ["one", "two", "three"]) {
      await appendFile(join(project, "app/main.sh"), `# ${line}\n`);
      await built(project, state);
    }
    for (const branch of ["a", "b", "c"]) {
      const elsewhere = await box.checkout();
      await writeFile(join(elsewhere, "requirements.txt"), `${branch}==1.0\n`);
      await box.executed(state, elsewhere);
      await built(elsewhere, state);
    }
    for (const keep of ["2", "1"]) {
      expect((await command(project, state, "clean", ["--keep", keep])).code).toBe(0);
      const records = allStages(local());
      const digests = new Set(records.map((record) => record.digest));
      expect(records.filter(({ parent }) => parent !== null && !digests.has(parent))).toEqual([]);
      for (const { key, digest: left } of records) {
        expect(findStage(local(), key)?.digest).toBe(left);
        expect(readManifest(local().layout, left).layers.length).toBeGreaterThan(0);
      }
    }
    // What is not the newest is made again from what is left, or there is no engine to make it: it is never another image.
    const again = await command(project, state, "build", ["--json"]);
    expect([0, 69]).toContain(again.code);
  } finally {
    await box.close();
  }
});
