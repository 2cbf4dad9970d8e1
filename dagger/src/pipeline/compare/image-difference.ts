import type { FileIndex, StageEntry } from "../contents/file-entry.js";
import type { ImageConfig } from "../oci/image-config.js";

/** One thing in which image B is not image A. Values of a side where it is absent are null. */

export type ImageDifference =
  | { differs: "config"; field: string; a: string | null; b: string | null }
  /** `below`: how many paths a directory that is on one side only holds there; they are not told one by one. */
  | { differs: "presence"; path: string; only: "a" | "b"; type: StageEntry["type"]; below: number }
  | { differs: "type"; path: string; a: StageEntry["type"]; b: StageEntry["type"] }
  | { differs: "content"; path: string; a: Content; b: Content }
  | { differs: "target"; path: string; a: string; b: string }
  | { differs: "mode"; path: string; a: string; b: string }
  | { differs: "owner"; path: string; a: string; b: string }
  /** Values in base64. */
  | { differs: "xattr"; path: string; name: string; a: string | null; b: string | null }
  /** The paths that share an inode with this one, itself included. */
  | { differs: "hardlinks"; path: string; a: readonly string[]; b: readonly string[] };
export type Content = { size: number; sha256: string };
/** An image as a value: what a container is started with, and every path that it sees. */

export type ImageValue = {
  /** Null for a root filesystem on its own (an export), which has none: then only files are compared. */
  config: ImageConfig | null;
  index: FileIndex;
};
