/**
 * Characters that are no text: they end a line, move a cursor, turn the order of what is read, or are half of a character.
 * C0, DEL and C1; U+2028 and U+2029; marks, embeddings, overrides and isolates of bidirectional text; lone surrogates.
 */
const unprintable = /[\p{Cc}\p{Cs}\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;

export type Extent = "line" | "lines";

/** The first character of a text that it may not hold; several lines are held together by line feeds and may be indented by tabs. */
export const firstUnprintable = (text: string, extent: Extent): string | null => {
  for (const [found] of text.matchAll(unprintable)) if (extent === "line" || (found !== "\n" && found !== "\t")) return found;
  return null;
};

/** U+0000 and so on: how a character is named in a message. */
export const codePoint = (character: string): string =>
  `U+${character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}`;

/** A text as it may be shown: what is unprintable in it is written as JSON writes it, so that a JSON text stays the same value. */
export const visible = (text: string, extent: Extent): string =>
  text.replace(unprintable, (found) =>
    extent === "lines" && (found === "\n" || found === "\t") ? found : `\\u${found.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );

/** A text without what is unprintable in it. */
export const withoutUnprintable = (text: string): string => text.replace(unprintable, "");
