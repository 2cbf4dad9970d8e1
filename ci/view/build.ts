import type { BuildRecord } from "../../dagger/src/pipeline/common/build-record.js";
import { bytes, plural, seconds, table } from "../../dagger/src/pipeline/common/format.js";

const did = {
  reuse: "reused",
  execute: "executed",
  assemble: "assembled",
  compare: "executed again: equal",
} as const;

/** The stage whose result holds a lower one, which is not known by itself. */
const holderOf = (stages: BuildRecord["platforms"][number]["stages"], at: number): string =>
  stages.slice(at).find(({ digest }) => digest !== null)?.stage ?? "a stage above";

/** How a build ends: digest, size per stage, what was reused, seconds, and what to type next. */
export const buildSummary = (record: BuildRecord, { log, wrote }: { log: string; wrote: string | null }): string => {
  const blocks = record.platforms.map(({ platform, digest, stages }) => {
    const rows = stages.map((stage, at): string[] => [
      stage.stage,
      stage.key.slice(0, 12),
      did[stage.action],
      stage.digest === null ? `in ${holderOf(stages, at)}` : `${bytes(stage.bytes)} in ${plural(stage.layers, "layer")}`,
      stage.action === "reuse" ? "" : seconds(stage.seconds * 1000),
    ]);
    const total = stages.reduce((sum, stage) => sum + stage.bytes, 0);
    const layers = stages.reduce((sum, stage) => sum + stage.layers, 0);
    return `${record.image} for ${platform}\n${table([...rows, ["total", "", "", `${bytes(total)} in ${plural(layers, "layer")}`, seconds(record.seconds * 1000)]])}\n${digest}`;
  });
  const index = record.platforms.length > 1 ? [`index of ${plural(record.platforms.length, "platform")}\n${record.digest}`] : [];
  const next =
    wrote === null
      ? `next: ./task shell IMAGE=${record.image}, or ./task build IMAGE=${record.image} OUTPUT=docker:image.tar`
      : `wrote ${wrote}`;
  return `${[...blocks, ...index].join("\n\n")}\n${next}\nlog: ${log}\n`;
};
