import { constants, fstatSync, closeSync, lstatSync, openSync, readFileSync, readlinkSync } from "node:fs";
import { wordsOf } from "../../dagger/src/pipeline/contents/file-tree.js";
import { bytesOf, textOf } from "../../dagger/src/pipeline/archive/tar-header.js";

/** As many as Linux follows (path_resolution(7)). */
const mostLinks = 40;

/**
 * Where a path of an unpacked image stands below its root: links are followed as a process in the image would follow them, and never out
 * of it. Null for what is not there. Nothing may run in the root meanwhile.
 * @returns a path of the image that holds no link
 */
export const inRoot = (root: string, path: string): string | null => {
  const rest = wordsOf(path).reverse();
  let here: string[] = [];
  let links = 0;
  for (let word = rest.pop(); word !== undefined; word = rest.pop()) {
    if (word === "..") {
      here.pop();
      continue;
    }
    const next = [...here, word];
    const at = Buffer.from(bytesOf(`${root}/${next.join("/")}`));
    const there = lstatSync(at, { throwIfNoEntry: false });
    if (there === undefined) return null;
    if (!there.isSymbolicLink()) {
      if (rest.length > 0 && !there.isDirectory()) return null;
      here = next;
      continue;
    }
    links += 1;
    if (links > mostLinks) return null;
    const target = textOf(readlinkSync(at, { encoding: "buffer" }));
    if (target.startsWith("/")) here = [];
    rest.push(...wordsOf(target).reverse());
  }
  return `/${here.join("/")}`;
};

/** Bytes of an account file; the largest have some tens of kilobytes. */
const longestText = 16 << 20;

/** The text of a file of an unpacked image; "" for what is not there and for what is no file. */
export const textInRoot = (root: string, path: string): string => {
  const at = inRoot(root, path);
  if (at === null) return "";
  const file = openToLook(`${root}${at}`);
  try {
    const stat = fstatSync(file);
    return stat.isFile() && stat.size <= longestText ? readFileSync(file, "utf8") : "";
  } finally {
    closeSync(file);
  }
};

/** A pipe or a device of an image never keeps the one who looks at it waiting. */
export const openToLook = (path: string | Buffer): number =>
  openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
