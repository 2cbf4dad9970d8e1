/**
 * # dagger/src/pipeline/layer
 *
 * The layer of an assembled stage: which entries it has, and its tar. The same steps on the same parent give the same bytes on every machine.
 */
import { createHash } from "node:crypto";
import { withAccount } from "./account-files.js";
import type { ParentIndex } from "../contents/parent-index.js";
import { FactoryError } from "../common/error.js";
import type { Entry } from "../context/snapshot.js";
import { hashOf } from "../common/canonical.js";
import type { Content, LayerEntry } from "./layer-entry.js";
import { LayerTree, type Ownership } from "./layer-tree.js";
import type { AccountFile } from "../contents/file-entry.js";
import type { Owner, Step, StepOf } from "../steps/step.js";
import { withoutEnd } from "../common/without-end.js";

export type AssembledLayer = {
  /** Sorted by path; empty where the steps change no file. */
  entries: readonly LayerEntry[];
  /** What the next stage is assembled on. */
  next: ParentIndex;
};

/**
 * The layer that the steps of an assembled stage add to what is below: pure over metadata, no file is read. It leaves what the
 * rendered instructions leave (script.ts, dockerfile.ts):
 *
 * - copy: files 644 or 755, directories 755, all of the step's owner, the directories that lead there too. Existing directories
 *   keep mode and owner.
 * - file: `install -D`: absent parents are root's, 755.
 * - directory: `install -d`: mode and owner are set on an existing directory too, and an entry is written only where they differ.
 * - user: lines at the end of the account files, and a home that group 0 can write.
 * - config: the working directory is made where it is absent.
 *
 * @param sizes sizes in bytes of files of the context, by path
 * @throws FactoryError CONFIG_INVALID for what may not be done to the files below, INPUT_MISSING for a file without a size
 */
export const assembleLayer = (steps: readonly Step[], below: ParentIndex, sizes: ReadonlyMap<string, number>): AssembledLayer => {
  if (steps.length === 0) return { entries: [], next: below };
  const tree = new LayerTree(below);
  let accounts = below.accounts;
  for (const step of steps) {
    switch (step.do) {
      case "copy":
        copy(tree, step);
        break;
      case "file":
        tree.put(fileOf(step, sizes), root);
        break;
      case "directory":
        tree.directory(step.path, step.mode, ownership(step.owner));
        break;
      case "user":
        accounts = addAccount(tree, accounts, step);
        break;
      case "config":
        if (step.change.workdir !== null) tree.lead(step.change.workdir, root);
        break;
      case "install":
      case "tool":
      case "compile":
      case "python":
      case "run":
        throw new Error(`a step that must run (${step.do}) cannot be assembled`);
    }
  }
  const entries = tree.entries();
  let next = entries.length === 0 ? below : null;
  return {
    entries,
    // Sorting every directory of a toolbox is for who stands above: nobody does on the last stage.
    get next() {
      return (next ??= tree.index(accounts));
    },
  };
};

/**
 * Names the bytes of a layer: equal keys, equal bytes. What the layer reads from below (links, account texts, which directories
 * are there) is in the key as far as it shows in the entries, so a changed base moves only the layers that it changes.
 */
export const layerKeyOf = (
  entries: readonly LayerEntry[],
  epoch: number,
  compression: "zstd" | "gzip",
  encoder: string,
): string => hashOf({ format: 1, entries, epoch, compression, encoder }).slice(0, 24);

/** What a stage's layer is, in words, for `docker history`: the names of what images.yaml says, not of every file. */
export const describeLayer = (stage: string, steps: readonly Step[]): string => {
  const files = steps.filter((step) => step.do === "file").map(({ path }) => path);
  const words = [
    ...steps.flatMap((step) => {
      switch (step.do) {
        case "copy":
          return [`copy ${step.items.map(({ from }) => from).join(" ")} to ${step.to}`];
        case "user":
          return [`user ${step.account.name}`];
        case "directory":
          return [`directory ${step.path}`];
        case "config":
          return step.change.workdir === null ? [] : [`workdir ${step.change.workdir}`];
        default:
          return [];
      }
    }),
    ...(files.length === 0 ? [] : [files.length > 3 ? `${files.length} files` : `file ${files.join(" ")}`]),
  ];
  return `image-factory ${stage}: ${words.join(", ") || "config"}`;
};

