/**
 * # ci/lock
 *
 * Resolves the parts of images.lock that are missing. A part that cannot be resolved stays as it was, and is told.
 */
import { debianMirror, includeOf, resolvedOn } from "../../dagger/src/pipeline/steps/debian-base.js";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import type { PackageSet, PythonSet } from "../../dagger/src/pipeline/config/lock.js";
import { pythonOf } from "../../dagger/src/pipeline/python/projects.js";
import { isResolvedOn } from "../../dagger/src/pipeline/steps/step-context.js";
import { stillMet } from "../../dagger/src/pipeline/python/still-met.js";
import { architectureOf, stageNames } from "../../dagger/src/pipeline/common/stage.js";
import { hostToolsFile } from "../host/pinned-tools.js";
import { resolveBaseDigest } from "./base-image.js";
import { resolveDebian } from "./apt/apt-packages.js";
import { resolveMetadata } from "./python/metadata.js";
import { resolvePython } from "./python/requirements-lock.js";
import { resolveRpmSet } from "./dnf/dnf-packages.js";
import { toolParts } from "./files/tool-part.js";
import { inWork } from "./common/work-folder.js";
import type { Part, Resolving } from "./common/part.js";

/** The parts of an image's lock that are missing, or all of them. Tools come apart: a version once locked never moves. */
export const partsOf = (at: Resolving): Part[] => [
  ...baseParts(at),
  ...packageParts(at),
  ...metadataParts(at),
  ...pythonParts(at),
  ...toolParts(at),
];

/** Made when there is something to put in it: an image without an entry is as good as one with an empty one. */
const lockedImage = ({ lock, open }: Resolving) => (lock.images[open.name] ??= {});
const same = (a: readonly string[] | undefined, b: readonly string[]): boolean => a?.join("\n") === b.join("\n");

const baseParts = ({ open, lock, net, update }: Resolving): Part[] => {
  const reference = open.image.base.image;
  if (reference === undefined || reference.includes("@") || (lock.bases[reference] !== undefined && !update)) return [];
  return [
    {
      what: `digest of ${reference}`,
      resolve: async () => {
        lock.bases[reference] = await resolveBaseDigest(reference, net);
      },
    },
  ];
};

const packageParts = (at: Resolving): Part[] => {
  const { open, world, project, update } = at;
  const { base, stages, platforms } = open.image;
  return stageNames.flatMap((stage) => {
    const requested = [...new Set(stages[stage].packages ?? [])].sort();
    const include = includeOf(base);
    return platforms.flatMap((platform): Part[] => {
      const locked = at.lock.images[open.name];
      const bootstrapped = base.bootstrap !== undefined && stage === "base-tools";
      const on = resolvedOn(base);
      const [set, baseSet] = [locked?.packages?.[stage]?.[platform], locked?.bootstrap?.[platform]].map(onThis(on));
      const answered =
        (requested.length === 0 || same(set?.requested, requested)) && (!bootstrapped || same(baseSet?.requested, include));
      if ((requested.length === 0 && !bootstrapped) || (answered && !update)) return [];
      const keep = (found: PackageSet) => (((lockedImage(at).packages ??= {})[stage] ??= {})[platform] = found);
      const keepBase = (found: PackageSet) => ((lockedImage(at).bootstrap ??= {})[platform] = found);
      return [
        {
          what: `${base.packages} packages of ${open.name} ${stage} for ${platform}`,
          resolve: async () => {
            // In other words the same request: its pins stay.
            const held = bootstrapped ? stillMet(baseSet, include) : null;
            const met = stillMet(set, requested, held?.packages);
            if (!update && (held !== null || !bootstrapped) && (met !== null || requested.length === 0)) {
              if (held !== null) keepBase(held);
              if (met !== null) keep(met);
              return;
            }
            if (base.packages === "dnf") return void keep({ ...(await resolveRpmSet(at, stage, platform, requested)), on });
            if (base.bootstrap === undefined) throw notBootstrapped(open.name);
            await inWork(async (work) => {
              const found = await resolveDebian({
                suite: base.suite!,
                mirror: base.mirror ?? debianMirror,
                architecture: architectureOf(platform),
                include,
                requested,
                work,
                cache: project.state.cache,
                signal: world.signal,
              });
              if (bootstrapped) keepBase({ ...found.bootstrap, on });
              if (requested.length > 0) keep({ ...found.packages, on });
            });
          },
        },
      ];
    });
  });
};

/** A set that was resolved on something else is as good as none. */
const onThis =
  (on: string) =>
  (set: PackageSet | undefined): PackageSet | undefined =>
    set !== undefined && isResolvedOn(set, on) ? set : undefined;

const notBootstrapped = (image: string): FactoryError =>
  new FactoryError("LOCK_MISSING", {
    what: `cannot lock the apt packages of ${image}`,
    why: "its base is an image, and which packages it holds is only known inside it",
    fix: "use a bootstrapped base, or go on with floating packages: plan says so in a note",
  });

const metadataParts = (at: Resolving): Part[] => resolveMetadata(at, () => lockedImage(at));

const pythonParts = (at: Resolving): Part[] => {
  const { open, project, lock, net, update } = at;
  const stage = stageNames.find((name) => open.image.stages[name].python !== undefined);
  if (stage === undefined) return [];
  const spec = open.image.stages[stage].python!;
  return [
    {
      what: `Python requirements of ${open.name}`,
      resolve: async () => {
        // Read only now: metadata that was built a moment ago belongs to it.
        const { requires } = pythonOf(open.name, open.image, open.snapshot, lock);
        const held = lock.images[open.name]?.python ?? {};
        const { platforms } = open.image;
        const version = Array.isArray(spec) ? "3.11" : spec.version;
        const answered = (set: PythonSet | undefined) => same(set?.requested, requires) && (set?.version ?? version) === version;
        if (!update && platforms.every((platform) => answered(held[platform]))) return;
        const found = await inWork((work) =>
          resolvePython({
            requires,
            held: update ? {} : held,
            pythonVersion: version,
            platforms,
            work,
            net,
            hostTools: hostToolsFile,
            cache: project.state.cache,
          }),
        );
        lockedImage(at).python = Object.fromEntries(
          Object.entries(found).map(([platform, set]) => [platform, { version, ...set }]),
        );
      },
    },
  ];
};
