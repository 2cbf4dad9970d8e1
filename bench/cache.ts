import { join } from "node:path";
import { binariesIn } from "../ci/engines/embedded/binaries.js";
import { type Arena, buildah, buildkit, craneAppend, ours } from "./cache-contenders.js";
import { cacheFolder } from "../ci/state/state.js";
import { baseDigest, cacheProject, changeCode, daemonIn, layersOf, type Size, sizes } from "./cache-project.js";
import { ensureCrane, serveRegistry, type Traffic } from "./crane.js";
import { added, type Contender, interleave, nodeStart, pairByPair, runOnce } from "./interleave.js";
import { task } from "./project.js";
import { print, ratioGoal, roundsOf } from "./report.js";
import { progress } from "./scratch.js";

/**
 * A code change published from a machine that has never built the image, with all that a registry can hold for it, beside the ways that
 * others do it: `./task bench:cache [-- ROUNDS] [-- --json]`. A quarter of an hour for the usual three rounds; about 12 GB of disk.
 */
const argv = process.argv.slice(2);
const rounds = roundsOf(argv, 3);

const folder = cacheProject();
const state = join(folder, ".factory");
const tools = await ensureCrane();
const { buildctl, version } = await binariesIn(cacheFolder(process.env));
const registry = await serveRegistry(tools, join(state, "registry"));
const { host } = registry;
const base = `${host}/base@${baseDigest(folder)}`;
const arena: Arena = { folder, host, base, buildctl, crane: tools.crane };
const cold = daemonIn(folder, "cold");
const warm = daemonIn(folder, "warm");

const traffic = new Map<string, Traffic[]>();
/** A contender that pushes: the code changes before each run, and what went over the registry's connections is counted. */
const pushing = (contender: Contender): Contender => {
  let before: Traffic;
  return {
    ...contender,
    async before(round) {
      await contender.before?.(round);
      changeCode(folder);
      // What the one before wrote is written out: nobody waits for another's gigabytes.
      runOnce({ command: ["sync"], cwd: folder });
      before = await registry.traffic();
    },
    async after(round) {
      const { up, down } = await registry.traffic();
      if (round >= 0)
        traffic.set(contender.name, [...(traffic.get(contender.name) ?? []), { up: up - before.up, down: down - before.down }]);
      await contender.after?.(round);
    },
  };
};

/** What of each round's image was not in the image before it, in bytes: no tool can push less. */
const changed = new Map<string, number[]>();
const watchLayers = (name: string, image: string) => {
  let known = new Map<string, number>();
  return async (round: number) => {
    const layers = await layersOf(host, image, "dev");
    const fresh = [...layers].filter(([digest]) => !known.has(digest)).reduce((sum, [, size]) => sum + size, 0);
    if (round >= 0) changed.set(name, [...(changed.get(name) ?? []), fresh]);
    known = layers;
  };
};

/** Everything is in the registry once, from machines that had to make it. @returns the contenders of one size, and what publishing moved */
const contendersOf = async (size: Size) => {
  progress(`${size.label}: the first publish, which fills the registry`);
  const { up } = await registry.traffic();
  const first = runOnce({
    command: task("publish", `IMAGE=${size.image}`, "TAGS=dev", "--", "--json"),
    cwd: folder,
    env: { FACTORY_REGISTRY: host },
  });
  const published = (await registry.traffic()).up - up;
  const { record } = JSON.parse(first.stdout) as { record: { platforms: { stages: { stage: string; digest: string }[] }[] } };
  const dependencies = record.platforms[0]!.stages.find(({ stage }) => stage === "dependencies")!.digest;
  // The base is there already, from the others' FROM.
  const inBase = await layersOf(host, "base", "bookworm");
  const layers = [...(await layersOf(host, size.image, "dev"))].filter(([digest]) => !inBase.has(digest));
  const name = (what: string) => `${size.label}: ${what}`;
  const names = {
    ours: name("./task publish"),
    tested: name("./task publish, tested"),
    crane: name("crane append"),
    habit: name("habit, mode=max"),
  };
  const contenders = [
    { ...ours(arena, size, names.ours), after: watchLayers(names.ours, size.image) },
    ours(arena, size, names.tested, "TEST=required"),
    craneAppend(arena, size, names.crane, dependencies),
    {
      name: name("expert, mode=max, warm"),
      command: buildkit(arena, size, { file: "expert", address: warm.address, repository: "expert-warm", cache: "max" }),
      cwd: folder,
    },
    ...(
      [
        [name("expert, mode=max"), "expert", "expert", "max"],
        [names.habit, "habit", "habit", "max"],
        [name("habit, inline"), "habit", "inline", "inline"],
      ] as const
    ).map(([name, file, repository, cache]): Contender => ({
      name,
      command: buildkit(arena, size, { file, address: cold.address, repository, cache }),
      cwd: folder,
      before: () => cold.fresh(),
    })),
    buildah(arena, size, name("habit, buildah")),
  ].map(pushing);
  return { contenders, names, alone: layers.reduce((sum, [, bytes]) => sum + bytes, 0), published };
};

