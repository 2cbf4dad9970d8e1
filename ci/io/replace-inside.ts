import { lstatSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { FactoryError } from "../../dagger/src/pipeline/error.js";
import { replaceFile } from "./replace-file.js";

/**
 * Replaces a file of a project. No link below the project's folder is followed: what a repository holds chooses no place outside it.
 * @throws FactoryError CONFIG_INVALID
 */
export const replaceInside = (root: string, path: string, text: string): void => {
  let folder = root;
  for (const part of dirname(path).split("/")) {
    folder = join(folder, part);
    mkdirSync(folder, { recursive: true });
    if (part === ".." || (part !== "." && !lstatSync(folder).isDirectory()))
      throw new FactoryError("CONFIG_INVALID", {
        what: `${path} is not written`,
        why: `${part} is a symbolic link or leads out of the project`,
        fix: "put a folder in its place",
      });
  }
  replaceFile(join(root, path), text);
};
