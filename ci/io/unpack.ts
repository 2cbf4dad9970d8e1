import * as fs from "node:fs";
import type { Readable } from "node:stream";
import { parentPath } from "../../dagger/src/pipeline/assembly-index.js";
import { wordsOf } from "../../dagger/src/pipeline/file-tree.js";
import { isErrno } from "../../dagger/src/errno.js";
import { FactoryError } from "../../dagger/src/pipeline/error.js";
import { bytesOf, type TarHeader, textOf } from "../../dagger/src/pipeline/tar-header.js";
import { TarReader } from "../../dagger/src/pipeline/tar-reader.js";
import { damaged, type LayerBlob, layerBytes, type ReadOptions } from "../../dagger/src/read-layer.js";

/** What unpacking could not do itself: Node has no call for extended attributes and none for device files. */
export type Rest = {
  /** Values in base64. */
  xattrs: readonly { path: string; name: string; value: string }[];
  devices: readonly string[];
};

/**
 * Lays layers one over the other in an empty folder, as a runtime does: owners, modes, links and times as they stand in them, whiteouts
 * applied. Each layer is held against its digest while it is read. Links are followed inside the folder and never out of it, whatever
 * a layer says. Needs root, or the right to give files away.
 * @throws FactoryError CHECKSUM_MISMATCH, DISK_FULL, INTERRUPTED
 */
export const unpackLayers = async (
  layers: readonly LayerBlob[],
  open: (layer: LayerBlob) => Readable,
  root: string,
  options: ReadOptions = {},
): Promise<Rest> => {
  const unpacker = new Unpacker(root);
  for (const layer of layers) {
    try {
      const reader = unpacker.start();
      for await (const piece of layerBytes(open(layer), layer, options)) reader.push(piece);
      reader.finish();
    } catch (error) {
      throw isErrno(error, "ENOSPC", "EDQUOT") ? full(root, error) : damaged(layer, error, options.fix);
    }
  }
  return unpacker;
};

const whiteout = ".wh.";
const opaque = ".wh..wh..opq";
/** As many as Linux follows (path_resolution(7)). */
const mostLinks = 40;

class Unpacker implements Rest {
  readonly xattrs: { path: string; name: string; value: string }[] = [];
  readonly devices: string[] = [];
  readonly #root: Buffer;
  /** Paths of the current layer and the folders that lead to them: its whiteouts speak of what is below it. */
  #own = new Set<string>();
  /** Folders by the path that leads to them; those that were found once are not looked for again. */
  readonly #folders = new Map<string, string>();
  #file: { handle: number; header: TarHeader; path: string } | null = null;

  constructor(root: string) {
    this.#root = Buffer.from(root);
  }

  start(): TarReader {
    this.#own = new Set();
    return new TarReader({
      entry: (header) => this.#entry(header),
      data: (bytes) => this.#write(bytes),
      end: () => this.#end(),
    });
  }

  /** The path on this machine of a path of the image that holds no link. */
  #at(path: string): Buffer {
    return Buffer.concat([this.#root, bytesOf(path)]);
  }

  #entry(header: TarHeader): void {
    const words = wordsOf(header.path);
    const name = words.at(-1);
    if (name === undefined) return this.#setOwner("/", header);
    if (words.includes("..")) throw new Error(`a layer with the path ${JSON.stringify(header.path)}`);
    if (!name.startsWith(whiteout)) return this.#put(join(this.#folder(words.slice(0, -1), true)!, name), header);
    const folder = this.#folder(words.slice(0, -1), false);
    if (folder === null) return;
    const gone = name === opaque ? this.#children(folder) : [name.slice(whiteout.length)];
    for (const one of gone) this.#remove(join(folder, one));
  }

