import { rmSync } from "node:fs";
import { join } from "node:path";
import { command } from "../command.js";
import { engineStop } from "../engines/embedded.js";
import { sweep } from "../io/oci-layout.js";
import { allStages, forgetStage, sweepRuns } from "../io/records.js";
import { openProject } from "../project.js";
import { bytes, plural } from "../view/table.js";

export const clean = command({
  name: "clean",
  about: "Forget what was built here and is not among the newest; with --all the whole state folder, never the user's cache",
  flags: {
    keep: { type: "string", about: "how many results to keep of each stage of each image and platform", default: "2" },
    all: { type: "boolean", about: "remove the whole state folder" },
  },
  async run({ keep, all }, world) {
    const { state } = await openProject(world);
    if (all) {
      await engineStop({ state });
      rmSync(state.root, { recursive: true, force: true });
      world.stdout(`removed ${state.root}\n`);
      return 0;
    }
    const seen = new Map<string, number>();
    const kept = new Set<string>();
    let forgotten = 0;
    for (const record of allStages(state).sort((a, b) => b.at - a.at)) {
      const line = `${record.image} ${record.platform} ${record.stage}`;
      const count = (seen.get(line) ?? 0) + 1;
      seen.set(line, count);
      if (count > Number(keep)) {
        forgetStage(state, record.key);
        forgotten += 1;
        continue;
      }
      for (const digest of [record.digest, record.ref]) if (digest !== null) kept.add(digest);
    }
    const freed = await sweep(state.layout, kept);
    rmSync(state.contexts, { recursive: true, force: true });
    rmSync(join(state.root, "hashes.json"), { force: true });
    sweepRuns(state, 10);
    world.stdout(`forgot ${plural(forgotten, "stage")}, freed ${bytes(freed)}\n`);
    return 0;
  },
});
