import { existsSync } from "node:fs";
import { join } from "node:path";
import { Document } from "yaml";
import { FactoryError } from "../../dagger/src/pipeline/error.js";
import type { Lock } from "../../dagger/src/pipeline/lock.js";
import { type Move, movesBetween } from "../../dagger/src/pipeline/lock-diff.js";
import { noteText } from "../../dagger/src/pipeline/explain.js";
import { epochOf } from "../../dagger/src/pipeline/plan.js";
import { stageNames } from "../../dagger/src/pipeline/stage.js";
import { suggestion } from "../../dagger/src/pipeline/suggest.js";
import { toolsOf } from "../../dagger/src/pipeline/wanted.js";
import { command } from "../command.js";
import { engineOf } from "../engine-choice.js";
import { ensureBase } from "../execute.js";
import { replaceFile } from "../io/replace-file.js";
import { type Part, partsOf, type Resolving, toolPart } from "../lock/resolve.js";
import { lockFile, openImage, openProject, planOf } from "../project.js";
import { plural, table } from "../view/table.js";
import { problemText } from "../view/problem.js";
import { imageFlag } from "./flags.js";

export const lock = command({
  name: "lock",
  about: "Resolve versions and checksums into images.lock: what is missing, or with --update everything",
  flags: {
    image: { ...imageFlag, about: "only this image; all when absent" },
    update: { type: "boolean", about: "resolve again what the lock already answers, and show what moved" },
    check: { type: "boolean", about: "resolve nothing; exit 2 when the lock does not answer images.yaml" },
    tool: { type: "string", about: "add a version of this tool" },
    version: { type: "string", about: "with --tool: the version to add" },
  },
  async run(flags, world) {
    const project = await openProject(world);
    const names = flags.image === undefined ? Object.keys(project.spec.images) : [flags.image];
    const after: Lock = structuredClone(project.lock);
    const opened = await Promise.all(names.map((name) => openImage(project, name)));
    if (flags.check) {
      const behind = opened.flatMap((open) =>
        open.image.platforms.flatMap((platform) => planOf(project, open, platform, {}).notes),
      );
      for (const text of new Set(behind.map(noteText))) world.stdout(`${text}\n`);
      if (behind.length === 0) world.stderr(`${lockFile} answers images.yaml\n`);
      return behind.some(({ note }) => note === "stale") ? 2 : 0;
    }
    const net = { env: world.env, signal: world.signal };
    const all = opened.map((open): Resolving => ({
      project,
      open,
      world,
      lock: after,
      net,
      workshop: {
        engine: () => engineOf(project, world, "auto", "dockerfiles"),
        base: (base, platform) =>
          ensureBase({ project, world }, { image: open.name, platform, epoch: epochOf(project.spec) }, base),
      },
      update: flags.update,
    }));
    if (flags.tool === undefined && flags.version !== undefined) throw versionAlone(flags.version);
    const parts =
      flags.tool === undefined ? all.flatMap(partsOf) : all.flatMap((at) => versionParts(at, flags.tool!, flags.version));
    if (parts.length === 0 && flags.tool !== undefined) throw nowhere(flags.tool, all);
    const failures = await resolveAll(parts, world.stderr, world.signal, world.colour);
    const moves = movesBetween(project.lock, after);
    const path = join(project.root, lockFile);
    if (moves.length > 0 || !existsSync(path)) replaceFile(path, lockText(after));
    world.stdout(movesText(moves));
    return failures[0]?.exitCode ?? 0;
  },
});

/** Each part on its own: what one mirror refuses must not lose what another gave. */
const resolveAll = async (
  parts: readonly Part[],
  say: (text: string) => void,
  signal: AbortSignal,
  colour: boolean,
): Promise<FactoryError[]> => {
  const failures: FactoryError[] = [];
  for (const { what, resolve } of parts) {
    say(`resolving ${what}\n`);
    try {
      await resolve();
    } catch (error) {
      if (!(error instanceof FactoryError) || signal.aborted) throw error;
      say(problemText(error, { colour, json: false, verbose: false }));
      failures.push(error);
    }
  }
  return failures;
};

const versionParts = (at: Resolving, name: string, version: string | undefined): Part[] => {
  const known = at.project.spec.tools;
  if (!Object.hasOwn(known, name))
    throw new FactoryError("USAGE", {
      what: `no tool ${name}`,
      why: `tools: ${Object.keys(known).join(", ")}`,
      fix: suggestion(name, Object.keys(known)),
    });
  if (version === undefined)
    throw new FactoryError("USAGE", {
      what: "no version to add",
      why: "a tool is locked version by version",
      fix: `./task lock TOOL=${name} VERSION=${known[name]!.version}`,
    });
  return stageNames.flatMap((stage) =>
    toolsOf(at.project.spec, at.open.image.stages[stage])
      .filter((one) => one.name === name)
      .flatMap(({ source }) => toolPart(at, name, source, version)),
  );
};

const movesText = (moves: readonly Move[]): string => {
  if (moves.length === 0) return `${lockFile}: nothing moved\n`;
  const shown =
    moves.length > 60
      ? summary(moves)
      : table(
          moves.map(({ where, name, was, now }) => [
            where,
            name,
            was === null ? `+ ${now}` : now === null ? `- ${was}` : `${was} → ${now}`,
          ]),
        );
  return `${shown}\n${lockFile}: ${plural(moves.length, "entry", "entries")} moved\n`;
};

/** A first lock is hundreds of lines that nobody reads; counts tell more. */
const summary = (moves: readonly Move[]): string => {
  const counts = new Map<string, number>();
  for (const { where } of moves) counts.set(where, (counts.get(where) ?? 0) + 1);
  return table([...counts].map(([where, count]) => [where, plural(count, "entry", "entries")]));
};

const lockText = (value: Lock): string => {
  const document = new Document(value, { sortMapEntries: true });
  document.commentBefore = " Written by `./task lock`; read it, commit it, do not edit it.";
  return document.toString({ lineWidth: 0 });
};

const versionAlone = (version: string): FactoryError =>
  new FactoryError("USAGE", {
    what: `VERSION=${version} of what?`,
    why: "it is the version of a tool",
    fix: `./task lock TOOL=task VERSION=${version}`,
  });

const nowhere = (tool: string, all: readonly Resolving[]): FactoryError =>
  new FactoryError("USAGE", {
    what: `no tool ${tool} in ${all.map(({ open }) => open.name).join(", ")}`,
    why: "a checksum is locked for the source that an image takes the tool from",
    fix: `name an image that has it, or add ${tool} to the tools of one of its stages`,
  });
