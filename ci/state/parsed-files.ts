import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { readNote, textChecksum, writeNote } from "../host/note.js";

/**
 * The folder of the compiled program, null where none runs (tests, tsx). What a program remembers stands beside it, so that
 * one that is compiled anew starts with nothing that another made.
 */
const beside = (): string | null => {
  const file = fileURLToPath(import.meta.url);
  return basename(file).endsWith(".cjs") ? join(dirname(file), "remembered") : null;
};

/**
 * A value that was made from a text, without making it again while the text is the same. Only for values that JSON holds whole.
 * A note that is damaged, of another text or cannot be written costs time and nothing else.
 * @param name one note is kept under it: that of the latest text
 */
export const remembered = async <T>(
  name: string,
  text: string,
  make: (text: string) => Promise<T>,
  folder: string | null = beside(),
): Promise<T> => {
  if (folder === null) return make(text);
  const file = join(folder, `${name}.json`);
  const sha256 = textChecksum(text);
  const note = readNote<{ sha256: string; value: T }>(file);
  if (note?.sha256 === sha256) return note.value;
  const value = await make(text);
  try {
    writeNote(file, { sha256, value });
  } catch {
    // A program in a place that cannot be written makes the value each time.
  }
  return value;
};
