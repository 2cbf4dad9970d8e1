import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { basename, dirname } from "node:path";
import { replaceFile } from "./atomic-write.js";

/**
 * A small value that a state folder keeps, with the hash of what it says and of its name: a note in which a byte has changed, or that
 * stands in another's place, is as good as none, where it would otherwise be another valid value (one digit of a digest, of a size, of a
 * version). This holds accidents. Whoever can write into the state folder can write a note with its hash.
 */
export const writeNote = (path: string, value: object, space?: number): void =>
  replaceFile(path, `${JSON.stringify({ ...value, checksum: checksumOf(path, value) }, null, space)}\n`);

/** Null for a note that is not there, or is damaged. */
export const readNote = <T extends object>(path: string): T | null => {
  try {
    const text = readFileSync(path, "utf8");
    const note = JSON.parse(text) as T & { checksum?: unknown };
    const { checksum, ...value } = note;
    // As it was written, letter by letter: several texts are one value to JSON (1e999 is written as null).
    const isWritten = text === `${JSON.stringify(note, null, text.startsWith("{\n") ? 2 : undefined)}\n`;
    return isWritten && checksum === checksumOf(path, value) ? (value as unknown as T) : null;
  } catch {
    return null;
  }
};

/** A text without what JSON leaves out (members that are undefined), so that what is read has the checksum of what was written. */
const checksumOf = (path: string, value: object): string =>
  textChecksum(`${basename(dirname(path))}/${basename(path)}\n${JSON.stringify(value)}`);

export const textChecksum = (text: string): string => createHash("sha256").update(text).digest("hex");
