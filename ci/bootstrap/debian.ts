/**
 * # ci/bootstrap
 *
 * A Debian base made from a package mirror on this machine. The same packages give the same layer, byte for byte.
 */
import { randomBytes } from "node:crypto";
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { debianOptions, pinsFile as PINS, pinsText, sourceLines } from "../../dagger/src/pipeline/steps/debian-base.js";
import { installedPackages } from "../../dagger/src/pipeline/contents/dpkg-status.js";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import type { Architecture } from "../../dagger/src/pipeline/common/stage.js";
import { ensureHostPrograms } from "../host/programs.js";
import { run } from "../host/process.js";
import { openApt, type Apt, type DebianSource } from "../lock/apt/apt.js";
import { cached, minbase, pinOf, type Choice } from "../lock/apt/apt-packages.js";
import { gatherArchives } from "./archives.js";
import { addRootImage, readTar } from "./layout.js";
import { gone, noEmulation, stale, stopped } from "./problem.js";

export type DebianBootstrap = DebianSource & {
  /** Packages beyond minbase. */
  include: readonly string[];
  /** The locked versions (`name=version`), all of them; null takes what the mirror has now. */
  packages: readonly string[] | null;
  /** Seconds since the Unix epoch, of every file newer than that and of the image. */
  epoch: number;
  /** The OCI layout to add the image to. */
  folder: string;
  /** The image's name in that layout's index.json. */
  name: string;
  /** The user's cache folder: package lists and packages are kept there. */
  cache: string;
  signal?: AbortSignal;
  /** Gets a line now and then. */
  report: (line: string) => void;
};

/**
 * Makes a Debian base from a package mirror (mmdebstrap's minbase) and adds it to an OCI layout as an image of one layer.
 * The mirror is only spoken to by the host's apt, before mmdebstrap starts: proxies, credentials and a CA of the host
 * are never near the root filesystem. Same inputs, same digest.
 * @throws FactoryError HOST_TOOL_MISSING, PLATFORM_UNSUPPORTED (no emulation), MIRROR_UNREACHABLE, CHECKSUM_MISMATCH,
 *   CONFIG_INVALID, PACKAGE_GONE (a locked version left the mirror), LOCK_STALE (the lock is of another set), STEP_FAILED, INTERRUPTED
 */
export async function bootstrapDebian(wanted: DebianBootstrap): Promise<{ digest: string; packages: readonly string[] }> {
  const { signal, report } = wanted;
  const emulated = await requireEmulation(wanted.architecture);
  const needed = [
    { program: "apt-get", apt: "apt" },
    { program: "mmdebstrap", apt: "mmdebstrap" },
    ...(emulated ? [{ program: "arch-test", apt: "arch-test" }] : []),
  ];
  const programs = await ensureHostPrograms(needed, process.env, report, signal);
  const work = await mkdtemp(join(tmpdir(), "factory-debian-"));
  const tar = join(wanted.folder, `.root-${randomBytes(6).toString("hex")}.tar`);
  try {
    await mkdir(wanted.folder, { recursive: true });
    report(`reading the package lists of ${wanted.suite} from ${wanted.mirror}`);
    const apt = await openApt(wanted, join(work, "apt"), join(wanted.cache, "apt-lists"), signal);
    const choices = await lockedChoices(apt, wanted, work);
    report(`gathering ${choices.length} packages`);
    await gatherArchives(apt, choices, join(work, "archives"), join(wanted.cache, "debs"));
    report(`installing ${choices.length} packages into a new root filesystem`);
    await mmdebstrap(programs.get("mmdebstrap") ?? "mmdebstrap", wanted, apt, work, tar);
    const snapshot = await readTar(tar, signal);
    const packages = choices.map(pinOf);
    const installed = installedPackages(snapshot.dpkgStatus);
    if (installed.join() !== packages.join()) throw stale(packages, installed);
    const createdBy = `mmdebstrap --variant=minbase ${wanted.suite} (${packages.length} packages)`;
    const { architecture, epoch, name } = wanted;
    const digest = await addRootImage(wanted.folder, { tar, architecture, epoch, name, createdBy }, snapshot, signal);
    return { digest, packages };
  } finally {
    await rm(work, { recursive: true, force: true });
    await rm(tar, { force: true });
  }
}

/** What to install, sorted; leaves the pins that hold apt to it in `work`. */
async function lockedChoices(apt: Apt, wanted: DebianBootstrap, work: string): Promise<Choice[]> {
  const locked = wanted.packages;
  if (locked !== null) {
    const missing = await absentFrom(apt, locked);
    if (missing.length > 0) throw gone(wanted, missing);
    await writePins(join(apt.folder, "etc/preferences.d", PINS), locked);
  }
  const choices = await minbase(apt, wanted.include).catch((error: unknown) => {
    // Pinned, apt sees the locked versions only: a failure means that the lock lacks something, not that the name is unknown.
    if (locked !== null && error instanceof FactoryError && error.code === "CONFIG_INVALID") throw stale(locked, null, error);
    throw error;
  });
  choices.sort((a, b) => (pinOf(a) < pinOf(b) ? -1 : 1));
  const pins = choices.map(pinOf);
  if (locked !== null && [...locked].sort().join() !== pins.join()) throw stale([...locked].sort(), pins);
  await writePins(join(work, PINS), pins);
  return choices;
}

