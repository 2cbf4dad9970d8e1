/**
 * # dagger/src/pipeline/archive
 *
 * The bytes of tar entries and of compressed frames, as values. Nothing is read from a disk, and equal input gives equal bytes.
 */
/** What one entry of a tar says, whatever dialect said it (ustar, PAX, GNU long names). Paths are as written, not yet cleaned. */
export type TarHeader = {
  path: string;
  type: "file" | "directory" | "symlink" | "hardlink" | "character" | "block" | "fifo";
  /** Permission bits with setuid, setgid and sticky. */
  mode: number;
  uid: number;
  gid: number;
  size: number;
  /** Of its last change, in seconds since the Unix epoch. */
  mtime: number;
  /** Target of a symlink or hardlink, "" for the rest. */
  target: string;
  /** Extended attributes by name, values in base64. */
  xattrs: Readonly<Record<string, string>>;
};

export const blockSize = 512;

/** Records of a PAX header (POSIX.1-2001, pax Interchange Format): `<length> <key>=<value>\n`, length in bytes of all of it. */
export const paxRecords = (bytes: Uint8Array): Map<string, Uint8Array> => {
  const records = new Map<string, Uint8Array>();
  let at = 0;
  while (at < bytes.length) {
    const space = bytes.indexOf(0x20, at);
    const length = space < 0 ? Number.NaN : Number(ascii(bytes.subarray(at, space)));
    const equals = bytes.indexOf(0x3d, space);
    const end = at + length;
    if (!Number.isSafeInteger(length) || length <= 0 || end > bytes.length || equals < 0 || equals >= end) {
      throw new Error("a PAX record that is cut off or has no length");
    }
    records.set(textOf(bytes.subarray(space + 1, equals)), bytes.slice(equals + 1, end - 1));
    at = end;
  }
  return records;
};

const types: Readonly<Record<string, TarHeader["type"]>> = {
  "\0": "file",
  "0": "file",
  "7": "file",
  "1": "hardlink",
  "2": "symlink",
  "3": "character",
  "4": "block",
  "5": "directory",
  "6": "fifo",
};

/** The type flag of a header block: "x", "g", "L" and "K" speak of the entry that follows. */
export const flagOf = (block: Uint8Array): string => String.fromCharCode(block[156]!);

/** @throws Error for a block that is no header: its checksum does not hold */
export const sizeOf = (block: Uint8Array): number => {
  const sum = number(block, 148, 8);
  let unsigned = 0;
  for (let at = 0; at < blockSize; at += 1) unsigned += at >= 148 && at < 156 ? 0x20 : block[at]!;
  if (sum !== unsigned) throw new Error("a tar header whose checksum does not hold");
  return length(number(block, 124, 12));
};

const length = (size: number): number => {
  if (size >= 0) return size;
  throw new Error("a tar entry of a negative size");
};

export type Override = { pax: ReadonlyMap<string, Uint8Array>; path: string | null; target: string | null };

/** @throws Error for a type of entry that no image layer holds */
export const headerOf = (block: Uint8Array, override: Override): TarHeader => {
  const flag = flagOf(block);
  const type = types[flag];
  if (type === undefined) throw new Error(`a tar entry of the unknown type ${JSON.stringify(flag)}`);
  const { pax } = override;
  const written = (key: string) => {
    const bytes = pax.get(key);
    return bytes === undefined ? null : textOf(bytes);
  };
  const prefix = ascii(block.subarray(257, 262)) === "ustar" && block[262] === 0 ? field(block, 345, 155) : "";
  const name = field(block, 0, 100);
  const path = written("path") ?? override.path ?? (prefix === "" ? name : `${prefix}/${name}`);
  const xattrs = Object.fromEntries(
    [...pax]
      .filter(([key]) => key.startsWith(xattrPrefix))
      .map(([key, value]) => [key.slice(xattrPrefix.length), Buffer.from(value).toString("base64")]),
  );
  return {
    path,
    // Before there was a type for directories, a slash at the end said it.
    type: type === "file" && path.endsWith("/") ? "directory" : type,
    mode: number(block, 100, 8) & 0o7777,
    uid: decimal(written("uid")) ?? number(block, 108, 8),
    gid: decimal(written("gid")) ?? number(block, 116, 8),
    size: type === "file" ? length(decimal(written("size")) ?? number(block, 124, 12)) : 0,
    mtime: decimal(written("mtime")) ?? number(block, 136, 12),
    target: written("linkpath") ?? override.target ?? field(block, 157, 100),
    xattrs,
  };
};

const xattrPrefix = "SCHILY.xattr.";

/** A number of a PAX record; a time may have a sign and fractions. */
const decimal = (text: string | null): number | null => {
  if (text === null) return null;
  const value = /^-?\d+(?:\.\d*)?$/.test(text) ? Math.trunc(Number(text)) : Number.NaN;
  return whole(value);
};

const whole = (value: number): number => {
  if (Number.isSafeInteger(value)) return value;
  throw new Error("a number in a tar header that is none");
};

/** Octal digits, or GNU's base 256 where the first bit is set. */
const number = (block: Uint8Array, at: number, length: number): number => {
  if ((block[at]! & 0x80) === 0) {
    const digits = ascii(block.subarray(at, at + length))
      .replaceAll(/[\0 ]+/g, " ")
      .trim();
    // Behind a NUL or space anything may stand.
    const [first = ""] = digits.split(" ", 1);
    return whole(first === "" ? 0 : /^[0-7]+$/.test(first) ? Number.parseInt(first, 8) : Number.NaN);
  }
  const negative = block[at] === 0xff;
  let value = negative ? -1 : block[at]! & 0x7f;
  for (const byte of block.subarray(at + 1, at + length)) value = value * 256 + byte;
  return whole(value);
};

const field = (block: Uint8Array, at: number, length: number): string => {
  const bytes = block.subarray(at, at + length);
  const end = bytes.indexOf(0);
  return textOf(end < 0 ? bytes : bytes.subarray(0, end));
};

const ascii = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** UTF-8; a byte that is none becomes a lone surrogate (as Python does, PEP 383), so that two names stay two names. */
export const textOf = (bytes: Uint8Array): string => {
  try {
    return strict.decode(bytes);
  } catch {
    return [...bytes].map((byte) => String.fromCharCode(byte < 0x80 ? byte : 0xdc00 + byte)).join("");
  }
};

/** The bytes of such a text: what `textOf` was given. */
export const bytesOf = (text: string): Uint8Array =>
  /\p{Surrogate}/u.test(text) ? Uint8Array.from(text, (char) => char.charCodeAt(0) & 0xff) : Buffer.from(text);
