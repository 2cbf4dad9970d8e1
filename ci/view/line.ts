import { withoutUnprintable } from "../../dagger/src/pipeline/common/printable.js";

/** What may stand in one line of a terminal, and how wide it is. Pure. */

/** Text without control sequences, as it stands after carriage returns have overwritten it. */
export const clean = (text: string): string => {
  const last = text.trimEnd().split("\r").at(-1) ?? "";
  return withoutUnprintable(last.replace(sequences, "").replace(/\s+/g, " ")).trim();
};

const escape = String.fromCharCode(27);
const bell = String.fromCharCode(7);
/** ECMA-48: colours and cursor movements, window titles, and single-letter commands. */
const sequences = new RegExp(
  `${escape}(?:\\[[0-9;?]*[ -/]*[@-~]|\\][^${bell}${escape}]*(?:${bell}|${escape}\\\\)?|[@-Z\\\\^_])`,
  "g",
);

/** At most `width` columns, with an ellipsis where something was cut. */
export const clip = (text: string, width: number): string => {
  if (columns(text) <= width) return text;
  let cut = "";
  for (const character of text) {
    if (columns(cut) + columns(character) > width - 1) break;
    cut += character;
  }
  return width < 1 ? "" : `${cut}…`;
};

/** Columns that a terminal gives to a text: two for the wide characters of East Asia and for pictures. */
export const columns = (text: string): number => {
  let count = 0;
  for (const character of text) count += wide.test(character) ? 2 : 1;
  return count;
};

const wide = /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}]/u;

/** `0.4s`, `12.3s`, `2m05s`, `1h02m`. */
export const duration = (milliseconds: number): string => {
  const tenths = Math.round(Math.max(0, milliseconds) / 100);
  if (tenths < 600) return `${(tenths / 10).toFixed(1)}s`;
  const seconds = Math.round(tenths / 10);
  const pad = (value: number) => String(value).padStart(2, "0");
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m${pad(seconds % 60)}s`;
  return `${Math.floor(seconds / 3600)}h${pad(Math.floor((seconds % 3600) / 60))}m`;
};

export const shortDigest = (digest: string): string => (digest.startsWith("sha256:") ? digest.slice(0, 19) : digest);

export type Painter = Record<"stage" | "good" | "bad" | "odd" | "faint", (text: string) => string>;

/** Meanings, not colours: what each looks like stands here alone. */
export const painter = (colour: boolean): Painter => {
  const code = (open: number, close: number) => (text: string) => (colour ? `\u001b[${open}m${text}\u001b[${close}m` : text);
  return {
    stage: code(36, 39),
    good: code(32, 39),
    bad: code(31, 39),
    odd: code(33, 39),
    faint: code(2, 22),
  };
};
