/** How long a campaign runs: `short` in the gate, `long` by `./task test:campaign`. */
const long = process.env["CAMPAIGN"] === "long";

/** The number that all random choices of this run come from. A failure prints it; CAMPAIGN_SEED=N repeats the run. */
export const seed = Number(process.env["CAMPAIGN_SEED"] ?? Date.now() % 1_000_000_000);

/** How many rounds a campaign runs. */
export const rounds = (count: { short: number; long: number }): number => (long ? count.long : count.short);

/** A generator of random choices: the same seed and name give the same choices (mulberry32, over a hash of the name). */
export type Random = {
  /** A whole number from 0 to below `limit`. */
  below: (limit: number) => number;
  /** One of the values. @throws Error when there are none */
  oneOf: <T>(values: readonly T[]) => T;
};

export const randomOf = (name: string, from: number = seed): Random => {
  let state = [...name].reduce((sum, char) => Math.imul(sum ^ char.codePointAt(0)!, 0x01000193), from ^ 0x811c9dc5) >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
  const below = (limit: number): number => next() % limit;
  return {
    below,
    oneOf: (values) => {
      if (values.length === 0) throw new Error(`${name}: nothing to choose from`);
      return values[below(values.length)]!;
    },
  };
};

/** What a campaign saw, by outcome; printed at its end so that a run says how much it covered. */
export type Tally = { add: (outcome: string) => void; print: (title: string) => void };

export const tally = (): Tally => {
  const seen = new Map<string, number>();
  return {
    add: (outcome) => void seen.set(outcome, (seen.get(outcome) ?? 0) + 1),
    print: (title) => {
      const parts = [...seen].sort(([a], [b]) => (a < b ? -1 : 1)).map(([outcome, count]) => `${count} ${outcome}`);
      process.stdout.write(`campaign ${title} (seed ${seed}): ${parts.join(", ")}\n`);
    },
  };
};
