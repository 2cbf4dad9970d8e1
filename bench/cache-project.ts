import { appendFileSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runOnce } from "./interleave.js";
import { application, task } from "./project.js";
import { checkout, noise, progress, scratchCheckout, sourceText } from "./scratch.js";

/** An image of the comparison: a base of Debian (45 MB packed), tools and libraries that do not compress, and the application. */
export type Size = { image: string; label: string; megabytes: number };
export const sizes: readonly Size[] = [
  { image: "half", label: "500 MB", megabytes: 450 },
  { image: "large", label: "1.5 GB", megabytes: 1450 },
];

const fill = (folder: string, each: number, megabytes: number) =>
  `mkdir -p /opt/${folder} && for n in $(seq ${megabytes}); do head -c ${each} /dev/urandom > /opt/${folder}/$n; done`;

const base = "base: { bootstrap: debian, suite: bookworm, packages: apt }";
const imageYaml = ({ image, megabytes }: Size) => `  ${image}:
    repository: ${image}
    context: app
    platforms: [linux/amd64]
    ${base}
    stages:
      base-tools: { run: ["${fill("tools", 800_000, megabytes)}"] }
      dependencies: { run: ["${fill("lib", 200_000, megabytes)}"] }
      application: { copy: [src], to: /opt/app }
      runtime: { user: { name: builder, uid: 1001 }, workdir: /opt/app, cmd: [/bin/sh] }
`;
const baseYaml = `  base:
    repository: base
    platforms: [linux/amd64]
    ${base}
    stages: { base-tools: {}, dependencies: {}, application: {}, runtime: {} }
`;

/**
 * The project whose code changes: one application of 8 MB, and images of several sizes around it. What is executed is executed once and
 * kept in .factory/bench/cache; the base lies beside it as an OCI layout, for the others' FROM.
 * @returns the folder of the project
 */
export const cacheProject = (): string => {
  const folder = scratchCheckout("cache", "state");
  cpSync(join(checkout, "bench", "cache"), join(folder, "dockerfiles"), { recursive: true });
  const source = join(folder, "app", "src");
  rmSync(source, { recursive: true, force: true });
  mkdirSync(source, { recursive: true });
  writeFileSync(join(source, "assets.bin"), noise(1)(application.noise));
  for (let n = 0; n < application.sources; n++) writeFileSync(join(source, `module_${n}.py`), sourceText(application.source, n));
  writeFileSync(join(folder, "images.yaml"), `registry: localhost/bench\nimages:\n${baseYaml}${sizes.map(imageYaml).join("")}`);
  if (!existsSync(join(folder, "images.lock"))) runOnce({ command: task("lock"), cwd: folder });
  progress("making the images (once; about two minutes)");
  for (const { image } of sizes) runOnce({ command: task("build", `IMAGE=${image}`, "REMOTE=off"), cwd: folder });
  runOnce({ command: task("build", "IMAGE=base", "REMOTE=off", "OUTPUT=oci:.factory/base"), cwd: folder });
  return folder;
};

let changes = 0;
/** What a developer does: one more line in one file. Never the same twice, in this run or another. */
export const changeCode = (folder: string): void =>
  appendFileSync(join(folder, "app", "src", "module_50.py"), `# change ${(changes += 1)} of ${process.pid}\n`);

/** A BuildKit that a contender has for itself, at the address that it has each time. */
export type Daemon = { address: string; fresh(): void; stop(): void };

/** Starts as `./task build` starts it; how long that takes is counted for nobody. */
export const daemonIn = (folder: string, name: string): Daemon => {
  const state = join(folder, ".factory", name);
  const typed = (verb: string) => runOnce({ command: task("engine", "--", verb), cwd: folder, env: { FACTORY_STATE: state } });
  const stop = () => {
    if (existsSync(state)) typed("stop");
    rmSync(state, { recursive: true, force: true });
  };
  const start = () => (JSON.parse(typed("start").stdout) as { address: string }).address;
  stop();
  return {
    address: start(),
    fresh() {
      stop();
      start();
    },
    stop,
  };
};

/** The layers of an image that the registry has, by digest, with their sizes in bytes. */
export const layersOf = async (host: string, name: string, tag: string): Promise<Map<string, number>> => {
  const accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";
  const answer = await fetch(`http://${host}/v2/${name}/manifests/${tag}`, { headers: { accept } });
  if (!answer.ok) throw new Error(`${host}/${name}:${tag}: ${answer.status}`);
  const { layers } = (await answer.json()) as { layers: { digest: string; size: number }[] };
  return new Map(layers.map(({ digest, size }) => [digest, size]));
};

/** Where the packed image of the base stands, by its digest. */
export const baseDigest = (folder: string): string => {
  const index = JSON.parse(readFileSync(join(folder, ".factory", "base", "index.json"), "utf8")) as {
    manifests: { digest: string }[];
  };
  return index.manifests[0]!.digest;
};
