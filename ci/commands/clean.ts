import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { keepOf } from "../../dagger/src/pipeline/config/arguments.js";
import { command } from "../cli/command.js";
import { type World } from "../host/world.js";
import { engineStop } from "../engines/embedded/lease.js";
import { sweep } from "../state/layout-index.js";
import { allLastKeys, allStages, forgetStage, recordedKeys, sweepRuns } from "../state/records.js";
import type { StageRecord } from "../../dagger/src/build/stage-record.js";
import { aloneInState } from "../state/state-lock.js";
import { requireWritable, type State, stateParts } from "../state/state.js";
import { openProject } from "../project/project.js";
import { bytes, plural } from "../../dagger/src/pipeline/common/format.js";

export const clean = command({
  name: "clean",
  about: "Remove results on this machine that are not among the newest",
  more: "with --all the whole state folder, never the user's cache",
  flags: {
    keep: { type: "string", about: "how many results to keep of each stage of each image and platform", default: "2" },
    all: { type: "boolean", about: "remove the whole state folder" },
  },
  async run({ keep, all }, world) {
    const newest = keepOf(keep, "results of each stage", "./task clean KEEP=5");
    const { state } = await openProject(world);
    requireWritable(state);
    return aloneInState(state, world, () => (all ? forgetAll(state, world) : forgetOld(state, newest, world)));
  },
});

const forgetAll = async (state: State, world: World): Promise<number> => {
  await engineStop({ state });
  for (const part of stateParts) rmSync(join(state.root, part), { recursive: true, force: true });
  const left = existsSync(state.root) ? readdirSync(state.root) : [];
  if (left.length === 0) rmSync(state.root, { recursive: true, force: true });
  else world.stderr(`note: left in ${state.root}, because it was not created by image-factory: ${left.slice(0, 5).join(", ")}\n`);
  world.stdout(`removed ${left.length === 0 ? "" : "what was built here from "}${state.root}\n`);
  return 0;
};

/** Records first, then blobs: what is interrupted leaves blobs that nothing needs, and never a record without its blobs. */
const forgetOld = async (state: State, newest: number, world: World): Promise<number> => {
  const kept = keptRecords(state, newest);
  const forgotten = recordedKeys(state).filter((key) => !kept.has(key));
  for (const key of forgotten) forgetStage(state, key);
  const freed = await sweep(state.layout, new Set([...kept.values()].map(({ digest, ref }) => ref ?? digest)));
  rmSync(state.contexts, { recursive: true, force: true });
  rmSync(join(state.root, "hashes.json"), { force: true });
  sweepRuns(state, 10);
  world.stdout(`forgot ${plural(forgotten.length, "stage")}, freed ${bytes(freed)}\n`);
  return 0;
};

/**
 * The newest results of each stage of each image and platform, however old those of the last build, and all that these are built on: what
 * stays is closed under "is built on". What cannot be used (damaged, or assembled on a result that is gone) does not stay.
 */
const keptRecords = (state: State, newest: number): ReadonlyMap<string, StageRecord> => {
  const all = allStages(state).sort((a, b) => b.at - a.at);
  const below = ({ parent, image, platform }: StageRecord): StageRecord[] =>
    parent === null ? [] : all.filter((one) => one.digest === parent && one.image === image && one.platform === platform);
  // An executed stage holds what is below it (it has a ref); an assembled one is nothing without it.
  const isUsable = (record: StageRecord): boolean =>
    record.parent === null || record.ref !== null || below(record).some(isUsable);
  const usable = all.filter(isUsable);
  const inUse = allLastKeys(state);
  const counts = new Map<string, number>();
  const isKept = ({ key, image, platform, stage }: StageRecord): boolean => {
    const line = `${image} ${platform} ${stage}`;
    const count = (counts.get(line) ?? 0) + 1;
    counts.set(line, count);
    return count <= newest || inUse.has(key);
  };
  const kept = new Map<string, StageRecord>();
  const keep = (record: StageRecord): void => {
    if (kept.has(record.key)) return;
    kept.set(record.key, record);
    below(record).forEach(keep);
  };
  usable.filter(isKept).forEach(keep);
  return kept;
};
