import { createHash } from "node:crypto";
import { lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import type { StageEntry } from "../../../dagger/src/pipeline/contents/file-entry.js";

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** A folder as an index has it. */
export const walk = (root: string): StageEntry[] => {
  const visit = (path: string): StageEntry[] => {
    const at = join(root, path);
    const stat = lstatSync(at);
    const common = { path, uid: stat.uid, gid: stat.gid };
    if (stat.isSymbolicLink()) return [{ ...common, type: "symlink", mode: "777", target: readlinkSync(at) }];
    const mode = (stat.mode & 0o7777).toString(8);
    if (!stat.isDirectory()) return [{ ...common, mode, type: "file", size: stat.size, sha256: sha256(readFileSync(at)) }];
    return [
      { ...common, mode, type: "directory" },
      ...readdirSync(at).flatMap((name) => visit(path === "/" ? `/${name}` : `${path}/${name}`)),
    ];
  };
  return visit("/").sort((a, b) => (a.path < b.path ? -1 : 1));
};
