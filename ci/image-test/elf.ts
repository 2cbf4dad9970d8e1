import { closeSync, type Dirent, lstatSync, readdirSync, readSync } from "node:fs";
import { join } from "node:path";
import { inRoot, openToLook } from "../host/in-root.js";

/**
 * The ELF files (programs, shared objects) below these folders of an unpacked image, and the machine that each is for. Each is told
 * where it stands: links that lead to a folder are followed inside the image, links below it are not.
 */
export const elfFiles = (root: string, folders: readonly string[]): { path: string; machine: number }[] => {
  const found = new Map<string, number>();
  const header = Buffer.alloc(20);
  const visit = (folder: string) => {
    if (lstatSync(join(root, folder), { throwIfNoEntry: false })?.isDirectory() !== true) return;
    for (const entry of readdirSync(join(root, folder), { withFileTypes: true }) as Dirent[]) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) visit(path);
      else if (entry.isFile() && !found.has(path)) {
        const machine = machineOf(join(root, path), header);
        if (machine !== null) found.set(path, machine);
      }
    }
  };
  for (const folder of folders) {
    const real = inRoot(root, folder);
    if (real !== null) visit(real);
  }
  return [...found].map(([path, machine]) => ({ path, machine })).sort((a, b) => (a.path < b.path ? -1 : 1));
};

/** `e_machine` (System V ABI, ELF header), in the byte order that the header tells. */
const machineOf = (path: string, header: Buffer): number | null => {
  const file = openToLook(path);
  try {
    if (readSync(file, header, 0, header.length, 0) < header.length || header.readUInt32BE(0) !== 0x7f454c46) return null;
    return header[5] === 2 ? header.readUInt16BE(18) : header.readUInt16LE(18);
  } finally {
    closeSync(file);
  }
};
