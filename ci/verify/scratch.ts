import { randomBytes } from "node:crypto";
import { constants, copyFileSync, existsSync, linkSync, lstatSync, mkdirSync, readdirSync, rmdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { copyEntries, copyFile } from "../../dagger/src/filesystem/copy-files.js";
import { blobPath, closure } from "../../dagger/src/oci-layout/blobs.js";
import { baseKeyOf } from "../../dagger/src/pipeline/plan/key.js";
import { mediaTypes } from "../../dagger/src/pipeline/oci/manifest.js";
import type { Plan } from "../../dagger/src/pipeline/plan/types.js";
import type { World } from "../host/world.js";
import { isAlive, nameOfProcess } from "../host/process-lock.js";
import { nameInLayout } from "../state/layout-index.js";
import { findStage, keepIngredients, keepStage } from "../state/records.js";
import { usingState } from "../state/state-lock.js";
import { notWritable, type State, stateOf } from "../state/state.js";
import { lockFile, openImage, type OpenImage, openProject, type Project } from "../project/project.js";

/** A project that may be changed and built as one likes: a copy of the files that decide the user's image, with a state of its own. */
export type Scratch = {
  /** The folder of everything; `close` removes it. */
  folder: string;
  /** The folder of the copied images.yaml. */
  root: string;
  /** The user's own project, which is only read. */
  home: { project: Project; open: OpenImage };
  world: World;
  /** The copy as it is now. */
  reopen(): Promise<{ project: Project; open: OpenImage }>;
  close(): void;
};

/**
 * Copies what the image reads, and nothing that it ignores. The scratch folder stands in the state folder, where there is room for
 * an engine's files and where no context ever looks; the folders of processes that were killed are removed first.
 * @throws FactoryError as openProject and openImage
 */
export const openScratch = async (world: World, image: string | undefined): Promise<Scratch> => {
  const real = await openProject(world);
  const place = join(real.state.root, "verify");
  await sweep(place);
  const folder = join(place, `${nameOfProcess(process.pid)}-${randomBytes(4).toString("hex")}`);
  const root = join(folder, "project");
  const made = writing(real.state, () => mkdirSync(root, { recursive: true }));
  const close = () => {
    rmSync(folder, { recursive: true, force: true });
    // A state folder that this made goes with it.
    for (const above of made === real.state.root ? [place, real.state.root] : [place])
      if (existsSync(above) && readdirSync(above).length === 0) rmdirSync(above);
  };
  try {
    // An engine that outlives its build would lose its files under its feet.
    const env = { ...world.env, FACTORY_STATE: join(folder, "state"), FACTORY_ENGINE_KEEP: undefined };
    // Hashes of the user's files are kept with the copy's, so that nothing of the user's changes.
    const project = { ...real, state: stateOf(root, env, real.state.trust) };
    const open = await openImage(project, image);
    copyProject(project, open, root);
    const inside: World = { ...world, cwd: root, env };
    const reopen = async () => {
      const copy = await openProject(inside);
      return { project: copy, open: await openImage(copy, open.name) };
    };
    return { folder, root, home: { project: real, open }, world: inside, reopen, close };
  } catch (error) {
    close();
    throw error;
  }
};

/** @throws FactoryError PERMISSION, DISK_FULL */
const writing = <T>(state: State, write: () => T): T => {
  try {
    return write();
  } catch (error) {
    throw notWritable(state, error);
  }
};

const sweep = async (place: string): Promise<void> => {
  for (const name of existsSync(place) ? readdirSync(place) : [])
    if (!isAlive(name)) rmSync(join(place, name), { recursive: true, force: true });
};

const copyProject = ({ root }: Project, { image, folder, snapshot }: OpenImage, to: string): void => {
  const context = join(to, image.context ?? ".");
  for (const name of ["images.yaml", lockFile]) copyFile(root, to, name);
  mkdirSync(context, { recursive: true });
  copyEntries(folder, context, snapshot);
  for (const path of [".dockerignore", ...snapshot.texts.keys()]) copyFile(folder, context, path);
};

/**
 * Brings what is kept of a plan's stages into another state folder. Blobs are the same files under two names, for they are never
 * written in place; where that cannot be, they are copied.
 */
export const shareKept = async (from: State, to: State, plan: Plan, world: Pick<World, "signal" | "stderr">): Promise<void> => {
  // Looking at what is kept leaves no trace, not even a folder to wait in.
  if (!existsSync(from.layout)) return;
  await usingState(from, world, async () => {
    const base =
      plan.base.kind === "bootstrap" ? [{ key: baseKeyOf(plan.base, plan.platform, plan.epoch), ingredients: null }] : [];
    for (const { key, ingredients } of [...base, ...plan.stages]) {
      const record = findStage(from, key);
      if (record === null) continue;
      const digest = record.ref ?? record.digest;
      const mediaType = record.ref === null ? mediaTypes.manifest : mediaTypes.index;
      const { size } = lstatSync(blobPath(from.layout, digest));
      for (const blob of closure(from.layout, { mediaType, digest, size })) share(from.layout, to.layout, blob.digest);
      await nameInLayout(to.layout, `${record.stage}-${key}`, { mediaType, digest, size }, world.signal);
      if (ingredients !== null) keepIngredients(to, key, ingredients);
      keepStage(to, record);
    }
  });
};

const share = (from: string, to: string, digest: string): void => {
  const [source, target] = [blobPath(from, digest), blobPath(to, digest)];
  // A blob that stands in a registry only is brought by whoever needs it.
  if (!existsSync(source) || existsSync(target)) return;
  mkdirSync(dirname(target), { recursive: true });
  try {
    linkSync(source, target);
  } catch {
    copyFileSync(source, target, constants.COPYFILE_FICLONE);
  }
};
