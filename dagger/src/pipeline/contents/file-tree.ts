import type { StageEntry } from "./file-entry.js";

/** A path of a tree of files; `layer` tells which fold put it there, for whiteouts speak of the layers below only. */
export type Node<E extends StageEntry> = { entry: E; layer: number; children: Map<string, Node<E>> | null };

/** A folder that no layer tells and that a path of one leads through. */
export const impliedFolder = (path: string) => ({ path, type: "directory", mode: "755", uid: 0, gid: 0 }) as const;
/** As many as Linux follows (path_resolution(7)). */
const mostLinks = 40;
/** Paths that a tree may have, folders that are only led through among them: the largest images have half as many, and memory holds them. */
const mostPaths = 1_000_000;

/** The files of a stage while its layers are laid one over the other. */
export class FileTree<E extends StageEntry> {
  readonly #root: Node<E>;
  readonly #implied: (path: string) => E;
  #made = 0;

  constructor(entries: readonly E[], implied: (path: string) => E) {
    this.#implied = implied;
    this.#root = { entry: implied("/"), layer: 0, children: new Map() };
    for (const entry of entries) this.put(entry, 0);
  }

  /** Puts an entry in place of what is there; a directory over a directory keeps what it holds. */
  put(entry: E, layer: number): void {
    const { parent, name } = this.#place(entry.path, layer);
    if (parent === null) {
      if (entry.type !== "directory") throw new Error("a layer whose root is no folder");
      this.#root.entry = { ...entry, path: "/" };
      this.#root.layer = layer;
      return;
    }
    const children = parent.children!;
    const old = children.get(name);
    const path = below(parent.entry.path, name);
    if (old === undefined) this.#count();
    children.set(name, {
      entry: path === entry.path ? entry : { ...entry, path },
      layer,
      children: entry.type === "directory" ? (old?.children ?? new Map()) : null,
    });
  }

  /** A whiteout: what the layers below have at a path is gone. */
  remove(path: string, layer: number): void {
    const found = this.#find(path);
    if (found === null || found.parent === null) return;
    if (found.node.layer < layer)
      found.parent.children!.delete(found.node.entry.path.slice(found.node.entry.path.lastIndexOf("/") + 1));
    else prune(found.node, layer);
  }

  /** An opaque directory: what the layers below have in it is gone. */
  clear(path: string, layer: number): void {
    const node = this.#walk(wordsOf(path), null);
    if (node !== null) prune(node, layer);
  }

  /** The entry at a path, links on the way followed, the last one not. */
  at(path: string): E | null {
    return this.#find(path)?.node.entry ?? null;
  }

  /** Sorted by path. */
  entries(): E[] {
    const all: E[] = [];
    const visit = (node: Node<E>): void => {
      all.push(node.entry);
      if (node.children !== null) for (const child of node.children.values()) visit(child);
    };
    visit(this.#root);
    return all.sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  #count(): void {
    this.#made += 1;
    if (this.#made > mostPaths) throw new Error(`layers with more than ${mostPaths} paths`);
  }

  #find(path: string): { node: Node<E>; parent: Node<E> | null } | null {
    const words = wordsOf(path);
    const parent = this.#walk(words.slice(0, -1), null);
    const name = words.at(-1);
    if (name === undefined) return { node: this.#root, parent: null };
    const node = parent?.children?.get(name);
    return parent === null || node === undefined ? null : { node, parent };
  }

  #place(path: string, layer: number): { parent: Node<E> | null; name: string } {
    const words = wordsOf(path);
    const name = words.at(-1);
    if (name === undefined) return { parent: null, name: "" };
    return { parent: this.#walk(words.slice(0, -1), layer)!, name };
  }

  /** The directory that words lead to, as an extracting runtime finds it: through links, and never out of the root. */
  #walk(words: readonly string[], makeIn: number | null): Node<E> | null {
    const rest = [...words].reverse();
    const trail: Node<E>[] = [this.#root];
    let links = 0;
    for (let word = rest.pop(); word !== undefined; word = rest.pop()) {
      const here = trail.at(-1)!;
      if (word === "..") {
        if (trail.length > 1) trail.pop();
        continue;
      }
      let next = here.children!.get(word);
      if (next?.entry.type === "symlink" && links < mostLinks) {
        links += 1;
        const target = next.entry.target ?? "";
        if (target.startsWith("/")) trail.length = 1;
        rest.push(...wordsOf(target).reverse());
        continue;
      }
      if (next === undefined || next.children === null) {
        if (makeIn === null) return null;
        this.#count();
        next = { entry: this.#implied(below(here.entry.path, word)), layer: makeIn, children: new Map() };
        here.children!.set(word, next);
      }
      trail.push(next);
    }
    return trail.at(-1)!;
  }
}

const below = (folder: string, name: string): string => (folder === "/" ? `/${name}` : `${folder}/${name}`);

/** The parts of a path; ".." stays, and means what it means at the place it is met. */
export const wordsOf = (path: string): string[] => path.split("/").filter((word) => word !== "" && word !== ".");

const prune = <E extends StageEntry>(node: Node<E>, layer: number): void => {
  if (node.children === null) return;
  for (const [name, child] of node.children) {
    if (child.layer < layer) node.children.delete(name);
    else prune(child, layer);
  }
};
