import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseDocument } from "yaml";
import type { World } from "../ci/host/world.js";
import { binariesIn } from "../ci/engines/embedded/binaries.js";
import { ensureBase } from "../ci/build/execute-stage.js";
import { cacheFolder } from "../ci/state/state.js";
import { openImage, openProject, planOf } from "../ci/project/project.js";
import { type Contender, interleave, runOnce } from "./interleave.js";
import { task } from "./project.js";
import { print, ratioGoal, roundsOf } from "./report.js";
import { checkout, progress, scratchCheckout } from "./scratch.js";

/**
 * A cold build of builder-debian (less kubectl, which is compiled for two minutes) beside a hand-written Dockerfile that does the
 * same job on the same BuildKit: `./task bench:cold [-- PAIRS] [-- --json]`. Five minutes or so for the usual two pairs.
 */
const argv = process.argv.slice(2);
const rounds = roundsOf(argv, 2);
const image = "builder-debian";
const platform = "linux/amd64";
const dockerfile = "hand-written.Dockerfile";

const folder = scratchCheckout("cold", "state");
for (const part of ["examples", ".dockerignore", "images.lock"])
  cpSync(join(checkout, part), join(folder, part), { recursive: true });
writeFileSync(join(folder, "images.yaml"), withoutKubectl(readFileSync(join(checkout, "images.yaml"), "utf8")));

function withoutKubectl(text: string): string {
  const document = parseDocument(text, { merge: true });
  document.deleteIn(["images", image, "stages", "base-tools", "tools", "kubectl"]);
  return document.toString();
}

const states = {
  base: join(folder, ".factory", "base"),
  ours: join(folder, ".factory", "ours"),
  theirs: join(folder, ".factory", "theirs"),
};

/** The base stands in a state folder of its own, from which each cold one is made; it is bootstrapped once. */
const bootstrapped = async (): Promise<{ digest: string; epoch: number }> => {
  const world: World = {
    env: { ...process.env, FACTORY_STATE: states.base },
    cwd: folder,
    signal: new AbortController().signal,
    stdout: progress,
    stderr: progress,
    screen: process.stderr,
    live: false,
    colour: false,
    interactive: false,
    now: Date.now,
  };
  const project = await openProject(world);
  const plan = planOf(project, await openImage(project, image), platform, {});
  if (plan.base.kind !== "bootstrap") throw new Error(`the base of ${image} is not bootstrapped`);
  return { digest: await ensureBase({ project, world }, plan, plan.base), epoch: plan.epoch };
};

/** A state folder that holds the base and nothing else: no stage, and an engine that has never built. */
const cold = (state: string): void => {
  if (existsSync(state)) runOnce({ command: task("engine", "--", "stop"), cwd: folder, env: { FACTORY_STATE: state } });
  rmSync(state, { recursive: true, force: true });
  mkdirSync(state, { recursive: true });
  // Linked, not copied: blobs and records are never written in place.
  for (const part of ["layout", "stages"]) runOnce({ command: ["cp", "-al", join(states.base, part), state], cwd: folder });
};

const { digest, epoch } = await bootstrapped();
const { version, buildctl } = await binariesIn(cacheFolder(process.env));

/** The engine is up before either begins. */
const startEngine = (state: string): string => {
  cold(state);
  const { stdout } = runOnce({ command: task("engine", "--", "start"), cwd: folder, env: { FACTORY_STATE: state } });
  return (JSON.parse(stdout) as { address: string }).address;
};

const bundle = [process.env["SSL_CERT_FILE"], "/etc/ssl/certs/ca-certificates.crt"].find(
  (path) => path !== undefined && existsSync(path),
);
/** @param promise what is asked of it beside an image: that each file has the same time in every build, as ours has it */
const handWritten = (address: string, promise: "nothing" | "one epoch"): [string, ...string[]] => {
  const times = promise === "nothing" ? "" : `,rewrite-timestamp=true --opt build-arg:SOURCE_DATE_EPOCH=${epoch}`;
  const words = `--addr ${address} build --frontend dockerfile.v0 --progress plain
    --local context=. --local dockerfile=${join(checkout, "bench")} --opt filename=${dockerfile}
    --oci-layout base=${join(states.theirs, "layout")} --opt context:base=oci-layout://base@${digest}
    ${bundle === undefined ? "" : `--secret id=host-ca,src=${bundle}`}
    --output type=oci,dest=${join(states.theirs, "image")},tar=false,compression=zstd,force-compression=true${times}`;
  return [buildctl, ...words.split(/\s+/)];
};

const ours: Contender = {
  name: "./task build",
  command: task("build", `IMAGE=${image}`, `PLATFORM=${platform}`, "ENGINE=buildkit", "REMOTE=off"),
  cwd: folder,
  env: { FACTORY_STATE: states.ours, FACTORY_BUILDKIT: "embedded" },
  before: () => void startEngine(states.ours),
};
// Where the socket stands is known once the engine runs: the same place each time.
const address = startEngine(states.theirs);
const theirs = (name: string, promise: "nothing" | "one epoch"): Contender => ({
  name,
  command: handWritten(address, promise),
  cwd: folder,
  before: () => void startEngine(states.theirs),
});
const [plain, sameTimes] = [theirs("hand-written", "nothing"), theirs("hand-written, one epoch", "one epoch")];

try {
  const contenders = [ours, plain, sameTimes];
  const times = await interleave(contenders, rounds, progress);
  print(
    {
      title: "A cold Debian build beside a hand-written Dockerfile",
      setup: [
        `${image} without kubectl: apt packages, Task and Node.js from PyPI, npm, Python requirements, the application, a user`,
        `state folders that hold the bootstrapped base and nothing else; both write an OCI layout with zstd layers`,
      ],
      versions: { BuildKit: version, Task: runOnce({ command: task("--version"), cwd: folder }).stdout.trim() },
      rounds,
      contenders,
      times,
      goals: [
        ratioGoal(
          "cold: no slower than the hand-written Dockerfile",
          1,
          times.get(ours.name) ?? [],
          times.get(plain.name) ?? [],
          `bench/${dockerfile}`,
        ),
        ratioGoal(
          "cold: no slower than that when its files have one epoch too",
          1,
          times.get(ours.name) ?? [],
          times.get(sameTimes.name) ?? [],
          "SOURCE_DATE_EPOCH and rewrite-timestamp=true, which a digest that comes again needs at least",
        ),
      ],
      remarks: [
        "The hand-written one locks its downloads only: no package versions, no Python hashes. As it is written its times are those of the build, so two builds differ.",
        "Ours exports two executed stages apart and hands the first one back to the engine, gives every file the epoch, and lists every path of what it made.",
        "Mirrors are warmed by the first round. Compiling the engine and bootstrapping the base are not in it: both are done once.",
      ],
    },
    argv,
  );
} finally {
  for (const state of [states.ours, states.theirs]) {
    if (existsSync(state)) runOnce({ command: task("engine", "--", "stop"), cwd: folder, env: { FACTORY_STATE: state } });
    rmSync(state, { recursive: true, force: true });
  }
}
