import { fileURLToPath } from "node:url";

/** The programs that this project brings from PyPI into the user's cache, pinned with the hashes of their files. */
export const hostToolsFile = fileURLToPath(new URL("../../builder/host-tools.txt", import.meta.url));
