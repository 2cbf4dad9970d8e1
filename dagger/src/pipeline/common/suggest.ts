/** Edit distance with neighbouring swaps (optimal string alignment), for did-you-mean. */
const distance = (a: string, b: string): number => {
  const rows: number[][] = Array.from({ length: a.length + 1 }, (_, i) => [i, ...Array<number>(b.length).fill(0)]);
  for (let j = 0; j <= b.length; j++) rows[0]![j] = j;
  for (let i = 1; i <= a.length; i++) {
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      let best = Math.min(rows[i - 1]![j]! + 1, rows[i]![j - 1]! + 1, rows[i - 1]![j - 1]! + cost);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) best = Math.min(best, rows[i - 2]![j - 2]! + 1);
      rows[i]![j] = best;
    }
  }
  return rows[a.length]![b.length]!;
};

/** The known word that is fewest edits away, if they are no more than the limit. */
const within = (word: string, known: Iterable<string>, limit: number): string | null => {
  let best: { name: string; edits: number } | null = null;
  for (const name of known) {
    if (Math.abs(name.length - word.length) > limit) continue;
    const edits = distance(word.toLowerCase(), name.toLowerCase());
    if (edits <= limit && (best === null || edits < best.edits)) best = { name, edits };
  }
  return best?.name ?? null;
};

/** One of many names (packages, files of an archive) that a person most likely meant: at most two edits away, one for short names. */
export const closest = (name: string, known: Iterable<string>): string | null => within(name, known, name.length < 5 ? 1 : 2);

/** "did you mean x?" or the list of what is known, so that a typo never costs a look into the manual. */
export const suggestion = (word: string, known: readonly string[]): string => {
  const near = within(word, known, Math.max(1, Math.floor(word.length / 3)));
  if (near !== null) return `did you mean ${near}?`;
  return known.length === 0 ? "nothing is known here" : `known: ${known.join(", ")}`;
};
