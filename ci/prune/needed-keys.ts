import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import { atCommit, newestCommits, NoProject, type GitPlace } from "../project/at-commit.js";
import type { World } from "../host/world.js";
import { openImage, type OpenImage, openProject, planOf, type Project } from "../project/project.js";

/** The keys that plans need, each with the plan that a person would look for it in; and what they do not hold. */
export type NeededKeys = {
  keys: ReadonlyMap<string, string>;
  /** Commits whose needs are not known, and why: as long as there is one, nobody can say that a key is not needed. */
  unknown: readonly { commit: number; why: string }[];
};

/**
 * The stage keys of every image of the project, on every platform: of the files that are here, and of the newest commits.
 * A commit that cannot be planned today may have been built all the same, by an earlier version or on another machine. One from before the
 * project needs nothing.
 * @param images those of the files here must have a plan
 * @throws FactoryError as newestCommits, and what keeps the files here from having a plan
 */
export const neededKeys = async (
  project: Project,
  world: World,
  images: readonly string[],
  commits: number,
): Promise<NeededKeys> => {
  const keys = new Map<string, string>();
  const unknown: { commit: number; why: string }[] = [];
  const add = (found: readonly string[], where: string) => {
    for (const key of found) if (!keys.has(key)) keys.set(key, where);
  };
  add(
    await keysAt(world, (image, error) => (images.includes(image) ? Promise.reject(error) : Promise.resolve())),
    "the plan of the files here",
  );
  for (const [at, commit] of (await newestCommits(project, world, commits)).entries()) {
    const where = `commit ${commit.slice(0, 7)}`;
    const note = ({ explanation: { what, why } }: FactoryError) =>
      void unknown.push({ commit: at, why: `what ${where} needs is unknown: ${what}: ${why.split("\n")[0]}` });
    try {
      add(
        await atCommit(project, world, commit, (place) =>
          keysAt(place, (_, error) => Promise.resolve(note(error)), place.refuseUnknown),
        ),
        `the plan of ${where}`,
      );
    } catch (error) {
      if (!(error instanceof NoProject)) note(unlessBug(error));
    }
  }
  return { keys, unknown };
};

const keysAt = async (
  place: GitPlace,
  failed: (image: string, error: FactoryError) => Promise<void>,
  check: (open: OpenImage) => void = () => undefined,
): Promise<string[]> => {
  const project = await openProject(place);
  const keys: string[] = [];
  for (const [name, { platforms }] of Object.entries(project.spec.images)) {
    try {
      const open = await openImage(project, name);
      check(open);
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
