import { FactoryError } from "../dagger/src/pipeline/error.js";
import { atCommit, newestCommits, type Place } from "./at-commit.js";
import type { World } from "./command.js";
import { openImage, openProject, planOf, type Project } from "./project.js";

/** The keys that plans need, each with the plan that a person would look for it in; and what could not be planned. */
export type WantedKeys = { keys: ReadonlyMap<string, string>; notes: readonly string[] };

/**
 * The stage keys of every image of the project, on every platform: of the files that are here, and of the newest commits.
 * A commit that cannot be planned (it had no such image, its lock was stale) cannot be built either, and needs nothing; it is told.
 * @param images those of the files here must have a plan
 * @throws FactoryError as newestCommits, and what keeps the files here from having a plan
 */
export const wantedKeys = async (
  project: Project,
  world: World,
  images: readonly string[],
  commits: number,
): Promise<WantedKeys> => {
  const keys = new Map<string, string>();
  const notes: string[] = [];
  const add = (found: readonly string[], where: string) => {
    for (const key of found) if (!keys.has(key)) keys.set(key, where);
  };
  add(
    await keysAt(world, (image, error) => (images.includes(image) ? Promise.reject(error) : Promise.resolve())),
    "the plan of the files here",
  );
  for (const commit of await newestCommits(project, world, commits)) {
    const where = `commit ${commit.slice(0, 7)}`;
    const note = (error: FactoryError) => void notes.push(`${where} has no plan: ${error.explanation.what}`);
    try {
      add(
        await atCommit(project, world, commit, (place) => keysAt(place, (_, error) => Promise.resolve(note(error)))),
        `the plan of ${where}`,
      );
    } catch (error) {
      note(unlessBug(error));
    }
  }
  return { keys, notes };
};

const keysAt = async (place: Place, failed: (image: string, error: FactoryError) => Promise<void>): Promise<string[]> => {
  const project = await openProject(place);
  const keys: string[] = [];
  for (const [name, { platforms }] of Object.entries(project.spec.images)) {
    try {
      const open = await openImage(project, name);
      for (const platform of platforms) keys.push(...planOf(project, open, platform, {}).stages.map(({ key }) => key));
    } catch (error) {
      await failed(name, unlessBug(error));
    }
  }
  return keys;
};

/** Only what a person can act on is passed over, and never an interruption. */
const unlessBug = (error: unknown): FactoryError => {
  if (error instanceof FactoryError && error.code !== "INTERRUPTED") return error;
  throw error;
};
