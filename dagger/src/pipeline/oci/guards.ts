import type { ParentIndex } from "../contents/parent-index.js";
import type { ImageConfig } from "./image-config.js";
import type { Descriptor, ImageIndex, Manifest } from "./manifest.js";
import type { FileIndex } from "../contents/file-entry.js";

/**
 * Whether JSON that came from elsewhere has the shape that its type promises. A registry keeps whatever was pushed: what
 * is damaged is as good as absent, and must never be an exception of JavaScript's.
 */
const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const isText = (value: unknown): value is string => typeof value === "string";
const areTexts = (value: unknown): boolean => Array.isArray(value) && value.every(isText);
const digest = /^sha256:[0-9a-f]{64}$/;

export const isDescriptor = (value: unknown): value is Descriptor =>
  isObject(value) &&
  isText(value["mediaType"]) &&
  isText(value["digest"]) &&
  digest.test(value["digest"]) &&
  Number.isSafeInteger(value["size"]) &&
  Number(value["size"]) >= 0;

const areDescriptors = (value: unknown): boolean => Array.isArray(value) && value.every(isDescriptor);

const hasAnnotations = ({ annotations }: Readonly<Record<string, unknown>>): boolean =>
  annotations === undefined || (isObject(annotations) && Object.values(annotations).every(isText));

/** What bytes say as JSON; null where they are none. */
export const jsonOf = (bytes: Uint8Array): unknown => {
  try {
    return JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch {
    return null;
  }
};

export const isImageIndex = (value: unknown): value is ImageIndex =>
  isObject(value) && areDescriptors(value["manifests"]) && hasAnnotations(value);

export const isManifest = (value: unknown): value is Manifest =>
  isObject(value) && isDescriptor(value["config"]) && areDescriptors(value["layers"]) && hasAnnotations(value);

/** As far as the assembler reads it. */
export const isImageConfig = (value: unknown): value is ImageConfig => {
  if (!isObject(value) || !isText(value["os"]) || !isText(value["architecture"])) return false;
  const { rootfs, config = {}, history = [] } = value;
  const lists = isObject(config) ? [config["Env"], config["Entrypoint"], config["Cmd"]] : [null];
  return (
    isObject(rootfs) &&
    areTexts(rootfs["diff_ids"]) &&
    isObject(config) &&
    lists.every((list) => list === undefined || list === null || areTexts(list)) &&
    Array.isArray(history) &&
    history.every(isObject)
  );
};

export const isParentIndex = (value: unknown): value is ParentIndex =>
  isObject(value) &&
  value["format"] === 1 &&
  isListOf(value["directories"], ([path, mode, uid, gid, names]) => {
    return isText(path) && isText(mode) && Number.isInteger(uid) && Number.isInteger(gid) && isText(names);
  }) &&
  isListOf(value["symlinks"], ([path, target]) => isText(path) && isText(target)) &&
  isObject(value["accounts"]) &&
  Object.values(value["accounts"]).every(
    (file) =>
      isObject(file) &&
      isText(file["text"]) &&
      isText(file["mode"]) &&
      Number.isInteger(file["uid"]) &&
      Number.isInteger(file["gid"]),
  );

export const isFileIndex = (value: unknown): value is FileIndex =>
  isObject(value) &&
  value["format"] === 1 &&
  Array.isArray(value["entries"]) &&
  value["entries"].every(isEntry) &&
  isObject(value["accounts"]) &&
  Object.values(value["accounts"]).every(isText) &&
  isObject(value["packages"]) &&
  (value["packages"]["manager"] !== "dpkg" || areTexts(value["packages"]["installed"]));

const entryTypes = new Set<unknown>(["file", "directory", "symlink", "character", "block", "fifo"]);
const isEntry = (value: unknown): boolean =>
  isObject(value) &&
  isText(value["path"]) &&
  entryTypes.has(value["type"]) &&
  isText(value["mode"]) &&
  Number.isInteger(value["uid"]) &&
  Number.isInteger(value["gid"]) &&
  (value["type"] !== "file" || (Number.isSafeInteger(value["size"]) && isText(value["sha256"]))) &&
  (value["type"] !== "symlink" || isText(value["target"])) &&
  (value["xattrs"] === undefined || (isObject(value["xattrs"]) && Object.values(value["xattrs"]).every(isText)));

const isListOf = (value: unknown, holds: (row: readonly unknown[]) => boolean): boolean =>
  Array.isArray(value) && value.every((row) => Array.isArray(row) && holds(row));
