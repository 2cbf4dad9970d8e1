import { appendFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ensureCrane, serveRegistry } from "./crane.js";
import { added, type Contender, interleave, nodeStart, runOnce, spread } from "./interleave.js";
import { peakMemory } from "./memory.js";
import { application, benchProject, task } from "./project.js";
import { print, ratioGoal, roundsOf } from "./report.js";
import { noise, progress } from "./scratch.js";

/**
 * What a changed file costs, beside the least that any tool must do: `./task bench:code-change [-- ROUNDS] [-- --json]`.
 * The base is made once (half a minute, with the embedded engine) and kept in .factory/bench/project.
 */
const argv = process.argv.slice(2);
const rounds = roundsOf(argv, 15);

const folder = benchProject();
const source = join(folder, "app", "src");
const changeOneFile = (round: number) => appendFileSync(join(source, "module_50.py"), `# round ${round} of ${process.pid}\n`);

const tools = await ensureCrane();
const { crane, version: craneVersion } = tools;
runOnce({ command: task("build", "IMAGE=app", "STAGE=base-tools", "OUTPUT=oci:.factory/base"), cwd: folder });

const registry = await serveRegistry(tools, join(folder, ".factory", "registry"));
try {
  const base = `${registry.host}/app:base`;
  runOnce({ command: [crane, "push", ".factory/base", base], cwd: folder });
  const layer = ".factory/layer.tar";
  const append = (flags: string): [string, ...string[]] => [
    "sh",
    "-c",
    `tar -cf ${layer} -C app src && ${crane} append -f ${layer} ${flags}`,
  ];
  const contenders: Contender[] = [
    nodeStart(folder),
    {
      name: "crane append",
      command: append(`-b ${base} -t ${registry.host}/app:dev`),
      cwd: folder,
      before: changeOneFile,
    },
    {
      name: "crane append, no base",
      command: append(`-t app:dev -o .factory/image.tar`),
      cwd: folder,
      before: changeOneFile,
    },
    { name: "build, one file changed", command: task("build", "IMAGE=app"), cwd: folder, before: changeOneFile },
    { name: "build, nothing changed", command: task("build", "IMAGE=app"), cwd: folder },
    { name: "plan, nothing changed", command: task("plan", "IMAGE=app"), cwd: folder },
  ];
  const times = await interleave(contenders, rounds, progress);
  const of = (name: string) => times.get(name) ?? [];
  progress("peak memory with 500 MB: the first build and one after a change");
  const largeFile = join(folder, "large", "src", "d0", "f0.bin");
  const peaks = [0, 1].map((n) => {
    writeFileSync(largeFile, noise(1000 + n + process.pid)(statSync(largeFile).size));
    return peakMemory({ command: task("build", "IMAGE=large"), cwd: folder }) / 1e6;
  });
  const taskVersion = runOnce({ command: task("--version"), cwd: folder }).stdout.trim();

  print(
    {
      title: "A code change: ./task build beside crane append",
      setup: [
        `application: 8 MB in ${application.sources + 1} files, 6 MB of it incompressible; one source file gets another line before each run`,
        "base: a bootstrapped Debian; for crane it stands in a registry on this machine (go-containerregistry's, blobs as files)",
      ],
      versions: { Task: taskVersion, crane: craneVersion },
      rounds,
      contenders,
      times,
      goals: [
        ratioGoal(
          "code change: build ≤ 1.5 × (node start + crane append)",
          1.5,
          of("build, one file changed"),
          added(of("node start"), of("crane append")),
          "crane append on the base, its tar included",
        ),
        ratioGoal(
          "nothing changed: build ≤ 1.2 × (node start + plan)",
          1.2,
          of("build, nothing changed"),
          added(of("node start"), of("plan, nothing changed")),
          "",
        ),
        {
          text: "500 MB application: peak memory < 200 MB",
          limit: 200,
          unit: "MB",
          value: spread(peaks),
          how: "largest process of ./task build IMAGE=large, by getrusage(RUSAGE_CHILDREN)",
        },
      ],
      remarks: [
        "crane append takes its base from a registry only, never from an OCI layout: here from one on this machine, into which it also uploads the",
        "layer (gzip, BestSpeed), config and manifest; it leaves the base's layers where they are, selects and hashes no files, makes no user and",
        "needs a tar, which is packed in the same command. Without a base (-o) it writes one tar and knows nothing of what it is built on.",
        "./task build selects and hashes files, plans four stages, writes layer (zstd), configs and manifests into an OCI layout, and a record of the run.",
      ],
    },
    argv,
  );
} finally {
  registry.stop();
}
