import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { type Contender, runOnce, spread } from "./interleave.js";
import { print, roundsOf } from "./report.js";
import { checkout, progress } from "./scratch.js";

/**
 * What the module's files cost each call of a function before it does anything: `./task bench:import-module [-- ROUNDS] [-- --json]`. Dagger's
 * runtime starts Node with tsx, loads the client library and imports the module; here without an engine around it, and once more as one
 * compiled file, which tells what the module's own code does from what tsx takes to load a hundred files. All are timed inside the process: the
 * library alone takes several times as long, and what it varies by would hide the module.
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
console.log(JSON.stringify([...library, ...(await timed(process.argv[2]))]));
`,
);
const source = join(checkout, "dagger/src/index.ts");
const compiled = join(folder, "index.mjs");
await build({
  entryPoints: [source],
  outfile: compiled,
  bundle: true,
  platform: "node",
  format: "esm",
  external: ["@dagger.io/dagger"],
  tsconfig: join(checkout, "dagger/tsconfig.json"),
  // What is bundled of CommonJS asks for it.
  banner: { js: 'import { createRequire as requireOf } from "node:module"; const require = requireOf(import.meta.url);' },
});
const time = join(folder, "time.mjs");
const commands = {
  tsx: ["node", "--import", join(checkout, "node_modules/tsx/dist/loader.mjs"), time, source],
  compiled: ["node", time, compiled],
} as const satisfies Record<string, Contender["command"]>;
const figures = ["library", "library, processor", "module", "module, processor"] as const;
const parts = Object.keys(commands).flatMap((by) => figures.map((figure) => `${figure}: ${by}`));

const times = new Map<string, number[]>(parts.map((name) => [name, []]));
for (let round = -1; round < rounds; round++) {
  const env = { TSX_TSCONFIG_PATH: join(checkout, "dagger/tsconfig.json") };
  const read = (command: Contender["command"]) => JSON.parse(runOnce({ command, cwd: checkout, env }).stdout) as number[];
  const told = Object.values(commands).flatMap((command) => read(command));
  if (round >= 0) for (const [at, name] of parts.entries()) times.get(name)!.push(told[at]!);
  progress(`round ${round + 1} of ${rounds}: ${parts.map((name, at) => `${name} ${told[at]!.toFixed(0)} ms`).join(", ")}`);
}

print(
  {
    title: "The import of the Dagger module",
    setup: ["tsx keeps what it has compiled in the folder for temporary files, and finds it there in every round that counts"],
    versions: {},
    rounds,
    contenders: parts.map((name) => ({ name, command: name.endsWith("tsx") ? commands.tsx : commands.compiled })),
    times,
    goals: [
      {
        text: "import of dagger/src/index.ts < 100 ms",
        limit: 100,
        unit: "ms",
        value: spread(times.get("module: compiled")!),
        how: "by the clock, after the library; as one compiled file",
      },
    ],
    remarks: [
      "tsx loads each file of the module and of its packages through a thread of its own, a millisecond or more a file: nothing of the module's can change that.",
      "processor: user and system time of the same import in all threads, which a busy machine changes less than the clock's.",
      "A call of a function also starts a container, reads the types of all files and talks to the engine: that is not in these figures.",
    ],
  },
  argv,
);
