import { createHash } from "node:crypto";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { indexLayers } from "../../dagger/src/oci-layout/index-layers.js";
import { readBlob, readManifest } from "../../dagger/src/oci-layout/blobs.js";
import type { BuildEvent } from "../../dagger/src/pipeline/common/build-event.js";
import type { ImageConfig } from "../../dagger/src/pipeline/oci/image-config.js";
import { canonical } from "../../dagger/src/pipeline/common/canonical.js";
import type { StageEntry } from "../../dagger/src/pipeline/contents/file-entry.js";
import type { StageName } from "../../dagger/src/pipeline/common/stage.js";
import type { BuiltStage, Layer } from "../../dagger/src/pipeline/verify/judge.js";
import type { StageResult } from "../../dagger/src/build/stage-result.js";
import type { OpenImage } from "../project/project.js";
import type { State } from "../state/state.js";

/** What a build left, read from the layout: the manifest and config of each stage, and nothing that a record says of them. */
export const heldOf = (layout: string, done: readonly StageResult[]): Map<StageName, BuiltStage> => {
  const held = new Map<StageName, BuiltStage>();
  const below = new Set<string>();
  for (const { decision, record } of done) {
    if (record === null) continue;
    const { layers, config } = readManifest(layout, record.digest);
    const { rootfs, history = [], config: settings = {} } = readBlob<ImageConfig>(layout, config.digest);
    const makers = history.filter((entry) => entry.empty_layer !== true);
    const all = layers.map(({ mediaType, digest, size }, at): Layer => ({
      mediaType,
      digest,
      size,
      diffId: rootfs.diff_ids[at] ?? "",
      createdBy: makers[at]?.created_by ?? "",
    }));
    const own = all.filter(({ digest }) => !below.has(digest));
    held.set(decision.stage.stage, { digest: record.digest, layers: own, settings: canonical(settings) });
    for (const { digest } of own) below.add(digest);
  }
  return held;
};

/** The events of a run, from its log; a run without any has none. */
export const eventsIn = (log: string): BuildEvent[] =>
  (existsSync(log) ? readFileSync(log, "utf8") : "").split("\n").flatMap(eventIn);

/** A line that a run did not get to write whole says nothing. */
const eventIn = (line: string): BuildEvent[] => {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null && "type" in value ? [value as BuildEvent] : [];
  } catch {
    return [];
  }
};

/** Changes whenever an engine of our own is started or stopped: each writes into that folder. Null before the first. */
export const engineMark = ({ engine }: State): bigint | null =>
  statSync(engine, { bigint: true, throwIfNoEntry: false })?.mtimeNs ?? null;

/** What layers hold, path by path; null for layers that cannot be read by themselves (a hard link into one below). */
const contentOf = async (
  layout: string,
  layers: readonly Layer[],
  signal: AbortSignal,
): Promise<readonly StageEntry[] | null> => {
  try {
    return (await indexLayers(layout, layers, null, signal)).entries;
  } catch (error) {
    if (signal.aborted) throw error;
    return null;
  }
};

/** Paths that are named when layers differ. */
const shown = 3;

/** The first paths in which two sets of layers differ. */
export const pathsBetween = async (
  layout: string,
  was: readonly Layer[],
  now: readonly Layer[],
  signal: AbortSignal,
): Promise<string[]> => {
  if (was.map(({ digest }) => digest).join() === now.map(({ digest }) => digest).join()) return [];
  const [before, after] = [await contentOf(layout, was, signal), await contentOf(layout, now, signal)];
  if (before === null || after === null) return [];
  const texts = new Map(before.map((entry) => [entry.path, canonical(entry)]));
  const changed = after.filter((entry) => texts.get(entry.path) !== canonical(entry)).map(({ path }) => path);
  const there = new Set(after.map(({ path }) => path));
  return [...changed, ...[...texts.keys()].filter((path) => !there.has(path))].slice(0, shown);
};

/** Modes of files that are copied; a step may set another one. */
const plain = new Set(["644", "755"]);

/** Those of the files whose present content, with its executable bit, stands in none of the layers. */
export const absentFrom = async (
  layout: string,
  held: readonly BuiltStage[],
  { folder }: OpenImage,
  paths: readonly string[],
  signal: AbortSignal,
): Promise<string[]> => {
  if (paths.length === 0) return [];
  const contents = await Promise.all(held.map(({ layers }) => contentOf(layout, layers, signal)));
  const found = contents.flatMap((entries) => entries ?? []);
  return paths.filter((path) => {
    const sha256 = createHash("sha256")
      .update(readFileSync(join(folder, path)))
      .digest("hex");
    const mode = (statSync(join(folder, path)).mode & 0o100) === 0 ? "644" : "755";
    return !found.some((entry) => entry.sha256 === sha256 && (entry.mode === mode || !plain.has(entry.mode)));
  });
};
