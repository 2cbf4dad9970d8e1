/**
 * # dagger/src/pipeline/steps
 *
 * The steps of a stage, resolved from images.yaml, the lock and the context, and the shell commands that each of them is. Equal values make
 * equal steps and equal commands, on every engine.
 */
import { FactoryError } from "../common/error.js";
import { resolvedOn } from "./debian-base.js";
import { pythonFiles } from "./python-files.js";
import type { StageSpec } from "../config/spec.js";
import { type StageName } from "../common/stage.js";
import { type ConfigChange, isExecuted, type Owner, type Step, type StepOf } from "./step.js";
import { toolSteps } from "./tools.js";
import { withoutEnd } from "../common/without-end.js";
import { answers, below, type StepContext } from "./step-context.js";

/** The instructions of a stage, in the one order in which they always stand. */
export const stepsOf = (context: StepContext, name: StageName): Step[] => {
  const stage = context.image.stages[name];
  return [
    ...install(context, name, stage),
    ...toolSteps(context, stage),
    ...python(context, stage),
    ...users(stage),
    ...directories(context, stage),
    ...files(context, stage),
    ...copied(context, stage),
    ...commands(context, stage),
    ...config(context, name, stage),
  ];
};

const install = ({ image, imageName, lock, platform }: StepContext, name: StageName, stage: StageSpec): Step[] => {
  if (stage.packages === undefined || stage.packages.length === 0) return [];
  const names = [...new Set(stage.packages)].sort();
  const locked = lock.images[imageName]?.packages?.[name]?.[platform];
  return [
    {
      do: "install",
      manager: image.base.packages,
      names,
      pins: answers(locked, names, resolvedOn(image.base)) ? locked!.packages : null,
      modules: image.base.modules ?? [],
      repositories: image.base.repositories ?? {},
    },
  ];
};

const venvOf = ({ python }: StageSpec): { version: string; venv: string } | null => {
  if (python === undefined) return null;
  return Array.isArray(python) ? { version: "3.11", venv: "/opt/venv" } : python;
};

const python = ({ requires, lock, imageName, platform }: StepContext, stage: StageSpec): Step[] => {
  const found = venvOf(stage);
  if (found === null) return [];
  const { version, venv } = found;
  const locked = lock.images[imageName]?.python?.[platform];
  const answered = answers(locked, requires) && (locked!.version ?? version) === version;
  return [{ do: "python", version, venv, requires, pins: answered ? locked!.packages : null }];
};

const users = (stage: StageSpec): Step[] => {
  if (stage.user === undefined) return [];
  const { name, uid, gid, home, shell, subordinate } = stage.user;
  return [{ do: "user", account: { name, uid, gid, home: home ?? `/home/${name}`, shell, subordinate: subordinate ?? null } }];
};

const directories = (context: StepContext, stage: StageSpec): Step[] =>
  (stage.directories ?? []).map(({ path, owner, mode }) => ({
    do: "directory",
    path,
    owner: ownerOf(context, owner),
    mode: plainMode(mode, "755"),
  }));

const files = (context: StepContext, stage: StageSpec): Step[] =>
  Object.entries(stage.files ?? {})
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([path, file]): StepOf<"file"> => {
      if (typeof file === "string") return { do: "file", path, owner: "0:0", mode: "644", source: { text: file } };
      const rest = { do: "file", path, owner: ownerOf(context, file.owner) } as const;
      if ("content" in file) return { ...rest, mode: plainMode(file.mode, "644"), source: { text: file.content } };
      const entry = below(context.snapshot, [file.from]).find((candidate) => candidate.path === file.from);
      if (entry?.kind !== "file") throw absent(file.from, `stages.*.files.${path} takes its content from it`);
      return {
        ...rest,
        mode: plainMode(file.mode, entry.executable ? "755" : "644"),
        source: { from: file.from, sha256: entry.sha256 },
      };
    });

/** What is copied, and what makes the Python projects in it installed ones. */
const copied = (context: StepContext, stage: StageSpec): Step[] => {
  const steps = copies(context, stage);
  const venv = Object.values(context.image.stages)
    .map(venvOf)
    .find((found) => found !== null);
  return venv === undefined || venv === null
    ? steps
    : [...steps, ...pythonFiles(context.projects, venv, steps, context.snapshot)];
};

