/**
 * What the path of a layer's entry means (OCI image spec 1.1, layer.md). Paths are absolute, without `.`, doubled and trailing slashes.
 * `whiteout`: what the layers below have at this path is gone. `opaque`: what they have in this folder is gone.
 */
export type LayerPath = { is: "entry" | "whiteout" | "opaque"; path: string };

const whiteout = ".wh.";
const opaque = ".wh..wh..opq";
/** Bytes of a path and of a name that Linux takes (limits.h): what is longer cannot be made. */
const longestPath = 4096;
const longestName = 255;

/** @throws Error for a path that no root filesystem can have, or that leads out of it */
export const layerPathOf = (written: string): LayerPath => {
  const path = cleanPath(written);
  const slash = path.lastIndexOf("/");
  const [folder, name] = [path.slice(0, slash), path.slice(slash + 1)];
  if (name === opaque) return { is: "opaque", path: folder || "/" };
  if (!name.startsWith(whiteout)) return { is: "entry", path };
  const gone = name.slice(whiteout.length);
  // A name of nothing, of the folder itself or of the one above: no file is called so.
  if (gone === "" || gone === "." || gone === "..") throw refused(written, "a whiteout of no name");
  return { is: "whiteout", path: `${folder}/${gone}` };
};

/** Also for the target of a hard link, which is a path of the image. @throws Error as `layerPathOf` */
export const cleanPath = (written: string): string => {
  if (written.length > longestPath) throw refused(written, "a path of more than 4096 characters");
  if (written.includes("\0")) throw refused(written, "a path with a NUL");
  const words = written.split("/").filter((word) => word !== "" && word !== ".");
  if (words.includes("..")) throw refused(written, "a path with ..");
  if (words.some((word) => word.length > longestName)) throw refused(written, "a name of more than 255 characters");
  return `/${words.join("/")}`;
};

const refused = (written: string, why: string): Error =>
  new Error(`a layer with ${why}: ${JSON.stringify(written.slice(0, 200))}`);
