import { type ParentIndex, BelowFiles, nameOf, parentPath } from "../contents/parent-index.js";
import { wordsOf } from "../contents/file-tree.js";
import { changeOfType, type LayerEntry, leadsNowhere, throughFile, whiteoutName } from "./layer-entry.js";
import { bits, octal } from "../contents/file-entry.js";

export type Ownership = { uid: number; gid: number };
const mostLinks = 40;

/** The entries of one layer while its steps are carried out, over what is below. */
export class LayerTree {
  readonly #entries = new Map<string, LayerEntry>();
  readonly #below: BelowFiles;

  constructor(below: ParentIndex) {
    this.#below = new BelowFiles(below);
  }

  /** Sorted, so that a directory precedes what it holds. */
  entries(): LayerEntry[] {
    return [...this.#entries.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  index(accounts: ParentIndex["accounts"]): ParentIndex {
    return this.#below.index(accounts);
  }

  /**
   * Puts a file or a link. The directories that lead to it are made as `parents` says where they are absent, and left alone
   * where they are not.
   * @throws FactoryError CONFIG_INVALID
   */
  put(entry: Exclude<LayerEntry, { type: "directory" }>, parents: Ownership): void {
    const path = this.#join(this.#directory(parentPath(entry.path), parents), nameOf(entry.path), entry.path);
    const found = this.#below.at(path);
    const like = entry.type === "symlink" ? "symlink" : "other";
    if (found !== null && found.type !== like) {
      throw changeOfType(entry.path, found.type, entry.type, found.type === "symlink" ? found.target : undefined);
    }
    this.#set({ ...entry, path });
  }

  /** The directories that lead to and are a path. */
  lead(path: string, parents: Ownership): void {
    this.#directory(path, parents);
  }

  /** Makes a directory of a copied tree: what is there already keeps its mode and owner, and a link to a directory is one. */
  place(path: string, owner: Ownership, parents: Ownership): void {
    if (path === "/") return;
    const parent = this.#directory(parentPath(path), parents);
    const at = this.#join(parent, nameOf(path), path);
    const found = this.#below.at(at);
    if (found === null) this.#set({ path: at, type: "directory", mode: "755", ...owner });
    else this.#directory(path, parents);
  }

  /**
   * A directory with this mode and owner, whether it was there or not, as `install -d -m -o -g` leaves it: of one that was there
   * the setuid and setgid bits stay even where the mode does not name them (coreutils manual, "Directories and the Set-User-ID…").
   */
  directory(path: string, mode: string, owner: Ownership): void {
    const parents = { uid: 0, gid: 0 };
    const above = path === "/" ? "/" : this.#directory(parentPath(path), parents);
    const at = path === "/" ? "/" : this.#join(above, nameOf(path), path);
    const found = this.#below.at(at);
    if (found === null) {
      this.#set({ path: at, type: "directory", mode: octal(bits(mode) | this.#inheritedBit(above)), ...owner });
      return;
    }
    // Through a link, as install goes through it.
    const real = this.#directory(path, parents);
    const is = this.#below.at(real);
    if (is?.type !== "directory") throw changeOfType(path, is?.type ?? "other", "directory");
    const kept = bits(is.mode) & 0o6000;
    const wanted = octal(bits(mode) | kept);
    if (is.mode !== wanted || is.uid !== owner.uid || is.gid !== owner.gid) {
      this.#set({ path: real, type: "directory", mode: wanted, ...owner });
    }
  }

  /** The directory that a path leads to, links followed; absent ones are made. */
  #directory(path: string, make: Ownership): string {
    const rest = wordsOf(path).reverse();
    let here = "/";
    let links = 0;
    // How many words at the end of `rest` come from the target of a link, and which.
    let borrowed: { words: number; link: string; target: string } | null = null;
    for (let word = rest.pop(); word !== undefined; word = rest.pop()) {
      if (borrowed !== null && rest.length < borrowed.words) borrowed = null;
      if (word === "..") {
        here = parentPath(here);
        continue;
      }
      const at = this.#join(here, word, path);
      const found = this.#below.at(at);
      switch (found?.type) {
        case "directory":
          here = at;
          break;
        case "symlink": {
          links += 1;
          if (links > mostLinks) throw leadsNowhere(path, at, at);
          borrowed ??= { words: rest.length, link: at, target: found.target };
          if (found.target.startsWith("/")) here = "/";
          rest.push(...wordsOf(found.target).reverse());
          break;
        }
        case "other":
          throw throughFile(path, at);
        case undefined:
          if (borrowed !== null) throw leadsNowhere(path, borrowed.link, borrowed.target);
          this.#make(at, here, make);
          here = at;
          break;
      }
    }
    return here;
  }

  /** As mkdir does: below a setgid directory the group and the bit are inherited (inode(7)); a named owner is set all the same. */
  #make(path: string, parent: string, owner: Ownership): void {
    const bit = this.#inheritedBit(parent);
    const above = this.#below.at(parent);
    const gid = bit !== 0 && owner.uid === 0 && owner.gid === 0 && above?.type === "directory" ? above.gid : owner.gid;
    this.#set({ path, type: "directory", mode: octal(0o755 | bit), uid: owner.uid, gid });
  }

  #inheritedBit(parent: string): number {
    const above = this.#below.at(parent);
    return above?.type === "directory" ? bits(above.mode) & 0o2000 : 0;
  }

  #join(folder: string, name: string, wanted: string): string {
    if (name.startsWith(".wh.")) throw whiteoutName(wanted);
    return folder === "/" ? `/${name}` : `${folder}/${name}`;
  }

  #set(entry: LayerEntry): void {
    this.#entries.set(entry.path, entry);
    this.#below.set(entry);
  }
}
