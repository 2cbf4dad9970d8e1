import { mapFix } from "../../dagger/src/pipeline/common/fix.js";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import type { BuildEvent } from "../../dagger/src/pipeline/common/build-event.js";
import type { Secret } from "./secrets.js";

/** Strikes the values of secrets out of what people and programs read. */
export type Mask = {
  text(text: string): string;
  /** For text that comes in pieces: what may be the begin of a value is kept back until it is known, or until `end`. */
  stream(): { take(piece: string): string; end(): string };
};

const struck = "***";

export const maskOf = (secrets: readonly Secret[]): Mask => {
  const values = [...new Set(secrets.flatMap((secret) => ("value" in secret && !secret.shown ? formsOf(secret.value) : [])))];
  if (values.length === 0) return { text: (text) => text, stream: () => ({ take: (piece) => piece, end: () => "" }) };
  return {
    text: (text) => strike(text, spansOf(text, values)),
    stream() {
      let kept = "";
      return {
        take(piece) {
          const text = kept + piece;
          const spans = spansOf(text, values);
          let cut = Math.min(text.length, ...values.map((value) => beginOf(value, text)));
          // No value is cut in two: one that a longer or later one overlaps waits with it.
          for (const [start, end] of spans.toReversed()) if (start < cut && end > cut) cut = start;
          kept = text.slice(cut);
          return strike(
            text.slice(0, cut),
            spans.filter(([, end]) => end <= cut),
          );
        },
        end() {
          const rest = kept;
          kept = "";
          return strike(rest, spansOf(rest, values));
        },
      };
    },
  };
};

/** Where a value begins that the text ends in the middle of. */
const beginOf = (value: string, text: string): number => {
  const first = value[0]!;
  for (let at = text.indexOf(first, Math.max(0, text.length - value.length + 1)); at >= 0; at = text.indexOf(first, at + 1))
    if (value.startsWith(text.slice(at))) return at;
  return text.length;
};

type Span = [start: number, end: number];

/** Where values stand, in order; those that overlap are one. */
const spansOf = (text: string, values: readonly string[]): Span[] => {
  const found: Span[] = [];
  for (const value of values)
    for (let at = text.indexOf(value); at >= 0; at = text.indexOf(value, at + 1)) found.push([at, at + value.length]);
  const merged: Span[] = [];
  for (const [start, end] of found.sort(([a], [b]) => a - b)) {
    const last = merged.at(-1);
    if (last !== undefined && start < last[1]) last[1] = Math.max(last[1], end);
    else merged.push([start, end]);
  }
  return merged;
};

const strike = (text: string, spans: readonly Span[]): string => {
  let out = "";
  let from = 0;
  for (const [start, end] of spans) {
    out += text.slice(from, start) + struck;
    from = end;
  }
  return out + text.slice(from);
};

/** Shorter ones stand in ordinary text; ci/host/secrets.ts refuses a value that is so short. */
const shortestPart = 4;

/** A value as tools print it: whole, by lines, as JSON, in an address, in base64 whatever stands before it, in hexadecimal. */
const formsOf = (value: string): string[] => {
  const trimmed = value.trim();
  const lines = trimmed.split(/\r?\n/).map((line) => line.trim());
  const parts = [value, trimmed, ...lines, ...loginsOf(trimmed)].filter((part) => part.trim().length >= shortestPart);
  return [...new Set(parts)].flatMap((part) => {
    const bytes = Buffer.from(part);
    const printed = [part, JSON.stringify(part).slice(1, -1), part.replaceAll("'", "'\\''"), uri(part), form(part)];
    return [...printed, ...inBase64(bytes), bytes.toString("hex"), bytes.toString("hex").toUpperCase()].filter(
      (text) => text.length >= shortestPart,
    );
  });
};

const uri = (text: string): string => encodeURIComponent(text);
const form = (text: string): string => uri(text).replaceAll("%20", "+");

/** The password of an address, as it stands there and as it is meant. */
const loginsOf = (value: string): string[] => {
  const [, password] = /^[a-z][a-z0-9+.-]*:\/\/[^:/@]*:(.+)@[^@]*$/i.exec(value) ?? [];
  if (password === undefined) return [];
  try {
    return [password, decodeURIComponent(password)];
  } catch {
    return [password];
  }
};

/** Base64 in its two alphabets: where 0, 1 or 2 bytes stand before, without the characters that these and what follows decide. */
const inBase64 = (bytes: Buffer): string[] =>
  [0, 1, 2].flatMap((before) => {
    const text = Buffer.concat([Buffer.alloc(before), bytes])
      .toString("base64")
      .replace(/=+$/, "");
    const inner = text.slice(before === 0 ? 0 : before + 1, (before + bytes.length) % 3 === 0 ? undefined : -1);
    // A short piece of base64 stands in other texts.
    return inner.length < 5 ? [] : [inner, inner.replaceAll("+", "-").replaceAll("/", "_")];
  });

/** Work that is given secrets: neither its events nor the error that ends it tell one. */
export const masking = async <T>(
  mask: Mask,
  emit: (event: BuildEvent) => void,
  work: (emit: (event: BuildEvent) => void) => Promise<T>,
): Promise<T> => {
  try {
    return await work((event) => emit(maskedEvent(mask, event)));
  } catch (error) {
    if (!(error instanceof FactoryError)) throw error;
    const { what, why, fix, problems } = error.explanation;
    const shown = { what: mask.text(what), why: mask.text(why), fix: mapFix(fix, mask.text) };
    // Its cause may hold the client's own words.
    throw new FactoryError(error.code, problems === undefined ? shown : { ...shown, problems });
  }
};

const told = new Set(["text", "name", "error", "what"]);

const maskedEvent = (mask: Mask, event: BuildEvent): BuildEvent =>
  Object.fromEntries(
    Object.entries(event).map(([key, value]) => [key, typeof value === "string" && told.has(key) ? mask.text(value) : value]),
  ) as BuildEvent;
