/**
 * # ci/project
 *
 * A checkout: its images.yaml, lock, context and settings, opened for a command. Nothing outside the project is read on its word.
 */
import { lstatSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { arch } from "node:process";
import { takeSnapshot } from "../../dagger/src/filesystem/take-snapshot.js";
import { folderInside, limits, textInside } from "../../dagger/src/filesystem/read-inside.js";
import { platformsOf as platformsFor, readBuildArgs, stageOf } from "../../dagger/src/pipeline/config/arguments.js";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import type { ContextSnapshot, ContextInputs } from "../../dagger/src/pipeline/context/snapshot.js";
import type { Lock } from "../../dagger/src/pipeline/config/lock.js";
import { imageOf, planImage } from "../../dagger/src/pipeline/plan/plan.js";
import { type Plan } from "../../dagger/src/pipeline/plan/types.js";
import { compileIgnore, type Ignore, readIgnoreLines } from "../../dagger/src/pipeline/context/dockerignore.js";
import type { ImageSpec, Spec } from "../../dagger/src/pipeline/config/spec.js";
import type { Platform, StageName } from "../../dagger/src/pipeline/common/stage.js";
import { valid } from "../../dagger/src/pipeline/config/valid.js";
import { contextInputsOf } from "../../dagger/src/pipeline/context/inputs.js";
import type { World } from "../host/world.js";
import { type FoundTrust, trustHere } from "../trust/trust-level.js";
import { loadHashes, saveHashes } from "../state/hash-cache.js";
import { remembered } from "../state/parsed-files.js";
import { type State, stateOf } from "../state/state.js";

/** What a command starts from: the spec, the lock and where things are kept. */
export type Project = { root: string; spec: Spec; lock: Lock; trust: FoundTrust; state: State };

export const specFile = "images.yaml";
export const lockFile = "images.lock";

/**
 * The project that the current folder stands in: the nearest folder upwards with an images.yaml.
 * @throws FactoryError INPUT_MISSING, CONFIG_INVALID, LOCK_INVALID, REFERENCE_INVALID (FACTORY_REGISTRY)
 */
export const openProject = async (world: Pick<World, "cwd" | "env"> & Partial<Pick<World, "interactive">>): Promise<Project> => {
  const root = findRoot(resolve(world.cwd));
  const { registry, ...rest } = await remembered(specFile, textInside(root, specFile, limits.spec) ?? "", async (text) =>
    valid("CONFIG_INVALID", specFile, (await parser()).parseSpec(text, specFile)),
  );
  // FACTORY_REGISTRY: the same images in another registry (a mirror, a test); never part of a key.
  const spec = { ...rest, registry: (await readRegistry(world.env["FACTORY_REGISTRY"])) ?? registry };
  const lock = await remembered(lockFile, textInside(root, lockFile, limits.lock) ?? emptyLock, async (text) =>
    valid("LOCK_INVALID", lockFile, (await parser()).parseLock(text, lockFile)),
  );
  const scope = trustHere({ env: world.env, interactive: world.interactive ?? false }, root);
  return { root, spec, lock, trust: scope, state: stateOf(root, world.env, scope.level) };
};

/** Read before anything is done with it: what is no registry would be found at the end of a build. */
const readRegistry = async (text: string | undefined): Promise<string | null> => {
  if (text === undefined || text === "") return null;
  const { parseRepository } = await import("../../dagger/src/registry/reference/reference.js");
  parseRepository(`${text}/image`);
  return text;
};

const emptyLock = "format: 1\n";

/** Loading YAML and zod and building the schemas takes longer than a plan: done only for a text that is not remembered. */
const parser = () => import("../../dagger/src/pipeline/config/parse.js");

const findRoot = (start: string): string => {
  for (let folder = start; ; folder = dirname(folder)) {
    // A link is found and refused, not passed by for what stands above.
    if (lstatSync(join(folder, specFile), { throwIfNoEntry: false }) !== undefined) return folder;
    if (folder === dirname(folder)) {
      throw new FactoryError("INPUT_MISSING", {
        what: `no ${specFile}`,
        why: `neither ${start} nor a folder above it holds one`,
        fix: "run this in a project, or start one with the images.yaml of the README",
      });
    }
  }
};

/** An image of a project, with the snapshot of its context: read once, planned for as many platforms as wanted. */
export type OpenImage = {
  name: string;
  image: ImageSpec;
  folder: string;
  wanted: ContextInputs;
  ignore: Ignore;
  snapshot: ContextSnapshot;
};

/** @throws FactoryError UNKNOWN_IMAGE, INPUT_MISSING, CONFIG_INVALID */
export const openImage = async (project: Project, name: string | undefined): Promise<OpenImage> => {
  const chosen = name ?? Object.keys(project.spec.images)[0]!;
  const image = imageOf(project.spec, chosen);
  const folder = folderInside(project.root, image.context ?? ".");
  const ignoreFile = relative(project.root, join(folder, ".dockerignore"));
  const lines = textInside(project.root, ignoreFile, limits.ignore);
  const ignore = lines === null ? [] : readIgnoreLines(lines, ignoreFile);
  const wanted = contextInputsOf(project.spec, image, ignore);
  const cacheFile = join(project.state.root, "hashes.json");
  const cache = loadHashes(cacheFile);
  const rules = compileIgnore(wanted.ignore);
  const snapshot = await takeSnapshot(folder, wanted, { cache, ignore: rules });
  saveHashes(cacheFile, cache);
  return { name: chosen, image, folder, wanted, ignore: rules, snapshot };
};

export const planOf = (
  project: Project,
  open: OpenImage,
  platform: Platform,
  buildArgs: Readonly<Record<string, string>>,
): Plan => planImage({ spec: project.spec, lock: project.lock, image: open.name, snapshot: open.snapshot, platform, buildArgs });

/** The platform of this machine, as far as an image can be built for it. */
const hostPlatform = (): Platform => (arch === "arm64" ? "linux/arm64" : "linux/amd64");

/** What to build for: what is asked, "all", or this machine's own. @throws FactoryError UNKNOWN_PLATFORM */
export const platformsOf = (image: Pick<ImageSpec, "platforms">, asked: string | undefined): Platform[] =>
  platformsFor(image, asked, hostPlatform());

/** What to type for a stage of a plan that is not there. */
export const buildCommand = (
  { image, platform }: Pick<Plan, "image" | "platform">,
  { stage = "runtime", buildArgs = [] }: { stage?: StageName; buildArgs?: readonly string[] } = {},
): string =>
  [
    `./task build IMAGE=${image}`,
    ...(stage === "runtime" ? [] : [`STAGE=${stage}`]),
    ...(platform === hostPlatform() ? [] : [`PLATFORM=${platform}`]),
    ...(buildArgs.length === 0 ? [] : [`BUILD_ARGS="${buildArgs.join(" ")}"`]),
  ].join(" ");

export { readBuildArgs, stageOf };
