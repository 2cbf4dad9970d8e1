import { createHash, type Hash } from "node:crypto";
import { installedPackages } from "./dpkg-status.js";
import { FileTree, impliedFolder } from "./file-tree.js";
import { cleanPath, layerPathOf } from "./layer-path.js";
import { type AccountFile, accountFiles, type FileIndex, octal, type PackageList, type StageEntry } from "./file-entry.js";
import type { TarHeader } from "../archive/tar-header.js";
import { TarReader } from "../archive/tar-reader.js";

const dpkgStatus = "/var/lib/dpkg/status";
/** Where rpm has its database: now, on older systems, and where image-based systems keep it. */
const rpmDatabases = ["/var/lib/rpm", "/usr/lib/sysimage/rpm", "/usr/share/rpm"].flatMap((folder) =>
  ["rpmdb.sqlite", "Packages", "Packages.db"].map((name) => `${folder}/${name}`),
);
const texts = new Set<string>([...accountFiles, dpkgStatus]);

/**
 * Folds layers over the index of what is below them (OCI image spec 1.1, layer.md). Each layer is pushed as the plain bytes of
 * its tar, in pieces of any size; content is hashed as it passes, so that memory holds names and no files.
 *
 *     const fold = new IndexFold(parent);
 *     for (const layer of layers) { fold.start(); for await (const piece of layer) fold.push(piece); fold.end(); }
 *     const index = fold.index();
 *
 * @throws Error on bytes that are no layer; the caller knows which layer it was
 */
export class IndexFold {
  readonly #tree: FileTree<StageEntry>;
  readonly #texts = new Map<string, string>();
  #packages: PackageList;
  #layer = 0;
  #reader: TarReader | null = null;
  #current: { header: TarHeader; path: string; hash: Hash | null; parts: Uint8Array[] | null } | null = null;

  constructor(parent: FileIndex | null) {
    this.#tree = new FileTree<StageEntry>(parent?.entries ?? [], impliedFolder);
    for (const [path, text] of Object.entries(parent?.accounts ?? {})) this.#texts.set(path, text);
    this.#packages = parent?.packages ?? { manager: "none" };
  }

  start(): void {
    this.#layer += 1;
    this.#reader = new TarReader({
      entry: (header) => this.#entry(header),
      data: (bytes) => this.#data(bytes),
      end: () => this.#end(),
    });
  }

  push(bytes: Uint8Array): void {
    this.#reader!.push(bytes);
  }

  end(): void {
    this.#reader!.finish();
    this.#reader = null;
  }

  index(): FileIndex {
    const accounts: Partial<Record<AccountFile, string>> = {};
    for (const path of accountFiles) {
      const text = this.#texts.get(path);
      if (text !== undefined && this.#tree.at(path)?.type === "file") accounts[path] = text;
    }
    return { format: 1, entries: this.#tree.entries(), accounts, packages: this.#packageList() };
  }

  #packageList(): PackageList {
    if (this.#tree.at(dpkgStatus)?.type === "file") {
      const text = this.#texts.get(dpkgStatus);
      return text === undefined ? this.#packages : { manager: "dpkg", installed: installedPackages(text) };
    }
    const database = rpmDatabases.find((path) => this.#tree.at(path)?.type === "file");
    return database === undefined ? { manager: "none" } : { manager: "rpm", database, installed: null };
  }

  #entry(header: TarHeader): void {
    const { is, path } = layerPathOf(header.path);
    if (is === "opaque") this.#tree.clear(path, this.#layer);
    else if (is === "whiteout") this.#tree.remove(path, this.#layer);
    else {
      const content = header.type === "file";
      this.#current = {
        header,
        path,
        hash: content ? createHash("sha256") : null,
        parts: content && texts.has(path) ? [] : null,
      };
    }
  }

  #data(bytes: Uint8Array): void {
    this.#current?.hash?.update(bytes);
    this.#current?.parts?.push(bytes.slice());
  }

  #end(): void {
    const current = this.#current;
    this.#current = null;
    if (current === null) return;
    const { header, path, hash, parts } = current;
    if (parts !== null) this.#texts.set(path, Buffer.concat(parts).toString("utf8"));
    const xattrs = Object.keys(header.xattrs).length === 0 ? {} : { xattrs: header.xattrs };
    const common = { path, mode: octal(header.mode), uid: header.uid, gid: header.gid, ...xattrs };
    this.#tree.put(this.#complete(header, common, hash), this.#layer);
  }

  #complete(header: TarHeader, common: Omit<StageEntry, "type">, hash: Hash | null): StageEntry {
    switch (header.type) {
      case "file":
        return { ...common, type: "file", size: header.size, sha256: hash!.digest("hex") };
      case "symlink":
        return { ...common, type: "symlink", mode: "777", target: header.target };
      case "hardlink": {
        const hardlink = cleanPath(header.target);
        const other = this.#tree.at(hardlink);
        if (other === null || other.type === "directory")
          throw new Error(`${common.path} is a hard link to ${hardlink}, which is ${other === null ? "not there" : "a folder"}`);
        if (texts.has(common.path) && this.#texts.has(hardlink)) this.#texts.set(common.path, this.#texts.get(hardlink)!);
        return { ...other, path: common.path, hardlink };
      }
      case "directory":
      case "character":
      case "block":
      case "fifo":
        return { ...common, type: header.type };
    }
  }
}
