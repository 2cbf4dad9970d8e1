import { spawnSync } from "node:child_process";

/** One side of a comparison: a whole process, as a user types it. */
export type Contender = {
  name: string;
  command: readonly [string, ...string[]];
  cwd: string;
  /** Beside the environment of this process; undefined takes a variable away. */
  env?: Readonly<Record<string, string | undefined>>;
  /** Makes ready what the next run needs; not timed. Rounds count from 0; -1 is the warm-up. */
  before?: (round: number) => void | Promise<void>;
  /** Looks at what the run left; not timed. */
  after?: (round: number) => void | Promise<void>;
};

/** Node's start and nothing else. */
export const nodeStart = (cwd: string): Contender => ({
  name: "node start",
  command: ["node", "--eval", "0"],
  cwd,
});

/** Milliseconds of each round, by the contender's name. */
export type Times = ReadonlyMap<string, readonly number[]>;

export type Spread = { median: number; min: number; max: number };

/**
 * Runs each contender once a round, one after the other (A B A B …), so that a machine that gets busy or hot does so for all
 * of them. A first round, which warms caches up, is not counted.
 * @throws Error with the last words of a command that fails: there is no figure for what does not work
 */
export const interleave = async (
  contenders: readonly Contender[],
  rounds: number,
  report: (line: string) => void = () => undefined,
): Promise<Times> => {
  const times = new Map<string, number[]>(contenders.map(({ name }) => [name, []]));
  for (let round = -1; round < rounds; round++) {
    const said: string[] = [];
    for (const contender of contenders) {
      await contender.before?.(round);
      const { milliseconds } = runOnce(contender);
      await contender.after?.(round);
      if (round >= 0) times.get(contender.name)?.push(milliseconds);
      said.push(`${contender.name} ${milliseconds.toFixed(0)} ms`);
    }
    report(`${round < 0 ? "warm-up" : `round ${round + 1} of ${rounds}`}: ${said.join(", ")}`);
  }
  return times;
};

/** What the `./task bench:…` around us put into the environment: its variables, the names that were typed, where it keeps its notes. */
const ofTask = new Set(["FACTORY_VARIABLES", "FACTORY_TYPED", "TASK_TEMP_DIR"]);

/** The environment of a person who types the command. They have a terminal, which a contender has not: what it builds counts as theirs. */
const asTyped = {
  ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !ofTask.has(name))),
  FACTORY_SCOPE: "protected",
};

/** @throws Error when the command exits with anything but 0 */
export const runOnce = ({
  command: [program, ...args],
  cwd,
  env = {},
}: Omit<Contender, "name" | "before" | "after">): { milliseconds: number; stdout: string; stderr: string } => {
  const began = performance.now();
  // Synchronous: nothing else of this process runs meanwhile.
  const done = spawnSync(program, args, {
    cwd,
    env: { ...asTyped, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    maxBuffer: 1 << 28,
  });
  const milliseconds = performance.now() - began;
  if (done.error !== undefined) throw new Error(`cannot run ${program}: ${done.error.message}`, { cause: done.error });
  if (done.status !== 0) {
    const words = `${String(done.stdout)}\n${String(done.stderr)}`.trim().split("\n").slice(-12).join("\n");
    throw new Error(`${[program, ...args].join(" ")} exited with ${done.status ?? done.signal}\n${words}`);
  }
  return { milliseconds, stdout: String(done.stdout), stderr: String(done.stderr) };
};

/** The middle value; the mean of the middle two where there is none. NaN of nothing. */
export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  if (sorted.length === 0) return Number.NaN;
  return Number.isInteger(middle) ? (sorted[middle - 1]! + sorted[middle]!) / 2 : sorted[Math.floor(middle)]!;
};

export const spread = (values: readonly number[]): Spread => ({
  median: median(values),
  min: Math.min(...values),
  max: Math.max(...values),
});

/** One ratio a round: only what ran side by side is compared. */
export const pairByPair = (ours: readonly number[], theirs: readonly number[]): Spread =>
  spread(ours.slice(0, theirs.length).map((value, round) => value / theirs[round]!));

/** Sums round by round, for goals such as "node's start and the other program's time". */
export const added = (...parts: readonly (readonly number[])[]): number[] =>
  (parts[0] ?? []).map((_, round) => parts.reduce((sum, part) => sum + (part[round] ?? Number.NaN), 0));
