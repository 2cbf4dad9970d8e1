import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Contender, runOnce, spread } from "./interleave.js";
import { print, roundsOf } from "./report.js";
import { checkout, progress } from "./scratch.js";

/**
 * What the module's files cost each call of a function before it does anything: `./task bench:import-module [-- ROUNDS] [-- --json]`. Dagger's
 * runtime starts Node with tsx, loads the client library and imports the module; here without an engine around it. Both are timed inside the
 * process: the library alone takes several times as long, and what it varies by would hide the module.
 */
const argv = process.argv.slice(2);
const rounds = roundsOf(argv, 15);

const folder = join(checkout, ".factory", "bench", "import-module");
mkdirSync(folder, { recursive: true });
writeFileSync(
  join(folder, "time.mjs"),
  `const timed = async (path) => {
  const [began, cpu] = [performance.now(), process.cpuUsage()];
  await import(path);
  const { user, system } = process.cpuUsage(cpu);
  return [performance.now() - began, (user + system) / 1000];
};
const library = await timed("@dagger.io/dagger");
console.log(JSON.stringify([...library, ...(await timed(${JSON.stringify(join(checkout, "dagger/src/index.ts"))}))]));
`,
);
const command: Contender["command"] = [
  "node",
  "--import",
  join(checkout, "node_modules/tsx/dist/loader.mjs"),
  join(folder, "time.mjs"),
];
const parts = ["library", "library, processor", "module", "module, processor"] as const;

const times = new Map<string, number[]>(parts.map((name) => [name, []]));
for (let round = -1; round < rounds; round++) {
  const env = { TSX_TSCONFIG_PATH: join(checkout, "dagger/tsconfig.json") };
  const { stdout } = runOnce({ command, cwd: checkout, env });
  const figures = JSON.parse(stdout) as number[];
  if (round >= 0) for (const [at, name] of parts.entries()) times.get(name)!.push(figures[at]!);
  progress(`round ${round + 1} of ${rounds}: ${parts.map((name, at) => `${name} ${figures[at]!.toFixed(0)} ms`).join(", ")}`);
}

print(
  {
    title: "The import of the Dagger module",
    setup: ["tsx keeps what it has compiled in the folder for temporary files, and finds it there in every round that counts"],
    versions: {},
    rounds,
    contenders: parts.map((name) => ({ name, command })),
    times,
    goals: [
      {
        text: "import of dagger/src/index.ts < 100 ms",
        limit: 100,
        unit: "ms",
        value: spread(times.get("module")!),
        how: "by the clock, after the library",
      },
    ],
    remarks: [
      "processor: user and system time of the same import in all threads, which a busy machine changes less than the clock's.",
      "A call of a function also starts a container, reads the types of all files and talks to the engine: that is not in these figures.",
    ],
  },
  argv,
);