const root: Ownership = { uid: 0, gid: 0 };

const ownership = (owner: Owner): Ownership => {
  const [uid, gid] = owner.split(":");
  return { uid: Number(uid), gid: Number(gid) };
};

const copy = (tree: LayerTree, step: StepOf<"copy">): void => {
  const owner = ownership(step.owner);
  for (const item of step.items) {
    const inside = item.from === "." ? "" : `${item.from}/`;
    for (const entry of step.entries) {
      if (entry.path !== item.from && !entry.path.startsWith(inside)) continue;
      if (entry.path === item.from && entry.kind === "symlink") throw linkItself(item.from, entry.target);
      const rest = entry.path === item.from ? "" : `/${entry.path.slice(inside.length)}`;
      const path = `${withoutEnd(item.to, "/")}${rest}` || "/";
      placed(tree, entry, path, owner);
    }
    // A folder without entries of its own, or the context itself: the files alone would not make it.
    if (!step.entries.some(({ path }) => path === item.from) && item.to !== "") tree.lead(item.to, owner);
  }
};

const placed = (tree: LayerTree, entry: Entry, path: string, owner: Ownership): void => {
  switch (entry.kind) {
    case "directory":
      tree.place(path, owner, owner);
      break;
    case "symlink":
      tree.put({ path, type: "symlink", mode: "777", target: entry.target, ...owner }, owner);
      break;
    case "file": {
      const { size, sha256 } = entry;
      tree.put(
        { path, type: "file", mode: entry.executable ? "755" : "644", size, sha256, content: { from: entry.path }, ...owner },
        owner,
      );
    }
  }
};

const fileOf = (step: StepOf<"file">, sizes: ReadonlyMap<string, number>): LayerEntry & { type: "file" } => {
  const common = { path: step.path, mode: step.mode, ...ownership(step.owner) };
  if ("text" in step.source) return { ...common, ...textFile(step.source.text) };
  const { from, sha256 } = step.source;
  const size = sizes.get(from);
  if (size === undefined) {
    throw new FactoryError("INPUT_MISSING", {
      what: `${from} is not in the context`,
      why: `${step.path} takes its content from it`,
      fix: "create it, fix the name in images.yaml, or take it out of .dockerignore",
    });
  }
  return { ...common, type: "file", size, sha256, content: { from } };
};

const textFile = (text: string): { type: "file"; size: number; sha256: string; content: Content } => ({
  type: "file",
  size: Buffer.byteLength(text),
  sha256: createHash("sha256").update(text).digest("hex"),
  content: { text },
});

const addAccount = (tree: LayerTree, accounts: ParentIndex["accounts"], { account }: StepOf<"user">): ParentIndex["accounts"] => {
  const changed = withAccount(accounts, account);
  for (const [path, file] of Object.entries(changed)) {
    if (file === accounts[path as AccountFile]) continue;
    const { text, mode, uid, gid, xattrs } = file;
    tree.put({ path, mode, uid, gid, ...textFile(text), ...(xattrs === undefined ? {} : { xattrs }) }, root);
  }
  // Arbitrary UIDs of group 0 (OpenShift) must be able to write it, hence 775 and, by default, group 0.
  tree.directory(account.home, "775", { uid: account.uid, gid: account.gid });
  return changed;
};

const linkItself = (from: string, target: string): FactoryError =>
  new FactoryError("CONFIG_INVALID", {
    what: `cannot copy ${from}`,
    why: `it is a symbolic link to ${target}; builders copy what such a link points to, and only what stands below a folder as a link`,
    fix: "name in images.yaml what it points to, or the folder that it stands in",
  });
