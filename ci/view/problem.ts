import colours from "yoctocolors";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import { fixText, type Wording } from "../../dagger/src/pipeline/common/fix.js";
import { visible } from "../../dagger/src/pipeline/common/printable.js";
import { problemLines } from "../../dagger/src/pipeline/common/error-text.js";

/** `wording`: how what is to be done is typed. */
type Style = { colour: boolean; json: boolean; verbose: boolean; wording: Wording };

/** An error as a person or, with `json`, a program reads it; what is no FactoryError is a bug of ours. */
export const problemText = (error: unknown, style: Style): string => {
  if (!(error instanceof FactoryError)) return style.json ? bugJson(error) : bug(error);
  const { code, explanation } = error;
  const { wording } = style;
  const fix = fixText(explanation.fix, wording);
  if (style.json)
    return `${visible(JSON.stringify({ error: { code, exitCode: error.exitCode, ...explanation, fix } }), "line")}\n`;
  const lines = problemLines(error, wording, style.colour ? colours : undefined);
  if (style.verbose && error.cause instanceof Error) lines.push(visible(String(error.cause.stack), "lines"));
  return `${lines.join("\n")}\n`;
};

const bugWords = "this is a bug in image-factory, not in what you typed";
const traceOf = (error: unknown): string => (error instanceof Error ? String(error.stack) : String(error));
const bug = (error: unknown): string =>
  `error: ${bugWords}; please report it with what follows\n${visible(traceOf(error), "lines")}\n`;
const bugJson = (error: unknown): string => {
  const fix = "please report it with what stands here";
  return `${visible(JSON.stringify({ error: { code: "BUG", exitCode: 1, what: bugWords, why: traceOf(error), fix } }), "line")}\n`;
};
