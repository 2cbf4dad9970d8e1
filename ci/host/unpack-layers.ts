import * as fs from "node:fs";
import type { Readable } from "node:stream";
import { isErrno } from "../../dagger/src/filesystem/errno.js";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import { FileTree, impliedFolder } from "../../dagger/src/pipeline/contents/file-tree.js";
import { cleanPath, layerPathOf } from "../../dagger/src/pipeline/contents/layer-path.js";
import { octal, type StageEntry } from "../../dagger/src/pipeline/contents/file-entry.js";
import { bytesOf, type TarHeader } from "../../dagger/src/pipeline/archive/tar-header.js";
import { TarReader } from "../../dagger/src/pipeline/archive/tar-reader.js";
import { damaged, type LayerBlob, layerBytes, type ReadOptions } from "../../dagger/src/oci-layout/read-layer.js";

/** What unpacking could not do itself: Node has no call for extended attributes and none for device files. */
export type Rest = {
  /** Values in base64. No folder that leads to such a path is a link. */
  xattrs: readonly { path: string; name: string; value: string }[];
  devices: readonly string[];
};

/** `shift` is added to every owner: the container of such a root maps its ids to those from `shift` on. */
type UnpackOptions = ReadOptions & { shift?: number };

/**
 * Lays layers one over the other in an empty folder, as a runtime does: owners, modes, links and times as they stand in them, whiteouts
 * applied. Each layer is held against its digest while it is read. Needs root, or the right to give files away.
 *
 * Nothing that a layer says is ever looked up on this machine: files are written under numbers of our own, the tree is laid out in memory,
 * and only then is each of its paths made, once: folders first, then files, links last. So no link is there to be followed.
 * @throws FactoryError CHECKSUM_MISMATCH, IMAGE_INVALID, DISK_FULL, INTERRUPTED
 */
export const unpackLayers = async (
  layers: readonly LayerBlob[],
  open: (layer: LayerBlob) => Readable,
  root: string,
  { shift = 0, ...options }: UnpackOptions = {},
): Promise<Rest> => {
  const draft = new Draft(fs.mkdtempSync(`${root}/.parts-`), shift);
  for (const layer of layers) {
    try {
      const reader = draft.start();
      for await (const piece of layerBytes(open(layer), layer, options)) reader.push(piece);
      reader.finish();
    } catch (error) {
      draft.drop();
      throw isErrno(error, "ENOSPC", "EDQUOT") ? full(root, error) : damaged(layer, error, options.fix);
    }
  }
  try {
    return layOut(draft.entries(), root, shift);
  } catch (error) {
    if (isErrno(error, "ENOSPC", "EDQUOT")) throw full(root, error);
    throw error instanceof FactoryError ? error : impossible(error);
  } finally {
    draft.drop();
  }
};

/** A path of the image; `part`: where the content of a file was written. Hard links share one. */
type Placed = StageEntry & { part: string | null; mtime: number };

/** The highest id that a file can have; the one above means "leave it" to chown(2). */
const highestId = 0xffff_fffe;

const attributeName = /^[\x21-\x7e]{1,255}$/;
/** Of 64 KiB in base64 (xattr(7)). */
const longestAttribute = 87_384;

/** The tree of all layers so far, and the content of their files under numbers. */
class Draft {
  readonly #folder: string;
  readonly #shift: number;
  readonly #tree = new FileTree<Placed>([], (path) => ({ ...impliedFolder(path), part: null, mtime: 0 }));
  #layer = 0;
  #count = 0;
  #open: { handle: number; header: TarHeader } | null = null;

  constructor(folder: string, shift: number) {
    this.#folder = folder;
    this.#shift = shift;
  }

  start(): TarReader {
    this.#layer += 1;
    return new TarReader({
      entry: (header) => this.#entry(header),
      data: (bytes) => this.#write(bytes),
      end: () => this.#end(),
    });
  }

  entries(): readonly Placed[] {
    return this.#tree.entries();
  }

