import { FactoryError } from "../common/error.js";
import type { ImageSpec } from "./spec.js";
import { type Platform, platformNames, type StageName, stageNames } from "../common/stage.js";
import { suggestion } from "../common/suggest.js";

/** Words that a person typed → values. Each refusal says what is known and what was probably meant. */

/** `TASK_VERSION=3.40.1` words → record. @throws FactoryError USAGE */
export const readBuildArgs = (words: readonly string[]): Record<string, string> =>
  Object.fromEntries(
    words.map((word) => {
      const at = word.indexOf("=");
      if (at > 0) return [word.slice(0, at), word.slice(at + 1)] as const;
      throw new FactoryError("USAGE", {
        what: `build argument ${word} has no value`,
        why: "a build argument is NAME=VALUE",
        fix: `for example: TASK_VERSION=3.40.1`,
      });
    }),
  );

/** How another word is refused: what is wrong with it, and what the list of the known ones begins with. */
export type Refusal = { what: string; known: string; code?: "USAGE" | "UNKNOWN_STAGE" };

/** A word of a fixed list. @throws FactoryError of the refusal's code, USAGE unless it says another */
export const wordOf = <W extends string>(asked: string, list: readonly W[], { what, known, code = "USAGE" }: Refusal): W => {
  const found = list.find((word) => word === asked);
  if (found !== undefined) return found;
  throw new FactoryError(code, { what, why: `${known}: ${list.join(", ")}`, fix: suggestion(asked, list) });
};

/** @throws FactoryError UNKNOWN_STAGE */
export const stageOf = (asked: string | undefined): StageName => {
  const name = asked ?? "runtime";
  return wordOf(name, stageNames, { what: `no stage ${name}`, known: "an image has these", code: "UNKNOWN_STAGE" });
};

/**
 * What to build for: what is asked (several with commas, `all`, `linux/` may be left out), or the machine's own.
 * @param own the platform of whatever executes the stages
 * @throws FactoryError UNKNOWN_PLATFORM
 */
export const platformsOf = (image: Pick<ImageSpec, "platforms">, asked: string | undefined, own: Platform): Platform[] => {
  if (asked === "all") return image.platforms;
  if (asked === undefined) return [image.platforms.includes(own) ? own : image.platforms[0]!];
  const platforms = asked.split(",").map((text) => {
    const word = text.trim();
    const full = word.includes("/") ? word : `linux/${word}`;
    const known = platformNames.find((platform) => platform === full);
    if (known !== undefined) return known;
    throw new FactoryError("UNKNOWN_PLATFORM", {
      what: `no platform ${word}`,
      why: `known: ${platformNames.join(", ")}, all`,
      fix: suggestion(word, platformNames),
    });
  });
  return [...new Set(platforms)];
};

/** The number that KEEP is. @param of what it counts @throws FactoryError USAGE */
export const keepOf = (text: string, of: string, example: string): number => {
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw new FactoryError("USAGE", {
    what: `cannot read KEEP=${text}`,
    why: `it is a number of ${of}`,
    fix: `for example: ${example}`,
  });
};

/** The value of a function's argument. @throws FactoryError USAGE */
export const oneOf = <W extends string>(argument: string, asked: string, known: readonly W[]): W =>
  wordOf(asked, known, { what: `${argument} cannot be ${JSON.stringify(asked)}`, known: "it is one of" });
