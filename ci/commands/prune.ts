import { keepOf } from "../../dagger/src/pipeline/config/arguments.js";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import { imageOf } from "../../dagger/src/pipeline/plan/plan.js";
import type { TrustLevel } from "../../dagger/src/pipeline/common/trust-level.js";
import { openRegistry } from "../../dagger/src/registry/client.js";
import { parseRepository, type RepositoryName } from "../../dagger/src/registry/reference/reference.js";
import { persistent } from "../../dagger/src/registry/http/retry.js";
import { command } from "../cli/command.js";
import { type World } from "../host/world.js";
import { openPackages, packagesApiOf } from "../prune/github-packages.js";
import { loginFor } from "../remote/login.js";
import { openProject, type Project } from "../project/project.js";
import { type Pruned, pruneRepository, type PrunableRepository, showPrune } from "../prune/prune-repository.js";
import { siblingOf } from "../trust/trust-level.js";
import { pruneJson, pruneTable } from "../view/prune.js";
import { type NeededKeys, neededKeys } from "../prune/needed-keys.js";
import { imageFlag, jsonFlag, registryFlag } from "../cli/flags.js";

export const prune = command({
  name: "prune",
  about: "Show what of the registry nothing needs any more, and delete it with --yes",
  more: "cached stages and unnamed images that no tag of yours, no plan of the newest commits and no grace time keeps",
  flags: {
    image: { ...imageFlag, about: "only the repository of this image; of all images when absent" },
    keep: { type: "string", about: "how many of the newest commits keep what their plans need", default: "10" },
    grace: { type: "string", about: "what is younger stays: 7d, 12h, 0 for no such time", default: "7d" },
    yes: { type: "boolean", about: "delete; without it nothing is changed" },
    json: jsonFlag,
    registry: registryFlag,
  },
  async run({ image, keep, grace, yes, json }, world) {
    const policy = { grace: graceOf(grace), now: world.now() };
    const count = keepOf(keep, "commits", "./task prune KEEP=20");
    const project = await openProject(world);
    const images = image === undefined ? Object.keys(project.spec.images) : [image];
    const names = repositoriesOf(project, images);
    const { level: scope, why } = project.trust;
    if (scope === "fork" && yes) throw fork(names[0]!, why);
    const { keys, unknown } = await neededKeys(project, world, sharing(project, names), count);
    const notes = unknown.map(({ why }) => why);
    if (yes && unknown.length > 0) throw needsUnknown(unknown);
    for (const note of notes) world.stderr(`note: ${note}\n`);
    // Cached stages that protected builds are built on are no branch's to delete.
    const homes = scope === "branch" && yes ? [] : names;
    if (homes.length < names.length)
      world.stderr(`note: a branch deletes from the sibling repositories of branches only (${why})\n`);
    const done: Pruned[] = [];
    const look = async (name: RepositoryName): Promise<boolean> => {
      const target = openTarget(name, scope, world, yes ? "push" : "pull");
      const all = { ...policy, wanted: keys, keepsLastTag: target.packages !== null };
      const tell = (line: string) => world.stderr(`${line}\n`);
      const pruned = yes ? await pruneRepository(target, all, tell) : await showPrune(target, all);
      if (pruned !== null) done.push(pruned);
      return pruned !== null;
    };
    for (const name of homes)
      if (!(await look(name))) world.stderr(`note: there is no ${name.registry}/${name.repository} yet\n`);
    for (const name of names) {
      const sibling = siblingOf(name);
      await look(sibling).catch((error: unknown) => {
        // Mostly it does not exist; to those who may not see it a registry says no more than that.
        if (!(error instanceof FactoryError) || error.code !== "REGISTRY_DENIED") throw error;
        world.stderr(`note: ${sibling.repository} was not looked at: ${error.explanation.why.split("\n")[0]}\n`);
      });
    }
    if (json) {
      world.stdout(
        `${JSON.stringify({ format: 1, dry: !yes, keep: count, grace: policy.grace, notes, repositories: done.map(pruneJson) }, null, 2)}\n`,
      );
      return 0;
    }
    for (const one of done) world.stdout(`${pruneTable(one, policy.now)}\n\n`);
    if (!yes && done.some(({ decisions }) => decisions.some(({ fate }) => fate === "delete")))
      world.stdout(
        unknown.length > 0
          ? "nothing was deleted, and -- --yes would refuse: see the notes above\n"
          : `nothing was deleted; to do it: ./task prune${image === undefined ? "" : ` IMAGE=${image}`} -- --yes\n`,
      );
    return 0;
  },
});

const repositoriesOf = (project: Project, images: readonly string[]): RepositoryName[] => {
  const names = images.map((image) => `${project.spec.registry}/${imageOf(project.spec, image).repository}`);
  return [...new Set(names)].map((name) => parseRepository(name));
};

/** The images that are kept in these repositories: without a plan of each nobody could tell what it needs. */
const sharing = (project: Project, names: readonly RepositoryName[]): string[] =>
  Object.keys(project.spec.images).filter((image) =>
    repositoriesOf(project, [image]).some((one) => names.some(({ repository }) => repository === one.repository)),
  );

const openTarget = (name: RepositoryName, trust: TrustLevel, world: World, access: "pull" | "push"): PrunableRepository => {
  const credentials = loginFor(name, trust, world);
  const options = { env: world.env, signal: world.signal, retryPolicy: persistent, credentials };
  const api = packagesApiOf(name.registry, world.env);
  return {
    repository: openRegistry({ ...options, registry: name.registry }).repository(name.repository, access),
    packages: api === null ? null : openPackages({ ...options, api, name }),
  };
};

const units = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1000 } as const;

/** Milliseconds. @throws FactoryError USAGE */
const graceOf = (text: string): number => {
  const [, number, unit] = /^(\d+)([dhms]?)$/.exec(text) ?? [];
  if (number !== undefined && (unit !== "" || Number(number) === 0))
    return Number(number) * units[(unit || "d") as keyof typeof units];
  throw new FactoryError("USAGE", {
    what: `cannot read GRACE=${text}`,
    why: "it is a time such as 7d, 12h or 0",
    fix: "for example: ./task prune GRACE=14d",
  });
};

const needsUnknown = (unknown: NeededKeys["unknown"]): FactoryError =>
  new FactoryError("PLAN_UNKNOWN", {
    what: "nothing was deleted: not every commit says what it needs",
    why: unknown.map(({ why }) => why).join("\n"),
    fix: `fix that, or let only the commits count that have a plan: ./task prune KEEP=${Math.min(...unknown.map(({ commit }) => commit))}`,
  });

const fork = ({ registry, repository }: RepositoryName, why: string): FactoryError =>
  new FactoryError("REGISTRY_DENIED", {
    what: `not allowed to delete from ${registry}/${repository}`,
    why: `this is a build of a fork, and forks change nothing (${why})`,
    fix: "prune from a protected branch of the repository itself; without --yes it works here",
  });
