import { FactoryError } from "../common/error.js";
import type { Parsed } from "./parse.js";

/**
 * The value of a text that holds.
 * @throws FactoryError with `code` and every problem otherwise
 */
export const valid = <T>(code: "CONFIG_INVALID" | "LOCK_INVALID", file: string, parsed: Parsed<T>): T => {
  if (parsed.value !== null) return parsed.value;
  const count = parsed.problems.length;
  throw new FactoryError(code, {
    what: `${file} has ${count === 1 ? "a problem" : `${count} problems`}`,
    why: parsed.problems.map(({ message }) => message).join("\n"),
    fix:
      code === "LOCK_INVALID"
        ? ["correct it, or take what git has (git checkout images.lock); or remove it, then ", { run: "lock" }]
        : `fix ${file}; its schema is images.schema.json`,
    problems: parsed.problems,
  });
};
