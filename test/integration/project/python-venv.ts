import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { run, type Finished } from "../../../ci/host/process.js";

export const repository = fileURLToPath(new URL("../../..", import.meta.url));
export const example = join(repository, "examples/image-factory");

/** Runs a program that writes no byte code beside the sources it reads. */
export const call = (
  program: string,
  args: readonly string[],
  cwd?: string,
  env: Record<string, string> = {},
): Promise<Finished> =>
  run(program, args, {
    env: { PYTHONDONTWRITEBYTECODE: "1", PIP_DISABLE_PIP_VERSION_CHECK: "1", ...env },
    ...(cwd === undefined ? {} : { cwd }),
  });

export const ended = ({ stdout, stderr }: Finished): string => `${stdout}\n${stderr}`;

/** Every file below a folder, relative to it. */
export async function walk(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
}

export type Python = {
  scratch: string;
  /** The interpreter of a venv in `scratch`, with pyyaml and packaging. */
  python: string;
  /** Why Python packages cannot be had here; null when they can. */
  unreachable: string | null;
  remove: () => Promise<void>;
};

export async function makePython(): Promise<Python> {
  const scratch = await mkdtemp(join(tmpdir(), "image-factory-examples-"));
  const remove = () => rm(scratch, { recursive: true, force: true });
  const made = await call("python3", ["-m", "venv", join(scratch, "venv")]);
  if (made.exitCode !== 0) throw new Error(`python3 -m venv: ${ended(made)}`);
  const python = join(scratch, "venv/bin/python");
  const wanted = ["pyyaml>=6.0.1,<7", "packaging>=23,<27"];
  const installed = await call(python, ["-m", "pip", "install", "-q", "--retries", "1", ...wanted]);
  if (installed.exitCode === 0) return { scratch, python, unreachable: null, remove };
  // Only an index that does not answer excuses a test; anything else is a failure.
  if (!/ConnectionError|NewConnection|timed out|Temporary failure/i.test(ended(installed))) throw new Error(ended(installed));
  return { scratch, python, unreachable: "no package index answers", remove };
}
