import { mkdirSync } from "node:fs";
import { basename, dirname } from "node:path";
import { isErrno } from "../../dagger/src/filesystem/errno.js";
import { foldersInside } from "../../dagger/src/filesystem/folders-inside.js";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import { replaceFile } from "./atomic-write.js";

/**
 * Replaces a file of a project. No link below the project's folder is followed at any moment: what a repository holds chooses no place outside it.
 * @param path relative to the root
 * @throws FactoryError CONFIG_INVALID
 */
export const replaceInside = (root: string, path: string, text: string): void => {
  const parts = dirname(path)
    .split("/")
    .filter((part) => part !== ".");
  const folders = foldersInside(root);
  try {
    for (const [index, part] of parts.entries())
      folders.within(parts.slice(0, index).join("/"), (at) => makeFolder(`${at}/${part}`, path, part));
    folders.within(parts.join("/"), (at) => replaceFile(`${at}/${basename(path)}`, text));
  } catch (error) {
    throw isErrno(error, "ENOTDIR", "ELOOP") ? refused(path, dirname(path)) : error;
  } finally {
    folders.close();
  }
};

const makeFolder = (folder: string, path: string, part: string): void => {
  if (part === "..") throw refused(path, part);
  try {
    mkdirSync(folder);
  } catch (error) {
    if (!isErrno(error, "EEXIST")) throw error;
  }
};

const refused = (path: string, part: string): FactoryError =>
  new FactoryError("CONFIG_INVALID", {
    what: `${path} is not written`,
    why: `${part} is a symbolic link or leads out of the project`,
    fix: "put a folder in its place",
  });
