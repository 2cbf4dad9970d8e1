import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { acquireEmbedded } from "../../../ci/engines/embedded/lease.js";
import { run } from "../../../ci/host/process.js";
import { stateOf } from "../../../ci/state/state.js";

/** Which RUN steps of a Dockerfile were executed and which came from a cache, by what they are called. */
export type PortableBuild = { ran: string[]; cached: string[] };

type Vertex = { digest: string; name: string; started?: string; completed?: string; cached?: boolean; error?: string };

/**
 * Builds builder/Dockerfile of a project by a BuildKit that has never built anything: what is not executed came from outside.
 * The words are buildctl's; `--opt context:x=…` is docker's `--build-context x=…`, `--import-cache` and `--export-cache` are its `--cache-from` and `--cache-to`.
 */
export const buildAnew = async (project: string, words: readonly string[]): Promise<PortableBuild> => {
  const folder = await mkdtemp(join(tmpdir(), "factory-anew-"));
  try {
    const lease = await acquireEmbedded({ state: stateOf(folder, {}), env: process.env, report: () => undefined });
    try {
      const local = ["--local", `context=${project}`, "--local", `dockerfile=${join(project, "builder")}`];
      const args = ["--addr", lease.address, "build", "--progress=rawjson", "--frontend", "dockerfile.v0", ...local, ...words];
      const { exitCode, stderr } = await run(lease.buildctl, args);
      if (exitCode !== 0) throw new Error(stderr.slice(-2000));
      return stepsIn(stderr);
    } finally {
      await lease.release();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};

const stepsIn = (rawjson: string): PortableBuild => {
  const vertices = new Map<string, Vertex>();
  for (const line of rawjson.split("\n").filter((text) => text.startsWith("{"))) {
    const { vertexes = [] } = JSON.parse(line) as { vertexes?: Vertex[] };
    for (const vertex of vertexes) vertices.set(vertex.digest, { ...vertices.get(vertex.digest), ...vertex });
  }
  const steps = [...vertices.values()].filter(({ name, started }) => / RUN /.test(name) && started !== undefined);
  const named = (list: readonly Vertex[]) => list.map(({ name }) => /^\[(\S+)/.exec(name)?.[1] ?? name).sort();
  return {
    ran: named(steps.filter(({ cached }) => cached !== true)),
    cached: named(steps.filter(({ cached }) => cached === true)),
  };
};
