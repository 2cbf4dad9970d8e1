import { cpus, release, totalmem } from "node:os";
import { bytes, table } from "../dagger/src/pipeline/common/format.js";
import type { Traffic } from "./crane.js";
import { type Contender, pairByPair, type Spread, spread, type Times } from "./interleave.js";

/** What the issue asks for, and what this run says to it. `value` and `limit` are in the same unit. */
export type Goal = { text: string; limit: number; unit: "×" | "MB" | "calls" | "files" | "ms"; value: Spread; how: string };

export type Report = {
  title: string;
  /** What was made to be measured, and what was left out. */
  setup: readonly string[];
  versions: Readonly<Record<string, string>>;
  rounds: number;
  contenders: readonly Pick<Contender, "name" | "command">[];
  times: Times;
  /** Bytes of each round over the registry's connections, by the contender's name; for reports about those. */
  traffic?: ReadonlyMap<string, readonly Traffic[]>;
  goals: readonly Goal[];
  /** What a reader must know to take the figures for what they are. */
  remarks: readonly string[];
};

/** A goal of the form "ours within `limit` × theirs", pair by pair. */
export const ratioGoal = (
  text: string,
  limit: number,
  ours: readonly number[],
  theirs: readonly number[],
  how: string,
): Goal => ({
  text,
  limit,
  unit: "×",
  value: pairByPair(ours, theirs),
  how,
});

const machine = () => ({
  cores: cpus().length,
  processor: cpus()[0]?.model ?? "unknown",
  memory: bytes(totalmem()),
  kernel: release(),
  node: process.version,
});

/** Results on stdout: text for a person, or JSON (`format: 1`) for a program. Missing a goal is no failure of the run. */
export const print = (report: Report, argv: readonly string[]): void => {
  process.stdout.write(argv.includes("--json") ? `${JSON.stringify(asData(report), null, 2)}\n` : asText(report));
};

/** The first argument that is a whole number, or what is usual. */
export const roundsOf = (argv: readonly string[], usual: number): number => {
  const asked = argv.find((word) => /^[1-9]\d*$/.test(word));
  return asked === undefined ? usual : Number(asked);
};

const met = ({ value, limit }: Goal): boolean => value.median <= limit;

const asData = ({ times, traffic, contenders, goals, ...report }: Report) => ({
  format: 1,
  ...report,
  machine: machine(),
  contenders: contenders.map(({ name, command }) => ({
    name,
    command,
    milliseconds: times.get(name) ?? [],
    ...spread(times.get(name) ?? []),
    ...(traffic === undefined ? {} : { traffic: traffic.get(name) ?? [] }),
  })),
  goals: goals.map((goal) => ({ ...goal, met: met(goal) })),
});

const asText = ({ title, setup, versions, rounds, contenders, times, traffic, goals, remarks }: Report): string => {
  const { cores, processor, memory, kernel, node } = machine();
  const rows = contenders.map(({ name, command }) => {
    const { median, min, max } = spread(times.get(name) ?? []);
    const moved = traffic?.get(name);
    const columns = traffic === undefined ? [] : [usual(moved, "up"), usual(moved, "down")];
    return [name, milliseconds(median), `${milliseconds(min)} – ${milliseconds(max)}`, ...columns, shown(command)];
  });
  const verdicts = goals.map((goal) => [
    met(goal) ? "met" : "NOT met",
    goal.text,
    `${figure(goal.value.median, goal.unit)} (${figure(goal.value.min, goal.unit)} – ${figure(goal.value.max, goal.unit)})`,
    goal.how,
  ]);
  return [
    title,
    ...setup.map((line) => `  ${line}`),
    `  ${cores} × ${processor}, ${memory}, Linux ${kernel}, Node ${node}, ${Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(", ")}`,
    "",
    `${rounds} rounds, one after the other, after a round that does not count`,
    table([["what", "median", "min – max", ...(traffic === undefined ? [] : ["up", "down"]), "command"], ...rows]),
    "",
    "goals (median of the pairs, min – max)",
    table(verdicts),
    ...(remarks.length === 0 ? [] : ["", ...remarks]),
    "",
  ].join("\n");
};

const usual = (moved: readonly Traffic[] = [], way: keyof Traffic): string =>
  moved.length === 0 ? "–" : bytes(spread(moved.map((one) => one[way])).median);

const milliseconds = (value: number): string => (value >= 10_000 ? `${(value / 1000).toFixed(1)} s` : `${value.toFixed(0)} ms`);

const figure = (value: number, unit: Goal["unit"]): string =>
  unit === "×" ? `${value.toFixed(2)} ×` : `${value.toFixed(0)} ${unit}`;

const shown = (command: readonly string[]): string =>
  command.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)).join(" ");
