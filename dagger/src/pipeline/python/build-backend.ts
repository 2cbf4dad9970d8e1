import * as z from "zod";
import { FactoryError } from "../common/error.js";
import type { EntryPoint } from "./project.js";

/** What a build backend says about a project. Requirements are as it words them, optional ones with their `extra == …`. */
export type BuiltMetadata = {
  /** The project's folder, as it was given to the script. */
  project: string;
  name: string;
  version: string;
  summary: string | null;
  requiresPython: string | null;
  requires: readonly string[];
  extras: readonly string[];
  entryPoints: readonly EntryPoint[];
};

/**
 * A Python program that asks build backends for metadata: `python3 -c <this> ROOT PROJECT…`, the projects as folders relative to
 * ROOT. It needs pip 22.2 or newer, and an index for the build requirements of the projects.
 * ROOT is copied first, because setuptools writes into the folder it reads; so ROOT must hold the declared inputs and little else.
 * Standard output has one JSON object a line and project: metadata, or `{project, error}`; the exit code is 1 when one failed.
 * Entry points come from setuptools' .egg-info: other backends that leave them dynamic are not known to exist.
 */
export const metadataScript = `import configparser, glob, json, os, shutil, subprocess, sys, tempfile

def metadata(root, project, work):
    folder = os.path.normpath(os.path.join(root, project))
    report = os.path.join(work, "report.json")
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "--quiet", "--no-input",
               "--disable-pip-version-check", "--report", report, folder]
    # A virtual environment or --user setting of the caller must not refuse a run that installs nothing.
    env = dict(os.environ, PIP_REQUIRE_VIRTUALENV="0", PIP_USER="0", PIP_BREAK_SYSTEM_PACKAGES="1")
    done = subprocess.run(command, cwd=work, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    if done.returncode != 0:
        return {"project": project, "error": done.stdout.strip()[-4000:] or "pip exited %d" % done.returncode}
    with open(report, encoding="utf-8") as stream:
        found = json.load(stream)["install"][0]["metadata"]
    os.remove(report)
    return {
        "project": project,
        "name": found["name"],
        "version": found["version"],
        "summary": found.get("summary"),
        "requiresPython": found.get("requires_python"),
        "requires": found.get("requires_dist", []),
        "extras": found.get("provides_extra", []),
        "entryPoints": entry_points(folder),
    }

def entry_points(folder):
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    parser.optionxform = str
    for path in glob.glob(os.path.join(glob.escape(folder), "**", "*.egg-info", "entry_points.txt"), recursive=True):
        parser.read(path, encoding="utf-8")
    return [{"group": group, "name": name, "value": value} for group in sorted(parser.sections()) for name, value in sorted(parser.items(group))]

def main(source, projects):
    with tempfile.TemporaryDirectory() as work:
        root = os.path.join(work, "root")
        left_out = shutil.ignore_patterns(".git", ".venv", "node_modules", "__pycache__", "*.egg-info")
        shutil.copytree(source, root, symlinks=True, ignore=left_out)
        answers = [metadata(root, project, work) for project in projects]
    for answer in answers:
        print(json.dumps(answer, sort_keys=True))
    return 1 if any("error" in answer for answer in answers) else 0

sys.exit(main(sys.argv[1], sys.argv[2:]))
`;

const entryPoint = z.object({ group: z.string(), name: z.string(), value: z.string() });
const answer = z.union([
  z.object({ project: z.string(), error: z.string() }),
  z.object({
    project: z.string(),
    name: z.string(),
    version: z.string(),
    summary: z.string().nullable(),
    requiresPython: z.string().nullable(),
    requires: z.array(z.string()),
    extras: z.array(z.string()),
    entryPoints: z.array(entryPoint),
  }),
]);

/**
 * Reads what the script printed.
 * @throws FactoryError STEP_FAILED with the backend's own words when it could not build the metadata of a project
 */
export function readMetadata(stdout: string): BuiltMetadata[] {
  return stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const read = answer.parse(JSON.parse(line));
      if (!("error" in read)) return read;
      throw new FactoryError("STEP_FAILED", {
        what: `the build backend of ${read.project} gave no metadata`,
        why: read.error,
        fix: "declare every file it reads as `inputs` of the project, or declare its dependencies in pyproject.toml",
      });
    });
}
