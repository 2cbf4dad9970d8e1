import { randomBytes } from "node:crypto";
import { mkdir, readdir, rm, symlink } from "node:fs/promises";
import { join } from "node:path";
import { isAlive, nameOfProcess } from "../../host/process-lock.js";

const exporting = ".export-";

/**
 * A folder for BuildKit to export into beside an OCI layout, whose blobs are the layout's own.
 *
 * BuildKit's client writes a layout's index in place and fails at once when another client holds it, so that two stages
 * could not be exported at the same time and a reader might see half an index. Its blobs are sound: written aside, synced and
 * renamed. So each export gets an index of its own that nobody reads, and shares the blobs through a link;
 * a blob that is there already is not sent again.
 */
export async function openExport(layout: string): Promise<{ folder: string; close(): Promise<void> }> {
  await mkdir(join(layout, "blobs", "sha256"), { recursive: true });
  for (const name of await readdir(layout)) {
    if (name.startsWith(exporting) && !isAlive(name.slice(exporting.length)))
      await rm(join(layout, name), { recursive: true, force: true });
  }
  const folder = join(layout, `${exporting}${nameOfProcess(process.pid)}-${randomBytes(4).toString("hex")}`);
  await mkdir(folder);
  await symlink("../blobs", join(folder, "blobs"));
  return { folder, close: () => rm(folder, { recursive: true, force: true }) };
}
