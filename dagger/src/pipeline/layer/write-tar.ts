import { createHash } from "node:crypto";
import { frameEnd, frameSize } from "../archive/compress.js";
import { FactoryError } from "../common/error.js";
import type { LayerEntry } from "./layer-entry.js";
import { bits } from "../contents/file-entry.js";
import { blockSize } from "../archive/tar-header.js";

/** The bytes of a file of the context: at once for a small one, piece by piece for a large one. */
export type ReadFile = (from: string) => Uint8Array | AsyncIterable<Uint8Array>;

/** A piece of a layer's tar. Of a file's content it tells which, and where it begins: that names the bytes without another look at them. */
export type TarPiece = { bytes: Uint8Array; of: { sha256: string; at: number } | null };

/** The bytes of `layerPieces`. */
export async function* layerTar(entries: readonly LayerEntry[], epoch: number, read: ReadFile): AsyncGenerator<Uint8Array> {
  for await (const { bytes } of layerPieces(entries, epoch, read)) yield bytes;
}

/**
 * The tar of a layer, in pieces. The same entries and epoch give the same bytes: ustar headers without names of users, and a
 * PAX header (POSIX.1-2001) only before an entry that ustar cannot tell. Files are held against their size and sha256 as they pass.
 * A large file gets compressed frames of its own, which stay the same when any other file changes.
 * @param epoch seconds since the Unix epoch: the time of every entry
 * @throws FactoryError INPUT_MISSING when a file is no longer what was hashed
 */
export async function* layerPieces(entries: readonly LayerEntry[], epoch: number, read: ReadFile): AsyncGenerator<TarPiece> {
  for (const entry of entries) {
    const large = entry.type === "file" && entry.size >= frameSize;
    if (large) yield between(frameEnd);
    yield between(tarHeader(entry, epoch));
    if (entry.type !== "file" || entry.size === 0) continue;
    const { content } = entry;
    const bytes = "text" in content ? Buffer.from(content.text) : read(content.from);
    const hash = createHash("sha256");
    let length = 0;
    for await (const piece of bytes instanceof Uint8Array ? [bytes] : bytes) {
      hash.update(piece);
      length += piece.length;
      if (length > entry.size) break;
      yield { bytes: piece, of: { sha256: entry.sha256, at: length - piece.length } };
    }
    if (length !== entry.size || hash.digest("hex") !== entry.sha256)
      throw changed("from" in content ? content.from : entry.path);
    const rest = length % blockSize;
    if (rest > 0) yield between(new Uint8Array(blockSize - rest));
    if (large) yield between(frameEnd);
  }
  yield between(new Uint8Array(2 * blockSize));
}

const between = (bytes: Uint8Array): TarPiece => ({ bytes, of: null });

const typeFlags = { file: "0", symlink: "2", directory: "5" } as const;
const largestSize = 0o77777777777;
const largestId = 0o7777777;
const nameLength = 100;

/** Header blocks of one entry: a PAX header first where it is needed. */
export const tarHeader = (entry: LayerEntry, epoch: number): Uint8Array => {
  const name = `${entry.path.replace(/^\/+/, "")}${entry.type === "directory" ? "/" : ""}`;
  const path = name === "/" || name === "" ? "./" : name;
  const size = entry.type === "file" ? entry.size : 0;
  const target = entry.type === "symlink" ? entry.target : "";
  const records = [
    ...(entry.gid > largestId ? [record("gid", String(entry.gid))] : []),
    ...(fits(target) ? [] : [record("linkpath", target)]),
    ...(fits(path) ? [] : [record("path", path)]),
    ...(size > largestSize ? [record("size", String(size))] : []),
    ...(entry.uid > largestId ? [record("uid", String(entry.uid))] : []),
    ...Object.entries(entry.type === "file" ? (entry.xattrs ?? {}) : {})
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, value]) => record(`SCHILY.xattr.${key}`, Buffer.from(value, "base64"))),
  ];
  const plain = block({ ...entry, name: path, flag: typeFlags[entry.type], size: size > largestSize ? 0 : size, target, epoch });
  if (records.length === 0) return plain;
  const pax = Buffer.concat(records);
  const head = block({ name: "PaxHeaders/entry", mode: "644", uid: 0, gid: 0, flag: "x", size: pax.length, target: "", epoch });
  return Buffer.concat([head, pax, new Uint8Array((blockSize - (pax.length % blockSize)) % blockSize), plain]);
};

/** What every reader takes from a ustar header alike: printable ASCII, no longer than the field. */
const fits = (text: string): boolean => text.length <= nameLength && /^[\x20-\x7e]*$/.test(text);

const record = (key: string, value: string | Uint8Array): Buffer => {
  const rest = Buffer.concat([
    Buffer.from(` ${key}=`),
    typeof value === "string" ? Buffer.from(value) : value,
    Buffer.from("\n"),
  ]);
  // The length counts its own digits.
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
};

type Fields = { name: string; mode: string; uid: number; gid: number; flag: string; size: number; target: string; epoch: number };

const block = (fields: Fields): Uint8Array => {
  const bytes = Buffer.alloc(blockSize);
  const octal = (value: number, at: number, digits: number) => bytes.write(value.toString(8).padStart(digits, "0"), at, "latin1");
  const text = (value: string, at: number) => Buffer.from(value).copy(bytes, at, 0, nameLength);
  text(fields.name, 0);
  octal(bits(fields.mode), 100, 7);
  octal(fields.uid > largestId ? 0 : fields.uid, 108, 7);
  octal(fields.gid > largestId ? 0 : fields.gid, 116, 7);
  octal(fields.size, 124, 11);
  octal(fields.epoch, 136, 11);
  bytes.fill(0x20, 148, 156);
  bytes.write(fields.flag, 156, "latin1");
  text(fields.target, 157);
  bytes.write("ustar\x0000", 257, "latin1");
  let sum = 0;
  for (let at = 0; at < blockSize; at++) sum += bytes[at]!;
  bytes.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return bytes;
};

const changed = (path: string) =>
  new FactoryError("INPUT_MISSING", {
    what: `${path} changed while it was put into a layer`,
    why: "it is no longer the file that the plan was made from",
    fix: "run the command again when nothing writes to that file",
  });
