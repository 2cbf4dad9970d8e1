import type { Item } from "./go-regexp.js";

/**
 * Whether an expression matches somewhere in a text, in time that grows with the length of the expression times that of the text, whatever
 * they hold (Thompson's simulation: all ways are followed at once). JavaScript's own expressions try one way after the other, and
 * `a*a*a*a*b` has more ways than anybody waits for.
 */
export const linearMatcher = (items: readonly Item[]): ((text: string) => boolean) => {
  const ways = alternatives(items).map(compiled);
  // Few repetitions in a short text cannot take long, and JavaScript is then faster.
  const quick = repetitions(items) <= 2 ? new RegExp(sourceOf(items), "u") : null;
  return (text) => (quick !== null && text.length <= short ? quick.test(text) : ways.some((way) => matches(way, [...text])));
};

const short = 256;

const repetitions = (items: readonly Item[]): number =>
  items.filter(({ kind }) => kind === "many" || kind === "folders" || kind === "or").length;

const asserted = { start: "^", end: "$", word: "\\b", "no-word": "\\B" } as const;

/** The same expression as JavaScript writes it, for its `u` flag. */
export const sourceOf = (items: readonly Item[]): string =>
  items
    .map((item) => {
      if (item.kind === "one") return item.set;
      if (item.kind === "many") return `${item.set}*`;
      if (item.kind === "folders") return "(?:[^\\n]*/)?";
      if (item.kind === "assert") return asserted[item.that];
      return "|";
    })
    .join("");

const alternatives = (items: readonly Item[]): Item[][] => {
  const ways: Item[][] = [[]];
  for (const item of items) {
    if (item.kind === "or") ways.push([]);
    else ways.at(-1)!.push(item);
  }
  return ways;
};

type Has = (char: string) => boolean;
type Step =
  | { kind: "one" | "many"; has: Has }
  /** May go on at another step, too. */
  | { kind: "skip"; to: number }
  | { kind: "assert"; that: keyof typeof asserted };

const compiled = (items: readonly Item[]): Step[] => {
  const steps: Step[] = [];
  for (const item of items) {
    if (item.kind === "folders") {
      steps.push({ kind: "skip", to: steps.length + 3 }, { kind: "many", has: (char) => char !== "\n" });
      steps.push({ kind: "one", has: (char) => char === "/" });
    } else if (item.kind === "one" || item.kind === "many") steps.push({ kind: item.kind, has: remembered(item.set) });
    else if (item.kind === "assert") steps.push(item);
  }
  return steps;
};

const remembered = (set: string): Has => {
  const expression = new RegExp(`^${set}$`, "u");
  const known = new Map<string, boolean>();
  return (char) => {
    let has = known.get(char);
    if (has === undefined) known.set(char, (has = expression.test(char)));
    return has;
  };
};

const isWord = (char: string | undefined): boolean => char !== undefined && /^\w$/.test(char);

const holds = (that: keyof typeof asserted, chars: readonly string[], at: number): boolean => {
  if (that === "start") return at === 0;
  if (that === "end") return at === chars.length;
  return (isWord(chars[at - 1]) !== isWord(chars[at])) === (that === "word");
};

const matches = (steps: readonly Step[], chars: readonly string[]): boolean => {
  /** By step, the last place at which it was entered. */
  const entered = new Int32Array(steps.length + 1).fill(-1);
  const waiting: number[] = [];
  const [now, next]: [number[], number[]] = [[], []];
  for (let at = 0; ; at++) {
    // A match may begin anywhere.
    waiting.push(0, ...next);
    now.length = 0;
    for (let step = waiting.pop(); step !== undefined; step = waiting.pop()) {
      if (entered[step] === at) continue;
      entered[step] = at;
      const one = steps[step];
      if (one === undefined) return true;
      if (one.kind === "skip") waiting.push(one.to, step + 1);
      else if (one.kind !== "assert") now.push(step);
      if (one.kind === "many" || (one.kind === "assert" && holds(one.that, chars, at))) waiting.push(step + 1);
    }
    if (at === chars.length) return false;
    next.length = 0;
    for (const step of now) {
      const one = steps[step] as Extract<Step, { has: Has }>;
      if (one.has(chars[at]!)) next.push(one.kind === "many" ? step : step + 1);
    }
  }
};
