/**
 * # ci/lock/apt
 *
 * Resolves Debian packages by asking apt itself. No version is chosen here.
 */
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { FactoryError } from "../../../dagger/src/pipeline/common/error.js";
import type { PackageSet } from "../../../dagger/src/pipeline/config/lock.js";
import { openApt, words, type Apt, type DebianSource } from "./apt.js";
import { misshapen, readAnswer } from "../common/answer.js";
import { closest } from "../../../dagger/src/pipeline/common/suggest.js";

export type DebianRequest = DebianSource & {
  /** Packages beyond minbase that the bootstrap installs. */
  include: readonly string[];
  /** Packages that base-tools installs on top of the bootstrapped base. */
  requested: readonly string[];
  /** An empty folder for apt's private state; the caller removes it. */
  work: string;
  /** The user's cache folder, or null: keeps package lists between runs. */
  cache: string | null;
  signal?: AbortSignal;
};

/** One package that apt would install: where from and what it must hash to. */
export type Choice = { name: string; version: string; file: string; sha256: string | null };

const byCodeUnit = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
export const pinOf = ({ name, version }: Choice): string => `${name}=${version}`;
const sorted = (names: Iterable<string>): string[] => [...new Set(names)].sort(byCodeUnit);

/**
 * The exact versions that a bootstrapped Debian base and `apt-get install --no-install-recommends` on top of it bring,
 * by the host's apt with private state: no emulation is needed for another architecture, and signatures are verified.
 * @throws FactoryError HOST_TOOL_MISSING, MIRROR_UNREACHABLE, CHECKSUM_MISMATCH, CONFIG_INVALID (unknown or uninstallable package), INTERRUPTED
 */
export async function resolveDebian(request: DebianRequest): Promise<{ bootstrap: PackageSet; packages: PackageSet }> {
  const apt = await openApt(
    request,
    request.work,
    request.cache === null ? null : join(request.cache, "apt-lists"),
    request.signal,
  );
  const base = await minbase(apt, request.include);
  const bootstrap = { requested: sorted(request.include), packages: sorted(base.map(pinOf)) };
  const status = await installedStatus(apt, bootstrap.packages);
  const added = request.requested.length === 0 ? [] : await choose(apt, request.requested, status);
  return {
    bootstrap,
    packages: { requested: sorted(request.requested), packages: sorted(added.map(pinOf)) },
  };
}

/** What `mmdebstrap --variant=minbase --include=…` installs: essential packages, priority required, apt, and what these need. */
export const minbase = (apt: Apt, include: readonly string[]): Promise<Choice[]> => {
  const pattern = `?narrow(?architecture(${apt.source.architecture}),?or(?essential,?priority(required)))`;
  return choose(apt, include, join(apt.folder, "status"), [pattern, "apt"]);
};

/** Without it a name that no package has is read as a regular expression, and whatever it matches is installed. */
const exact = ["-o", "APT::Cmd::Pattern-Only=true"];

/** Says what apt would install for `names` on a machine whose dpkg status is `status`. */
async function choose(apt: Apt, names: readonly string[], status: string, also: readonly string[] = []): Promise<Choice[]> {
  const invalid = names.filter((name) => !/^[a-z0-9][a-z0-9+.-]*[a-z0-9+.](=[A-Za-z0-9.+:~-]+)?$/.test(name));
  if (invalid.length > 0) throw notPackages(invalid);
  const answer = await apt.get([
    "install",
    "-q",
    "--print-uris",
    ...exact,
    "-o",
    `Dir::State::status=${status}`,
    ...also,
    ...names,
  ]);
  if (answer.exitCode !== 0) throw await unsolvable(apt, words(answer));
  return readUris(answer.stdout);
}

/**
 * Reads `apt-get --print-uris`: 'address' name_version_architecture.deb size SHA256:hash. Other lines are apt's progress.
 * @throws FactoryError MIRROR_FAILED for a package whose name, version or file name is of another form: what is passed over would be left out
 */
export const readUris = (text: string): Choice[] =>
  text.split("\n").flatMap((line) => {
    if (!line.startsWith("'")) return [];
    const [, file = "", rest = ""] = /^'[^']*' (\S+) \d+ ?(.*)$/.exec(line) ?? [];
    const [, name = "", encoded = ""] = /^([a-z0-9][a-z0-9+.-]*)_([A-Za-z0-9.+~%-]+)_[a-z0-9-]+\.deb$/.exec(file) ?? [];
    const version = readAnswer("apt-get", () => decodeURIComponent(encoded));
    if (!/^[A-Za-z0-9.+:~-]+$/.test(version)) throw misshapen("apt-get", `not a package: ${line.slice(0, 300)}`);
    const sha256 = /^SHA256:([0-9a-f]{64})$/.exec(rest)?.[1] ?? null;
    return [{ name, version, file, sha256 }];
  });

/** A dpkg status file of a machine that has exactly `packages`. */
async function installedStatus(apt: Apt, packages: readonly string[]): Promise<string> {
  const shown = packages.length === 0 ? { stdout: "" } : await cached(apt, ["show", ...packages]);
  // apt-cache ends with 0 whatever it does not find.
  const known = new Set(
    [...shown.stdout.matchAll(/^Package: (.*)$[^]*?^Version: (.*)$/gm)].map(([, name, version]) => `${name}=${version}`),
  );
  const absent = packages.filter((pin) => !known.has(pin));
  if (absent.length > 0) throw misshapen(apt.source.mirror, `no description of ${absent.slice(0, 8).join(", ")}`);
  const file = join(apt.folder, "status.base");
  await rm(file, { force: true });
  await writeFile(file, shown.stdout.replace(/^(Package: .*)$/gm, "$1\nStatus: install ok installed"));
  return file;
}

/** What apt-cache knows. @throws FactoryError MIRROR_FAILED when it cannot read its lists, or does not know what they named a moment ago */
export const cached = async (apt: Apt, args: readonly string[]): Promise<{ stdout: string }> => {
  const answer = await apt.cache(args);
  if (answer.exitCode !== 0) throw misshapen(apt.source.mirror, words(answer));
  return answer;
};

async function unsolvable(apt: Apt, why: string): Promise<FactoryError> {
  const unknown = [...why.matchAll(/Unable to locate package (\S+)/g)].map((match) => match[1] ?? "");
  const hints: string[] = [];
  for (const name of unknown) {
    const known = await apt.cache(["pkgnames", name.slice(0, 1)]);
    const near = closest(name, known.stdout.split("\n"));
    if (near !== null) hints.push(`${name} → ${near}`);
  }
  const where = `${apt.source.suite} (${apt.source.architecture})`;
  return new FactoryError("CONFIG_INVALID", {
    what:
      unknown.length > 0
        ? `no package ${unknown.join(", ")} in ${where}`
        : `apt finds no way to install the packages of ${where}`,
    why,
    fix: hints.length > 0 ? `did you mean: ${hints.join(", ")}? Correct images.yaml` : "correct the package names in images.yaml",
  });
}

const notPackages = (names: readonly string[]): FactoryError =>
  new FactoryError("CONFIG_INVALID", {
    what: `not the name of a Debian package: ${names.map((name) => JSON.stringify(name)).join(", ")}`,
    why: "a name has lower-case letters, digits, + . and -, and may be followed by =version",
    fix: "correct the package names in images.yaml",
  });
