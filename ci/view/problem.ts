import { FactoryError, type Problem } from "../../dagger/src/pipeline/error.js";
import colours from "yoctocolors";

type Style = { colour: boolean; json: boolean; verbose: boolean };

/** An error as a person reads it: what, why, what to type next; problems of a text with their place and excerpt. */
export const problemText = (error: unknown, style: Style): string => {
  if (!(error instanceof FactoryError)) return bug(error);
  const { code, explanation } = error;
  if (style.json) return `${JSON.stringify({ error: { code, exitCode: error.exitCode, ...explanation } })}\n`;
  const paint = style.colour ? colours : { red: String, dim: String, bold: String, cyan: String };
  const problems = explanation.problems ?? [];
  const lines = [
    `${paint.red("error")} ${paint.bold(code)}: ${explanation.what}`,
    ...problems.flatMap((problem) => problemLines(problem, paint.dim)),
    ...(problems.length > 0 ? [] : explanation.why.split("\n").map((line) => `  ${line}`)),
    ...explanation.fix.split("\n").map((line) => `  ${paint.cyan("→")} ${line}`),
  ];
  if (style.verbose && error.cause instanceof Error) lines.push(String(error.cause.stack));
  return `${lines.join("\n")}\n`;
};

const problemLines = ({ position, message, hint }: Problem, dim: (text: string) => string): string[] => {
  const said = hint === undefined ? message : `${message} (${hint})`;
  if (position === undefined) return [`  ${said}`];
  const gutter = `${position.line} | `;
  return [
    `  ${position.file}:${position.line}:${position.col}  ${said}`,
    dim(`    ${gutter}${position.excerpt.slice(0, 160)}`),
    dim(`    ${" ".repeat(gutter.length + Math.min(position.col - 1, 160))}^`),
  ];
};

const bug = (error: unknown): string =>
  `error: this is a bug in image-factory, not in what you typed; please report it with what follows\n${error instanceof Error ? error.stack : String(error)}\n`;
