import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { keepOf } from "../../dagger/src/pipeline/argument.js";
import { command } from "../command.js";
import { engineStop } from "../engines/embedded.js";
import { sweep } from "../io/oci-layout.js";
import { allLastKeys, allStages, forgetStage, sweepRuns } from "../io/records.js";
import { stateParts } from "../io/state.js";
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
    const newest = keepOf(keep, "results of each stage", "./task clean KEEP=5");
    const { state } = await openProject(world);
    if (all) {
      await engineStop({ state });
      for (const part of stateParts) rmSync(join(state.root, part), { recursive: true, force: true });
      const left = existsSync(state.root) ? readdirSync(state.root) : [];
      if (left.length === 0) rmSync(state.root, { recursive: true, force: true });
      else world.stderr(`note: left in ${state.root}, because it is none of ours: ${left.slice(0, 5).join(", ")}\n`);
      world.stdout(`removed ${left.length === 0 ? "" : "what was built here from "}${state.root}\n`);
      return 0;
    }
    // However old: what the last build of an image stands on is in use.
    const inUse = allLastKeys(state);
    const seen = new Map<string, number>();
    const kept = new Set<string>();
    let forgotten = 0;
    for (const record of allStages(state).sort((a, b) => b.at - a.at)) {
      const line = `${record.image} ${record.platform} ${record.stage}`;
      const count = (seen.get(line) ?? 0) + 1;
      seen.set(line, count);
      if (count > newest && !inUse.has(record.key)) {
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
