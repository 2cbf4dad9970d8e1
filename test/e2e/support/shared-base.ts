import { cp, link, mkdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ensureBase } from "../../../ci/build/execute-stage.js";
import { withLock } from "../../../ci/host/process-lock.js";
import { nameInLayout, sweep } from "../../../ci/state/layout-index.js";
import { allStages, findStage, forgetStage, keepStage } from "../../../ci/state/records.js";
import { stateOf } from "../../../ci/state/state.js";
import { openImage, openProject, planOf, platformsOf } from "../../../ci/project/project.js";
import { blobPath, closure } from "../../../dagger/src/oci-layout/blobs.js";
import { baseKeyOf } from "../../../dagger/src/pipeline/plan/key.js";
import { mediaTypes } from "../../../dagger/src/pipeline/oci/manifest.js";
import { quietWorld } from "../../fixtures/quiet-world.js";

/** Bases that are kept: the mirror moves every few days, and each weighs a few hundred megabytes. */
const keptBases = 3;

/**
 * Brings the bootstrapped base of a locked project into its state folder. It is made once for all tests of this machine, under its
 * key, in the user's cache: bootstrapping takes longer than all the rest, and bootstrap.test.ts holds that it comes out equal.
 * @param image the first one when absent
 * @returns the name that the base has in the layout of the state folder
 */
export const takeSharedBase = async (folder: string, env: Readonly<Record<string, string>>, image?: string): Promise<string> => {
  const { world } = quietWorld({ cwd: folder, env: { ...process.env, ...env } });
  const project = await openProject(world);
  const into = project.state;
  const shared = stateOf("/", { ...world.env, FACTORY_STATE: join(into.cache, "test-bases") }, into.trust);
  const open = await openImage(project, image);
  const plan = planOf(project, open, platformsOf(open.image, undefined)[0]!, {});
  const { base } = plan;
  if (base.kind !== "bootstrap") throw new Error(`${open.name} has no bootstrapped base`);
  const key = baseKeyOf(base, plan.platform, plan.epoch);
  await withLock(join(shared.root, ".lock"), async () => {
    const digest = await ensureBase({ project: { ...project, state: shared }, world }, plan, base);
    const others = allStages(shared).filter((record) => record.key !== key);
    for (const old of others.sort((one, two) => two.at - one.at).slice(keptBases - 1)) forgetStage(shared, old.key);
    await sweep(shared.layout, new Set(allStages(shared).map((record) => record.digest)));
    const manifest = { mediaType: mediaTypes.manifest, digest, size: (await readFile(blobPath(shared.layout, digest))).length };
    for (const blob of closure(shared.layout, manifest)) {
      const [from, to] = [blobPath(shared.layout, blob.digest), blobPath(into.layout, blob.digest)];
      await mkdir(dirname(to), { recursive: true });
      // The same file under two names; across file systems it is copied.
      await link(from, to).catch(() => cp(from, to));
    }
    await nameInLayout(into.layout, `base-${key}`, manifest);
    keepStage(into, findStage(shared, key)!);
  });
  return `base-${key}`;
};