async function writePins(file: string, packages: readonly string[]): Promise<void> {
  await writeFile(file, pinsText(packages));
}

/** The locked versions that no package list has, each with the version that took its place (or null). */
async function absentFrom(apt: Apt, locked: readonly string[]): Promise<{ locked: string; now: string | null }[]> {
  const known = new Map<string, string[]>();
  const table = await cached(apt, ["madison", ...locked.map((one) => one.replace(/=.*/, ""))]);
  for (const line of table.stdout.split("\n")) {
    const [name, version] = line.split("|").map((cell) => cell.trim());
    if (name && version) known.set(name, [...(known.get(name) ?? []), version]);
  }
  return locked.flatMap((one) => {
    const [name = "", version = ""] = one.split("=", 2);
    const versions = known.get(name) ?? [];
    return versions.includes(version) ? [] : [{ locked: one, now: versions[0] ?? null }];
  });
}

async function mmdebstrap(program: string, wanted: DebianBootstrap, apt: Apt, work: string, tar: string): Promise<void> {
  // Unprivileged, mmdebstrap's helper outside the user namespace reads these folders; mkdtemp makes them private to us.
  await chmod(work, 0o755);
  const inside = ["var/cache/apt/archives", "var/lib/apt/lists", "etc/apt/preferences.d"];
  const dropped = ["etc/resolv.conf", "etc/hostname", `etc/apt/preferences.d/${PINS}`];
  const below = (paths: readonly string[]) => paths.map((path) => `"$1/${path}"`).join(" ");
  const args = [
    ...debianOptions(wanted.include),
    `--mode=${process.getuid?.() === 0 ? "root" : "unshare"}`,
    "--format=tar",
    `--architectures=${wanted.architecture}`,
    // Lists and packages are brought in, so that nothing is downloaded here; an engine makes /dev itself.
    "--skip=update,output/dev",
    `--setup-hook=mkdir -p ${below(inside)}`,
    `--setup-hook=copy-in ${quoted(join(work, PINS))} /etc/apt/preferences.d`,
    `--setup-hook=sync-in ${quoted(join(work, "archives"))} /var/cache/apt/archives`,
    `--setup-hook=sync-in ${quoted(apt.lists)} /var/lib/apt/lists`,
    // What was brought in came with this user's ids and umask.
    `--setup-hook=chown -R root:root ${below(inside)} && chmod -R u=rwX,go=rX ${below(inside)}`,
    `--customize-hook=rm -f ${below(dropped)}`,
    wanted.suite,
    tar,
    ...sourceLines(wanted),
  ];
  const made = await run(program, args, {
    env: { ...QUIET, SOURCE_DATE_EPOCH: String(wanted.epoch) },
    ...(wanted.signal === undefined ? {} : { signal: wanted.signal }),
  });
  if (made.exitCode !== 0) throw stopped(wanted, made.stderr);
}

/** Maintainer scripts see none of the caller's language, proxies or apt settings. */
const QUIET = {
  LC_ALL: "C.UTF-8",
  TZ: "UTC",
  DEBIAN_FRONTEND: "noninteractive",
  PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  ...Object.fromEntries(
    [
      "APT_CONFIG",
      "http_proxy",
      "https_proxy",
      "no_proxy",
      "HTTP_PROXY",
      "HTTPS_PROXY",
      "NO_PROXY",
      "ALL_PROXY",
      "all_proxy",
    ].map((name) => [name, undefined]),
  ),
};

const quoted = (path: string): string => `'${path.replaceAll("'", `'\\''`)}'`;

/** mmdebstrap runs the maintainer scripts of the packages: another architecture needs the kernel's help. Says whether it is used. */
async function requireEmulation(architecture: Architecture): Promise<boolean> {
  const host = process.arch === "x64" ? "amd64" : process.arch;
  if (architecture === host) return false;
  const interpreter = architecture === "arm64" ? "qemu-aarch64" : "qemu-x86_64";
  const entry = await readFile(`/proc/sys/fs/binfmt_misc/${interpreter}`, "utf8").catch(() => "");
  if (!entry.startsWith("enabled")) throw noEmulation(architecture, host, interpreter);
  const program = /^interpreter (.*)$/m.exec(entry)?.[1];
  // With the flag F the kernel holds the program open: its path need not exist inside the new root.
  if (!/^flags: .*F/m.test(entry) || program === undefined) throw noEmulation(architecture, host, interpreter);
  return true;
}
