import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import type { DebianSource } from "../lock/apt/apt.js";

const UPDATE = "./task lock --update, then look at the difference of images.lock";

export const gone = (source: DebianSource, missing: readonly { locked: string; now: string | null }[]): FactoryError =>
  new FactoryError("PACKAGE_GONE", {
    what: `${missing.length} locked package version${missing.length === 1 ? " is" : "s are"} gone from ${source.mirror}`,
    why: listed(missing.map(({ locked, now }) => (now === null ? `${locked} (no such package now)` : `${locked} (now ${now})`))),
    fix: UPDATE,
  });

/** The lock is of another set of packages than what minbase and the spec's packages come to. */
export function stale(locked: readonly string[], installed: readonly string[] | null, cause?: FactoryError): FactoryError {
  const surplus = installed === null ? [] : locked.filter((one) => !installed.includes(one));
  const absent = (installed ?? []).filter((one) => !locked.includes(one));
  const lines = [...absent.map((one) => `not in the lock: ${one}`), ...surplus.map((one) => `locked, but not needed: ${one}`)];
  return new FactoryError("LOCK_STALE", {
    what: "images.lock does not hold the packages that the bootstrap installs",
    why: cause?.explanation.why ?? listed(lines),
    fix: UPDATE,
    cause,
  });
}

export const noEmulation = (architecture: string, host: string, interpreter: string): FactoryError =>
  new FactoryError("PLATFORM_UNSUPPORTED", {
    what: `cannot bootstrap Debian for ${architecture} on this ${host} machine`,
    why: `no emulation: /proc/sys/fs/binfmt_misc/${interpreter} is absent, disabled, or registered without the flag F`,
    fix: `install and register it (Debian: apt-get install qemu-user-static binfmt-support), or build on a ${architecture} machine`,
  });

export function stopped(source: DebianSource, stderr: string): FactoryError {
  const told = stderr.split("\n").filter((line) => !line.startsWith("I: ") && line.trim() !== "");
  const unprivileged = /newuidmap|unshare|user namespace|subuid/i.test(stderr);
  return new FactoryError(unprivileged ? "PERMISSION" : "STEP_FAILED", {
    what: `mmdebstrap could not make the root filesystem of ${source.suite} (${source.architecture})`,
    why: told.slice(-20).join("\n") || "it said nothing",
    fix: unprivileged
      ? "install uidmap and give this user a range in /etc/subuid and /etc/subgid, or run as root"
      : "read the package's own words above; `./task lock --update` takes newer versions",
  });
}

const listed = (lines: readonly string[]): string =>
  [...lines.slice(0, 10), ...(lines.length > 10 ? [`and ${lines.length - 10} more`] : [])].join("\n");
