import type { FactoryError, Problem } from "./error.js";
import { fixText, type Wording } from "./fix.js";
import { visible } from "./printable.js";

/** How the parts of a message are set off; plain text where nothing can be. */
export type Paint = Readonly<Record<"red" | "dim" | "bold" | "cyan", (text: string) => string>>;
const plain: Paint = { red: String, dim: String, bold: String, cyan: String };

const shown = (text: string): string => visible(text, "line");

/** An error as a person reads it, without control characters of what it quotes: what, why, what to type next; problems of a text with their place and excerpt. */
export const problemLines = ({ code, explanation }: FactoryError, wording: Wording, paint: Paint = plain): string[] => {
  const problems = explanation.problems ?? [];
  return [
    `${paint.red("error")} ${paint.bold(code)}: ${shown(explanation.what)}`,
    ...problems.flatMap((problem) => linesOf(problem, paint.dim)),
    ...(problems.length > 0 ? [] : explanation.why.split("\n").map((line) => `  ${shown(line)}`)),
    ...fixText(explanation.fix, wording)
      .split("\n")
      .map((line) => `  ${paint.cyan("→")} ${shown(line)}`),
  ];
};

const linesOf = ({ position, message, hint }: Problem, dim: (text: string) => string): string[] => {
  const said = shown(hint === undefined ? message : `${message} (${hint})`);
  if (position === undefined) return [`  ${said}`];
  const gutter = `${position.line} | `;
  return [
    `  ${shown(position.file)}:${position.line}:${position.col}  ${said}`,
    dim(`    ${gutter}${visible(position.excerpt.slice(0, 160), "lines")}`),
    dim(`    ${" ".repeat(gutter.length + Math.min(position.col - 1, 160))}^`),
  ];
};