const copies = (context: StepContext, stage: StageSpec): StepOf<"copy">[] => {
  const items = (stage.copy ?? []).map((item) => {
    const from = typeof item === "string" ? item : item.path;
    const to = typeof item === "string" ? item : item.to;
    return {
      from,
      to: withoutEnd(to.startsWith("/") ? to : `${stage.to}/${to}`, "/"),
      owner: ownerOf(context, typeof item === "string" ? undefined : item.owner),
    };
  });
  // What goes below `to` in one owner's name is one layer; a destination elsewhere is its own.
  const groups = new Map<string, { to: string; owner: Owner; items: { from: string; to: string }[] }>();
  for (const { from, to, owner } of items) {
    const root = stage.to !== undefined && to.startsWith(`${stage.to}/`) ? stage.to : to;
    const group = groups.get(`${root} ${owner}`) ?? { to: root, owner, items: [] };
    group.items.push({ from, to });
    groups.set(`${root} ${owner}`, group);
  }
  return [...groups.values()].map((group): StepOf<"copy"> => {
    for (const { from } of group.items) {
      if (below(context.snapshot, [from]).length === 0) throw absent(from, "stages.*.copy names it");
    }
    return {
      do: "copy",
      ...group,
      entries: below(
        context.snapshot,
        group.items.map(({ from }) => from),
      ),
    };
  });
};

const commands = (context: StepContext, stage: StageSpec): Step[] =>
  (stage.run ?? []).map((item) => {
    const { command, inputs = [], name } = typeof item === "string" ? { command: item } : item;
    return {
      do: "run",
      name: name ?? command.split("\n")[0]!.slice(0, 60),
      command,
      inputs: [...inputs].sort(),
      entries: below(context.snapshot, inputs),
    };
  });

const config = (context: StepContext, name: StageName, stage: StageSpec): Step[] => {
  const { healthcheck } = stage;
  const path = pathOf(stage);
  const change: ConfigChange = {
    env: stage.env ?? {},
    ...(path.length === 0 ? {} : { path }),
    workdir: stage.workdir ?? null,
    user: name === "runtime" ? (finalUser(context) ?? null) : null,
    entrypoint: stage.entrypoint ?? null,
    cmd: stage.cmd ?? null,
    labels: stage.labels ?? {},
    healthcheck:
      healthcheck === undefined
        ? null
        : {
            test: healthcheck.command,
            interval: nanoseconds(healthcheck.interval ?? "30s"),
            timeout: nanoseconds(healthcheck.timeout ?? "30s"),
            startPeriod: nanoseconds(healthcheck["start-period"] ?? "0s"),
            retries: healthcheck.retries ?? 3,
          },
  };
  const { env, labels, ...rest } = change;
  const empty =
    Object.keys(env).length + Object.keys(labels).length === 0 && Object.values(rest).every((value) => value === null);
  return empty ? [] : [{ do: "config", change }];
};

/** Folders in front of PATH: those that the stage names, then its venv, unless the stage says itself where that stands. */
const pathOf = (stage: StageSpec): string[] => {
  const venv = venvOf(stage);
  const bin = venv === null ? [] : [`${withoutEnd(venv.venv, "/")}/bin`];
  const there = new Set([...(stage.path ?? []), ...(stage.env?.["PATH"]?.split(":") ?? [])]);
  return [...(stage.path ?? []), ...bin.filter((folder) => !there.has(folder))];
};

/** The last account that any stage makes is who the image runs as; the steps of every stage run as root. */
const finalUser = ({ image }: StepContext): Owner | undefined => {
  const { stages } = image;
  const last = [stages["base-tools"], stages.dependencies, stages.application, stages.runtime].findLast(
    ({ user }) => user !== undefined,
  )?.user;
  return last === undefined ? undefined : `${last.uid}:${last.gid}`;
};

const ownerOf = ({ image }: StepContext, owner: string | undefined): Owner => {
  if (owner === undefined) return "0:0";
  const numeric = /^(\d+)(?::(\d+))?$/.exec(owner);
  if (numeric !== null) return `${Number(numeric[1])}:${Number(numeric[2] ?? 0)}`;
  const user = Object.values(image.stages).find((stage) => stage.user?.name === owner)!.user!;
  return `${user.uid}:${user.gid}`;
};

const plainMode = (mode: string | undefined, otherwise: string): string => (mode ?? otherwise).replace(/^0(?=\d{3})/, "");
const absent = (path: string, why: string): FactoryError =>
  new FactoryError("INPUT_MISSING", {
    what: `${path} is not in the context`,
    why,
    fix: `create it, fix the name in images.yaml, or take it out of .dockerignore`,
  });
const units = { ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 } as const;
const nanoseconds = (duration: string): number => {
  const [, number, unit] = /^(\d+)(ms|s|m|h)$/.exec(duration)!;
  return Number(number) * units[unit as keyof typeof units];
};

export const isStageExecuted = (steps: readonly Step[]): boolean => steps.some(isExecuted);
