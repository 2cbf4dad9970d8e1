import { access, cp, mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { keyring as KEYRING, sourceLines } from "../../../dagger/src/pipeline/steps/debian-base.js";
import { FactoryError } from "../../../dagger/src/pipeline/common/error.js";
import type { Architecture } from "../../../dagger/src/pipeline/common/stage.js";
import { run, type Finished } from "../../host/process.js";

/** Where Debian packages come from. */
export type DebianSource = {
  /** A codename: bookworm, trixie, sid. */
  suite: string;
  /** The address of an archive, without a slash at its end: `debianMirror` or another. */
  mirror: string;
  /** By default the mirror's address with `-security` appended, which is how Debian lays its mirrors out. */
  securityMirror?: string;
  architecture: Architecture;
};

/** An apt of our own: the host's programs, but none of its packages, sources, pins or hooks. */
export type Apt = {
  source: DebianSource;
  folder: string;
  lists: string;
  /** apt-get; a non-zero exit is a result. */
  get: (args: readonly string[], options?: { cwd?: string }) => Promise<Finished>;
  /** apt-cache, likewise. */
  cache: (args: readonly string[]) => Promise<Finished>;
};

/** How the host reaches its mirrors is kept (proxy, CA, clock policy); what it installs is not. */
const KEPT = /^Acquire::(http|https|Check-Valid-Until|Check-Date|Max-ValidTime|Proxy-Auto-Detect)\b/;

/**
 * Makes the private folders below `folder` and reads the mirrors' signed metadata.
 * @param kept a folder that keeps package lists for the next time; what is current is not downloaded again
 * @throws FactoryError HOST_TOOL_MISSING, MIRROR_UNREACHABLE, CONFIG_INVALID (no such suite), CHECKSUM_MISMATCH (signature), INTERRUPTED
 */
export async function openApt(source: DebianSource, folder: string, kept: string | null, signal?: AbortSignal): Promise<Apt> {
  await access(KEYRING).catch((cause: unknown) => {
    throw missing(`no ${KEYRING} on this machine`, cause);
  });
  for (const part of ["state/lists/partial", "cache/archives/partial", "etc/parts", "etc/sources.d", "etc/preferences.d", "log"])
    await mkdir(join(folder, part), { recursive: true });
  const lists = join(folder, "state/lists");
  const listsKept = kept === null ? null : join(kept, `${source.suite}-${source.architecture}`);
  if (listsKept !== null) await cp(listsKept, lists, { recursive: true, preserveTimestamps: true }).catch(() => undefined);
  await writeFile(join(folder, "status"), "");
  await writeFile(join(folder, "etc/sources.list"), `${sourceLines(source).join("\n")}\n`);
  const config = join(folder, "apt.conf");
  const host = await apt("apt-config", ["dump"], {}, signal);
  const policy = host.stdout.split("\n").filter((line) => KEPT.test(line));
  const bundle = process.env["SSL_CERT_FILE"];
  const ca = bundle === undefined || policy.some((line) => /CAInfo/i.test(line)) ? [] : [`Acquire::https::CAInfo "${bundle}";`];
  // A proxy setting may hold a password.
  await writeFile(config, [...configuration(folder, source.architecture), ...ca, ...policy, ""].join("\n"), { mode: 0o600 });

  const env = {
    ...proxies(process.env),
    APT_CONFIG: config,
    LC_ALL: "C.UTF-8",
    DEBIAN_FRONTEND: "noninteractive",
  };
  const opened: Apt = {
    source,
    folder,
    lists,
    get: (args, options = {}) => apt("apt-get", args, { ...options, env }, signal),
    cache: (args) => apt("apt-cache", args, { env }, signal),
  };
  const update = await opened.get(["update", "-q", "-o", "APT::Update::Error-Mode=any"]);
  if (update.exitCode !== 0) throw updateFailed(source, update);
  if (listsKept !== null) await keep(lists, listsKept);
  return opened;
}

const configuration = (folder: string, architecture: Architecture): string[] => [
  `Dir "${folder}";`,
  `Dir::State "${folder}/state";`,
  `Dir::State::status "${folder}/status";`,
  `Dir::State::extended_states "${folder}/extended";`,
  `Dir::Cache "${folder}/cache";`,
  `Dir::Log "${folder}/log";`,
  `Dir::Etc "${folder}/etc";`,
  'Dir::Etc::parts "parts";',
  'Dir::Etc::main "none";',
  'Dir::Etc::sourcelist "sources.list";',
  'Dir::Etc::sourceparts "sources.d";',
  'Dir::Etc::preferences "none";',
  'Dir::Etc::preferencesparts "preferences.d";',
  // Credentials of a private mirror stay where apt looks for them.
  'Dir::Etc::netrc "/etc/apt/auth.conf";',
  'Dir::Etc::netrcparts "/etc/apt/auth.conf.d";',
  'Dir::Bin::Methods "/usr/lib/apt/methods";',
  'Dir::Bin::dpkg "/usr/bin/dpkg";',
  `APT::Architecture "${architecture}";`,
  `APT::Architectures { "${architecture}"; };`,
  'APT::Install-Recommends "false";',
  'APT::Install-Suggests "false";',
  'APT::Get::Assume-Yes "true";',
  'APT::Sandbox::User "root";',
  'Acquire::Languages "none";',
  'Acquire::Retries "3";',
  'Acquire::ForceHash "SHA256";',
  // The same list files serve mmdebstrap, whose apt reads them without this configuration.
  'Acquire::GzipIndexes "false";',
];

/** apt reads the lower-case names only. */
const proxies = (env: Readonly<Record<string, string | undefined>>): Record<string, string | undefined> => ({
  http_proxy: env["http_proxy"] ?? env["HTTP_PROXY"],
  https_proxy: env["https_proxy"] ?? env["HTTPS_PROXY"],
  no_proxy: env["no_proxy"] ?? env["NO_PROXY"],
});

async function apt(
  program: string,
  args: readonly string[],
  options: { cwd?: string; env?: Record<string, string | undefined> },
  signal: AbortSignal | undefined,
): Promise<Finished> {
  try {
    return await run(program, args, { ...options, ...(signal === undefined ? {} : { signal }) });
  } catch (error) {
    if (error instanceof FactoryError && error.code === "HOST_TOOL_MISSING") throw missing(`no ${program} on PATH`, error);
    throw error;
  }
}

/** Another process may keep its lists at the same moment: either's are current, so losing the race is fine. */
async function keep(lists: string, kept: string): Promise<void> {
  const fresh = `${kept}.${process.pid}.${Date.now()}`;
  const old = `${fresh}.old`;
  await mkdir(join(kept, ".."), { recursive: true });
  await cp(lists, fresh, {
    recursive: true,
    preserveTimestamps: true,
    filter: (path) => !/\/(lock|partial|auxfiles)$/.test(path),
  });
  await rename(kept, old).catch(() => undefined);
  await rename(fresh, kept).catch(() => undefined);
  await rm(fresh, { recursive: true, force: true });
  await rm(old, { recursive: true, force: true });
}

const missing = (why: string, cause: unknown): FactoryError =>
  new FactoryError("HOST_TOOL_MISSING", {
    what: "cannot resolve or bootstrap Debian packages on this machine",
    why,
    fix: "on Debian or Ubuntu: apt-get install apt mmdebstrap debian-archive-keyring; elsewhere run this in a Debian container",
    cause,
  });

/** apt's own words without its progress. */
export const words = (finished: Finished): string =>
  finished.stderr
    .split("\n")
    .filter((line) => /^[EW]: |^ +/.test(line))
    .slice(0, 12)
    .join("\n")
    .trim() || finished.stderr.trim().split("\n").slice(-4).join("\n");

function updateFailed(source: DebianSource, update: Finished): FactoryError {
  const why = words(update);
  if (/NO_PUBKEY|GPG error|is not signed|invalid signature|BADSIG/i.test(update.stderr))
    return new FactoryError("CHECKSUM_MISMATCH", {
      what: `the metadata of ${source.mirror} is not signed by a key of Debian's archive`,
      why,
      fix: "use a true mirror of Debian, or update the package debian-archive-keyring of this machine",
    });
  if (/does not have a Release file/.test(update.stderr) && /\b404\b/.test(update.stdout + update.stderr))
    return new FactoryError("CONFIG_INVALID", {
      what: `no suite ${source.suite} at ${source.mirror}`,
      why,
      fix: "set `suite` in images.yaml to a codename that the mirror has, such as bookworm",
    });
  return new FactoryError("MIRROR_UNREACHABLE", {
    what: `cannot read the package lists of ${source.suite} from ${source.mirror}`,
    why,
    fix: "check the network and HTTP_PROXY, or set another `mirror` in images.yaml; then run the same command again",
  });
}