  #put(path: string, header: TarHeader): void {
    for (let up = path; up !== "/" && !this.#own.has(up); up = parentPath(up)) this.#own.add(up);
    const at = this.#at(path);
    const there = fs.lstatSync(at, { throwIfNoEntry: false });
    if (there !== undefined && !(there.isDirectory() && header.type === "directory")) {
      fs.rmSync(at, { recursive: true, force: true });
      if (!there.isFile()) this.#folders.clear();
    }
    for (const [name, value] of Object.entries(header.xattrs)) this.xattrs.push({ path, name, value });
    switch (header.type) {
      case "directory":
        if (there?.isDirectory() !== true) fs.mkdirSync(at);
        this.#setOwner(path, header);
        break;
      case "file":
        this.#file = { handle: fs.openSync(at, "wx", 0o600), header, path };
        break;
      case "symlink":
        fs.symlinkSync(Buffer.from(bytesOf(header.target)), at);
        fs.lchownSync(at, header.uid, header.gid);
        fs.lutimesSync(at, header.mtime, header.mtime);
        break;
      case "hardlink": {
        const words = wordsOf(header.target);
        const folder = this.#folder(words.slice(0, -1), false);
        if (folder === null || words.includes(".."))
          throw new Error(`${path} is a hard link to ${header.target}, which is not there`);
        fs.linkSync(this.#at(join(folder, words.at(-1) ?? "")), at);
        break;
      }
      case "character":
      case "block":
      case "fifo":
        this.devices.push(path);
    }
  }

  #setOwner(path: string, { uid, gid, mode }: TarHeader): void {
    fs.lchownSync(this.#at(path), uid, gid);
    fs.chmodSync(this.#at(path), mode);
  }

  #write(bytes: Uint8Array): void {
    for (let at = 0; this.#file !== null && at < bytes.length;) at += fs.writeSync(this.#file.handle, bytes, at);
  }

  #end(): void {
    const file = this.#file;
    this.#file = null;
    if (file === null) return;
    const { handle, header } = file;
    // In this order: giving a file away takes its setuid bit.
    fs.fchownSync(handle, header.uid, header.gid);
    fs.fchmodSync(handle, header.mode);
    fs.futimesSync(handle, header.mtime, header.mtime);
    fs.closeSync(handle);
  }

  /** Takes away what the layers below have at a path. */
  #remove(path: string): void {
    if (!this.#own.has(path)) {
      fs.rmSync(this.#at(path), { recursive: true, force: true });
      this.#folders.clear();
    } else for (const child of this.#children(path)) this.#remove(join(path, child));
  }

  #children(path: string): string[] {
    if (fs.lstatSync(this.#at(path), { throwIfNoEntry: false })?.isDirectory() !== true) return [];
    return fs.readdirSync(this.#at(path), { encoding: "buffer" }).map(textOf);
  }

  /** The folder that words lead to, through links as a process in the image would go; null where it is absent and not to be made. */
  #folder(words: readonly string[], make: boolean): string | null {
    const key = words.join("/");
    const known = this.#folders.get(key);
    if (known !== undefined) return known;
    const rest = [...words].reverse();
    let here = "/";
    let links = 0;
    for (let word = rest.pop(); word !== undefined; word = rest.pop()) {
      const next = word === ".." ? parentPath(here) : join(here, word);
      const there = fs.lstatSync(this.#at(next), { throwIfNoEntry: false });
      if (there?.isSymbolicLink() === true && links < mostLinks) {
        links += 1;
        const target = textOf(fs.readlinkSync(this.#at(next), { encoding: "buffer" }));
        if (target.startsWith("/")) here = "/";
        rest.push(...wordsOf(target).reverse());
        continue;
      }
      if (there?.isDirectory() !== true) {
        if (!make) return null;
        fs.rmSync(this.#at(next), { force: true });
        fs.mkdirSync(this.#at(next));
        // Of a folder that no layer tells, only this is sure; a setgid folder above would give it its group.
        fs.lchownSync(this.#at(next), 0, 0);
        fs.chmodSync(this.#at(next), 0o755);
      }
      here = next;
    }
    this.#folders.set(key, here);
    return here;
  }
}

const join = (folder: string, name: string): string => (folder === "/" ? `/${name}` : `${folder}/${name}`);

const full = (root: string, cause: unknown): FactoryError =>
  new FactoryError(
    "DISK_FULL",
    {
      what: "no room to unpack the image",
      why: `${root}: ${cause instanceof Error ? cause.message : String(cause)}`,
      fix: "free some space, or put the state folder elsewhere: FACTORY_STATE=…",
    },
    { cause },
  );