  drop(): void {
    if (this.#open !== null) fs.closeSync(this.#open.handle);
    this.#open = null;
    fs.rmSync(this.#folder, { recursive: true, force: true });
  }

  #entry(header: TarHeader): void {
    const { is, path } = layerPathOf(header.path);
    if (is === "opaque") this.#tree.clear(path, this.#layer);
    else if (is === "whiteout") this.#tree.remove(path, this.#layer);
    else {
      this.#count += 1;
      this.#tree.put(this.#placed(path, header), this.#layer);
    }
  }

  #placed(path: string, header: TarHeader): Placed {
    const { uid, gid, mode, mtime, xattrs, type, target } = header;
    for (const id of [uid, gid])
      if (!(Number.isInteger(id) && id >= 0 && id <= (this.#shift || highestId + 1) - 1))
        throw new Error(`${path} has the owner ${id}`);
    for (const [name, value] of Object.entries(xattrs))
      if (!attributeName.test(name) || value.length > longestAttribute)
        throw new Error(`${path} has an attribute that Linux does not keep`);
    if (target.includes("\0")) throw new Error(`${path} leads to a path with a NUL`);
    const common = { path, mode: octal(mode), uid, gid, mtime, part: null, xattrs };
    if (type === "symlink") return { ...common, type, mode: "777", target };
    if (type === "hardlink") {
      const other = this.#tree.at(cleanPath(target));
      if (other === null || other.type === "directory") throw new Error(`${path} is a hard link to ${target}, which is no file`);
      return { ...other, path };
    }
    if (type !== "file") return { ...common, type };
    const part = `${this.#folder}/${this.#count}`;
    this.#open = { handle: fs.openSync(part, "wx", 0o600), header };
    return { ...common, type, part };
  }

  #write(bytes: Uint8Array): void {
    for (let at = 0; this.#open !== null && at < bytes.length;) at += fs.writeSync(this.#open.handle, bytes, at);
  }

  #end(): void {
    if (this.#open === null) return;
    const { handle, header } = this.#open;
    // In this order: giving a file away takes its setuid bit.
    fs.fchownSync(handle, header.uid + this.#shift, header.gid + this.#shift);
    fs.fchmodSync(handle, header.mode);
    fs.futimesSync(handle, header.mtime, header.mtime);
    fs.closeSync(handle);
    this.#open = null;
  }
}

/** @param entries sorted by path: what leads to a path stands before it */
const layOut = (entries: readonly Placed[], root: string, shift: number): Rest => {
  const at = ({ path }: Placed) => Buffer.concat([Buffer.from(root), bytesOf(path)]);
  const folders = entries.filter(({ type }) => type === "directory");
  for (const entry of folders) if (entry.path !== "/") fs.mkdirSync(at(entry), 0o700);
  const first = new Map<string, Buffer>();
  for (const entry of entries) {
    if (entry.part === null) continue;
    const other = first.get(entry.part);
    if (other === undefined) fs.renameSync(entry.part, at(entry));
    else fs.linkSync(other, at(entry));
    first.set(entry.part, other ?? at(entry));
  }
  for (const entry of entries) {
    if (entry.type !== "symlink") continue;
    fs.symlinkSync(Buffer.from(bytesOf(entry.target ?? "")), at(entry));
    fs.lchownSync(at(entry), entry.uid + shift, entry.gid + shift);
    fs.lutimesSync(at(entry), entry.mtime, entry.mtime);
  }
  // From the lowest up: what is made in a folder sets its time.
  for (const entry of folders.toReversed()) {
    fs.lchownSync(at(entry), entry.uid + shift, entry.gid + shift);
    fs.chmodSync(at(entry), Number.parseInt(entry.mode, 8));
    if (entry.path !== "/") fs.lutimesSync(at(entry), entry.mtime, entry.mtime);
  }
  return {
    // A device file is not made.
    xattrs: entries
      .filter(({ type }) => type === "file" || type === "directory" || type === "symlink")
      .flatMap(({ path, xattrs = {} }) => Object.entries(xattrs).map(([name, value]) => ({ path, name, value }))),
    devices: entries.filter(({ type }) => ["character", "block", "fifo"].includes(type)).map(({ path }) => path),
  };
};

const full = (root: string, cause: unknown): FactoryError =>
  new FactoryError("DISK_FULL", {
    what: "no room to unpack the image",
    why: `${root}: ${cause instanceof Error ? cause.message : String(cause)}`,
    fix: "free some space, or put the state folder elsewhere: FACTORY_STATE=…",
    cause,
  });

/** What its layers come to cannot be made on this machine's file system: a path is too long, say. */
const impossible = (cause: unknown): FactoryError =>
  new FactoryError("IMAGE_INVALID", {
    what: "the image cannot be unpacked",
    why: cause instanceof Error ? cause.message : String(cause),
    fix: "leave that path out of the image",
    cause,
  });
