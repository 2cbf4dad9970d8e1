import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { delimiter, isAbsolute, join } from "node:path";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import { run } from "./process.js";

/** A program of the host, and the Debian package that holds it. */
export type HostProgram = { program: string; apt: string };

export type HostEnv = Readonly<Record<string, string | undefined>>;

/** A person's PATH often leaves these out, and a program for administrators stands there all the same. */
const administrators = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/** The absolute path of a program, or null when the host has none. */
export async function findProgram(program: string, env: HostEnv): Promise<string | null> {
  const folders = [...(env["PATH"] ?? "").split(delimiter).filter(isAbsolute), ...administrators];
  for (const folder of folders) {
    const candidate = join(folder, program);
    const usable = await access(candidate, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (usable) return candidate;
  }
  return null;
}

/** Whether `ensureHostPrograms` would install what is missing: root on a machine with apt-get. */
export const canInstall = async (env: HostEnv): Promise<boolean> =>
  process.getuid?.() === 0 && (await findProgram("apt-get", env)) !== null;

/**
 * The absolute paths of programs of the host, installed first where that can be done without asking:
 * as root on Debian or a relative of it. `report` gets one line about each thing that changes the machine.
 * @throws FactoryError HOST_TOOL_MISSING with the command to type
 */
export async function ensureHostPrograms(
  wanted: readonly HostProgram[],
  env: HostEnv,
  report: (line: string) => void,
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, string>> {
  const missing = await missingOf(wanted, env);
  if (missing.length > 0) {
    const packages = [...new Set(missing.map((one) => one.apt))].sort();
    if (!(await canInstall(env))) throw notThere(missing, packages, "no such program on PATH");
    report(`installing ${packages.join(", ")} with apt-get (${missing.map((one) => one.program).join(", ")} not found)`);
    await install(packages, missing, signal);
    const still = await missingOf(wanted, env);
    if (still.length > 0)
      throw notThere(still, packages, `apt-get installed ${packages.join(", ")}, but it is still not on PATH`);
  }
  const found = new Map<string, string>();
  for (const { program } of wanted) found.set(program, (await findProgram(program, env)) ?? program);
  return found;
}

const missingOf = async (wanted: readonly HostProgram[], env: HostEnv): Promise<HostProgram[]> => {
  const paths = await Promise.all(wanted.map((one) => findProgram(one.program, env)));
  return wanted.filter((_, index) => paths[index] === null);
};

async function install(packages: readonly string[], missing: readonly HostProgram[], signal?: AbortSignal): Promise<void> {
  const patient = ["-o", "DPkg::Lock::Timeout=120", "-q"];
  const options = {
    env: { DEBIAN_FRONTEND: "noninteractive" },
    ...(signal === undefined ? {} : { signal }),
  };
  // Package lists of a container image are empty or old; an update that fails may still leave usable ones.
  await run("apt-get", [...patient, "update"], options);
  const done = await run("apt-get", [...patient, "install", "-y", "--no-install-recommends", ...packages], options);
  if (done.exitCode !== 0) throw notThere(missing, packages, done.stderr.trim().split("\n").slice(-5).join("\n"));
}

const notThere = (missing: readonly HostProgram[], packages: readonly string[], why: string) =>
  new FactoryError("HOST_TOOL_MISSING", {
    what: `this machine lacks ${missing.map((one) => one.program).join(", ")}`,
    why,
    fix: `sudo apt-get update && sudo apt-get install ${packages.join(" ")}   (Fedora, RHEL: sudo dnf install ${packages.join(" ")})`,
  });
