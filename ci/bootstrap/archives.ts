import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { copyFile, link, mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import { words, type Apt } from "../lock/apt/apt.js";
import { pinOf, type Choice } from "../lock/apt/apt-packages.js";

/**
 * Puts the .deb files of `choices` into `folder`, under the names that apt looks for, from the user's cache where it has them.
 * The cache is named by content and every file is hashed before use: apt itself compares only sizes of files it finds there.
 * @throws FactoryError MIRROR_UNREACHABLE, CHECKSUM_MISMATCH
 */
export async function gatherArchives(apt: Apt, choices: readonly Choice[], folder: string, cache: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await mkdir(cache, { recursive: true });
  const absent: Choice[] = [];
  for (const choice of choices) if (!(await fromCache(choice, folder, cache))) absent.push(choice);
  if (absent.length === 0) return;
  // apt verifies each download against the signed metadata.
  const download = await apt.get(["download", "-q", ...absent.map(pinOf)], { cwd: folder });
  if (download.exitCode !== 0) throw failed(apt, download.stderr.includes("Hash Sum mismatch"), words(download));
  for (const { sha256, file } of absent) if (sha256 !== null) await share(join(folder, file), join(cache, `${sha256}.deb`));
}

async function fromCache({ sha256, file }: Choice, folder: string, cache: string): Promise<boolean> {
  if (sha256 === null) return false;
  const kept = join(cache, `${sha256}.deb`);
  const found = await sha256Of(kept).catch(() => null);
  if (found === null) return false;
  if (found !== sha256) {
    await rm(kept, { force: true });
    return false;
  }
  await share(kept, join(folder, file));
  return true;
}

/** One file under two names where the file system can do it, a copy otherwise. */
async function share(from: string, to: string): Promise<void> {
  await rm(to, { force: true });
  const linked = await link(from, to).then(
    () => true,
    () => false,
  );
  if (linked) return;
  const fresh = `${to}.${process.pid}`;
  await copyFile(from, fresh);
  await rename(fresh, to);
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const part of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(part as Buffer);
  return hash.digest("hex");
}

const failed = (apt: Apt, corrupt: boolean, why: string): FactoryError =>
  corrupt
    ? new FactoryError("CHECKSUM_MISMATCH", {
        what: `a package of ${apt.source.mirror} is not what its signed metadata says`,
        why,
        fix: "run the same command again; if it stays so, use another `mirror` in images.yaml",
      })
    : new FactoryError("MIRROR_UNREACHABLE", {
        what: `cannot download packages from ${apt.source.mirror}`,
        why,
        fix: "check the network and HTTP_PROXY; then run the same command again; what arrived is kept",
      });
