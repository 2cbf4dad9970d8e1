/**
 * Something to do that the command line and the Dagger module each call by other words. The core says what; who prints an error says how it is
 * typed there (ci/cli/fix-words.ts, dagger/src/module/fix-words.ts).
 */
export type Action =
  /** A command of the program. `words` are its inputs, `flags` what stands behind them. */
  | { run: string; words?: Readonly<Record<string, string>>; flags?: string }
  /** Allow plain http for a registry, `host:port`. */
  | { plainHttp: string }
  /** Trust a certificate authority, by a file. */
  | { trustFile: string }
  | { login: string };

/** A command as the command line takes its inputs. */
export const commandText = ({ run, words = {}, flags }: Extract<Action, { run: string }>): string =>
  [run, ...Object.entries(words).map(([name, value]) => `${name}=${value}`), ...(flags === undefined ? [] : ["--", flags])].join(
    " ",
  );

/** What to do next: text, an action, or both in the order in which they are read. */
export type Fix = string | Action | readonly (string | Action)[];

/** How one user types an action. */
export type Wording = (action: Action) => string;

export const fixText = (fix: Fix, wording: Wording): string =>
  (isPieces(fix) ? fix : [fix]).map((piece) => (typeof piece === "string" ? piece : wording(piece))).join("");

const isPieces = (fix: Fix): fix is readonly (string | Action)[] => Array.isArray(fix);

/** Several fixes as one, read one after the other. */
export const joinFixes = (...fixes: readonly Fix[]): Fix => fixes.flatMap((fix) => (isPieces(fix) ? fix : [fix]));

/** A fix with its texts changed; actions stay what they are. */
export const mapFix = (fix: Fix, change: (text: string) => string): Fix => {
  const mapped = (piece: string | Action) => (typeof piece === "string" ? change(piece) : piece);
  return isPieces(fix) ? fix.map(mapped) : mapped(fix);
};
