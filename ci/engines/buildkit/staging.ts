import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { chmod, constants, copyFile, lstat, mkdir, readdir, readlink, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { FactoryError } from "../../../dagger/src/pipeline/common/error.js";
import type { Job } from "../interface/engine.js";

/** A job's files on their way to BuildKit: `dockerfile` and each named folder are folders of this machine. */
export type Staged = {
  dockerfile: string;
  context: string;
  folders: Readonly<Record<string, string>>;
  metadata: string;
};

/**
 * Copies what a job sends into `to`, and gives each file a modification time made from its content.
 *
 * BuildKit's sync takes two files for the same when name, mode, size and modification time agree, and would send a changed
 * file of equal size and time stale. Naming the source by its content would cure that too, but the dockerfile frontend
 * of 0.34 reads `contextkey` and then asks for "context" all the same. With times made from content the cheap comparison is right,
 * only changed files travel, and the user's own files are not touched. The times never reach a layer: they are
 * after the epoch, and the export sets those back to the epoch.
 * @throws FactoryError INPUT_MISSING
 */
export async function stage(job: Job, to: string): Promise<Staged> {
  const dockerfile = join(to, "dockerfile");
  await mkdir(dockerfile, { recursive: true });
  await writeFile(join(dockerfile, "Dockerfile"), job.dockerfile);
  // Takes precedence over a .dockerignore among the inputs: that one is a file to send like any other.
  await writeFile(join(dockerfile, "Dockerfile.dockerignore"), "# the context holds exactly the inputs\n");
  await setContentTime(join(dockerfile, "Dockerfile"), job.epoch);
  await setContentTime(join(dockerfile, "Dockerfile.dockerignore"), job.epoch);
  const context = join(to, "context");
  await copyTree(job.context, context, job.epoch);
  const folders: Record<string, string> = {};
  for (const [index, [name, folder]] of Object.entries(job.folders).entries()) {
    const copy = join(to, `folder${index}`);
    await copyTree(folder, copy, job.epoch);
    folders[name] = copy;
  }
  return { dockerfile, context, folders, metadata: join(to, "metadata.json") };
}

async function copyTree(from: string, to: string, epoch: number): Promise<void> {
  const names = await readdir(from).catch((cause: unknown) => {
    throw missing(from, cause);
  });
  await mkdir(to, { recursive: true });
  for (const name of names) {
    const source = join(from, name);
    const target = join(to, name);
    const found = await lstat(source);
    if (found.isDirectory()) {
      await copyTree(source, target, epoch);
      await chmod(target, found.mode & 0o7777);
    } else if (found.isSymbolicLink()) {
      await symlink(await readlink(source), target);
    } else if (found.isFile()) {
      await copyFile(source, target, constants.COPYFILE_FICLONE);
      await setContentTime(target, epoch);
    }
  }
}

async function setContentTime(file: string, epoch: number): Promise<void> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(file), hash);
  const time = contentTime(hash.digest(), epoch);
  await utimes(file, time, time);
}

/** 2^29 seconds are 17 years. */
const spread = 2 ** 29;

/**
 * Seconds since the Unix epoch, with microseconds, made from the first eight bytes of a sha256: 48 bits of it survive.
 * Always later than `epoch`.
 */
const contentTime = (sha256: Buffer, epoch: number): number =>
  epoch + 1 + (sha256.readUInt32BE(0) % spread) + (sha256.readUInt32BE(4) % 1_000_000) / 1_000_000;

const missing = (folder: string, cause: unknown) =>
  new FactoryError("INPUT_MISSING", {
    what: "cannot send the inputs",
    why: `${folder} cannot be read`,
    fix: "check that the folder is there, and run the same command again",
    cause,
  });