try {
  runOnce({ command: [tools.crane, "push", ".factory/base", `${host}/base:bookworm`], cwd: folder });
  const all = [];
  for (const size of sizes) all.push(await contendersOf(size));
  const contenders = [nodeStart(folder), ...all.flatMap((one) => one.contenders)];
  const times = await interleave(contenders, rounds, progress);
  const of = (name: string) => times.get(name) ?? [];
  const up = (name: string) => (traffic.get(name) ?? []).map((one) => one.up);
  const [half, large] = all.map(({ names }) => names) as [(typeof all)[0]["names"], (typeof all)[0]["names"]];
  const overall = (what: string) => `a code change of ${what}`;
  print(
    {
      title: "A code change published from an empty machine",
      setup: [
        "images of 500 MB and 1.5 GB that do not compress, the same application of 8 MB in both; one line of one file changes before each run",
        "the registry is on this machine, and so as fast as none is: what is moved costs more elsewhere",
        "empty: no state folder, no image, no cache but the registry's; a daemon that a contender needs is up before its time begins",
      ],
      versions: {
        BuildKit: version,
        crane: tools.version,
        buildah: runOnce({ command: ["buildah", "--version"], cwd: folder }).stdout.split(" ")[2] ?? "",
        Task: runOnce({ command: task("--version"), cwd: folder }).stdout.trim(),
      },
      rounds,
      contenders,
      times,
      traffic,
      goals: [
        ...[half, large].map((names, at) =>
          ratioGoal(
            `${sizes[at]!.label}: publish ≤ 1.5 × (node start + crane append)`,
            1.5,
            of(names.ours),
            added(of("node start"), of(names.crane)),
            "crane makes no plan, no user, no cache; its tar is in it",
          ),
        ),
        ratioGoal(
          overall("500 MB: ≥ 10 × faster than the habit with mode=max"),
          1 / 10,
          of(half.ours),
          of(half.habit),
          "≤ 0.10 ×",
        ),
        ratioGoal(
          overall("1.5 GB: ≥ 20 × faster than the habit with mode=max"),
          1 / 20,
          of(large.ours),
          of(large.habit),
          "≤ 0.05 ×",
        ),
        ratioGoal(
          "1.5 GB takes no longer than 500 MB",
          1.1,
          of(large.ours),
          of(half.ours),
          "≤ 1.1 ×: what is equal differs that much",
        ),
        ...[half, large].map((names, at) =>
          ratioGoal(
            `${sizes[at]!.label}: bytes up ≤ 1.05 × the changed layers`,
            1.05,
            up(names.ours),
            changed.get(names.ours) ?? [],
            "with headers, config, manifests and all",
          ),
        ),
        ...all.map(({ published, alone }, at) => ({
          text: `${sizes[at]!.label}: image and stage refs ≤ 1.05 × the image alone`,
          limit: 1.05,
          unit: "×" as const,
          value: pairByPair([published], [alone]),
          how: "bytes up of the first publish, beside the sum of the layers that it pushed",
        })),
      ],
      remarks: [
        "habit: packages, then COPY, then RUN useradd, which needs all below it unpacked, with BuildKit's defaults (gzip);",
        "expert: COPY --link, accounts made beside, zstd (both Dockerfiles: bench/cache/).",
        "mode=max, inline: BuildKit's cache in the registry, by buildctl with the flags that docker buildx passes on. warm: the daemon made the image before.",
        "tested: TEST=required fetches the image and runs its checks in a container before the tag moves.",
      ],
    },
    argv,
  );
} finally {
  for (const daemon of [cold, warm]) daemon.stop();
  registry.stop();
}
