import * as z from "zod";
import { FactoryError } from "../../../dagger/src/pipeline/common/error.js";

/**
 * Reads what a server or a program answered: whatever is wrong with its form is an error of theirs.
 * @param whose who answered, for the error: "https://pypi.org/simple/uv/"
 * @throws FactoryError MIRROR_FAILED
 */
export const readAnswer = <T>(whose: string, read: () => T): T => {
  try {
    return read();
  } catch (cause) {
    if (cause instanceof FactoryError) throw cause;
    throw misshapen(whose, cause instanceof z.ZodError ? firstLines(z.prettifyError(cause)) : firstLines(wordsOf(cause)), cause);
  }
};

/** JSON of one form. @throws FactoryError MIRROR_FAILED */
export const readJson = <T>(whose: string, text: string, schema: z.ZodType<T>): T =>
  readAnswer(whose, () => schema.parse(JSON.parse(text.replace(/^\ufeff/, ""))));

export const misshapen = (whose: string, why: string, cause?: unknown): FactoryError =>
  new FactoryError("MIRROR_FAILED", {
    what: `the answer of ${whose} is not of a form that can be read`,
    why,
    fix: "see what answers there (a login page, an error page, a proxy?), or use another mirror or index; then run the same command again",
    cause,
  });

const wordsOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));
/** An answer may be quoted in an error about it, and may be of any length. */
const firstLines = (text: string): string =>
  text
    .split("\n")
    .slice(0, 8)
    .map((line) => line.slice(0, 300))
    .join("\n");
