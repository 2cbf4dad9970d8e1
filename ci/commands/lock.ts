import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Document } from "yaml";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import type { Lock } from "../../dagger/src/pipeline/config/lock.js";
import { type Move, movesBetween, rewordedBetween } from "../../dagger/src/pipeline/config/lock-diff.js";
import { noteText } from "../../dagger/src/pipeline/explain/reasons-text.js";
import { canonical } from "../../dagger/src/pipeline/common/canonical.js";
import { lackingError } from "../../dagger/src/pipeline/steps/needs.js";
import { isBehind } from "../../dagger/src/pipeline/plan/lock-notes.js";
import { type Note } from "../../dagger/src/pipeline/plan/types.js";
import { parseSpec } from "../../dagger/src/pipeline/config/parse.js";
import { epochOf } from "../../dagger/src/pipeline/plan/plan.js";
import { version as versionSchema } from "../../dagger/src/pipeline/config/spec.js";
import { type Platform, stageNames } from "../../dagger/src/pipeline/common/stage.js";
import { suggestion } from "../../dagger/src/pipeline/common/suggest.js";
import { toolsOf } from "../../dagger/src/pipeline/context/inputs.js";
import { taskWording } from "../cli/fix-words.js";
import { command } from "../cli/command.js";
import { engineOf } from "../build/engine-on-demand.js";
import { ensureBase } from "../build/execute-stage.js";
import { replaceFile } from "../host/atomic-write.js";
import { partsOf } from "../lock/resolve.js";
import { type Part, type Resolving } from "../lock/common/part.js";
import { toolPart } from "../lock/files/tool-part.js";
import { lockFile, openImage, type OpenImage, openProject, planOf, type Project, specFile } from "../project/project.js";
import { plural, table } from "../../dagger/src/pipeline/common/format.js";
import { problemText } from "../view/problem.js";
import { imageFlag } from "../cli/flags.js";

export const lock = command({
  name: "lock",
  about: "Resolve versions and checksums into images.lock",
  more: "what is missing, or with --update everything",
  flags: {
    image: { ...imageFlag, about: "only this image; all when absent" },
    update: { type: "boolean", about: "resolve again what the lock already answers, and show what moved" },
    check: { type: "boolean", about: "resolve nothing; exit 2 when the lock is out of date" },
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
      if (behind.length === 0) world.stderr(`${lockFile} is up to date\n`);
      return behind.some(isBehind) ? 2 : 0;
    }
    const net = { env: world.env, signal: world.signal };
    const all = opened.map((open): Resolving => ({
      project,
      open,
      world,
      lock: after,
      net,
      locate: (path) => parseSpec(readFileSync(join(project.root, specFile), "utf8"), specFile).locate(path),
      bases: {
        engine: () => engineOf(project, world, "auto", "dockerfiles"),
        base: (base, platform) =>
          ensureBase({ project, world }, { image: open.name, platform, epoch: epochOf(project.spec) }, base),
      },
      update: flags.update,
    }));
    if (flags.tool === undefined && flags.version !== undefined) throw versionAlone(flags.version);
    const parts = flags.tool === undefined ? all.flatMap(partsOf) : versionParts(all, flags.tool, flags.version);
    if (parts.length === 0 && flags.tool !== undefined) {
      world.stdout(`${lockFile}: holds ${flags.tool} ${flags.version} already\n`);
      return 0;
    }
    const failures = await resolveAll(parts, world.stderr, world.signal);
    const path = join(project.root, lockFile);
    const changed = canonical(project.lock) !== canonical(after);
    if (changed || !existsSync(path)) replaceFile(path, lockText(after));
    world.stdout(changed ? changesText(project.lock, after) : `${lockFile}: nothing moved\n`);
    if (failures.length === 0 && flags.tool === undefined)
      for (const open of opened) requireUsable({ ...project, lock: after }, open);
    return failures[0]?.exitCode ?? 0;
  },
});

/** What is locked may show that an image lacks what its own steps need. @throws FactoryError CONFIG_INVALID */
const requireUsable = (project: Project, open: OpenImage): void => {
  for (const platform of open.image.platforms) {
    const lacking = notesIn(project, open, platform).filter((note) => note.note === "lacking");
    if (lacking.length > 0) throw lackingError(open.name, lacking);
  }
};

/** A file of the context that is not made yet is no matter of the lock. */
const notesIn = (...asked: [Project, OpenImage, Platform]): readonly Note[] => {
  try {
    return planOf(...asked, {}).notes;
  } catch (error) {
    if (error instanceof FactoryError && error.code === "INPUT_MISSING") return [];
    throw error;
  }
};

/** Each part on its own: what one mirror refuses must not lose what another gave. */
const resolveAll = async (parts: readonly Part[], say: (text: string) => void, signal: AbortSignal): Promise<FactoryError[]> => {
  const failures: FactoryError[] = [];
  for (const { what, resolve } of parts) {
    say(`resolving ${what}\n`);
    try {
      await resolve();
    } catch (error) {
      if (!(error instanceof FactoryError) || signal.aborted) throw error;
      say(problemText(error, { colour: false, json: false, verbose: false, wording: taskWording }));
      failures.push(error);
    }
  }
  return failures;
};

/** The parts that add a version of a tool; none where images.lock holds it. */
const versionParts = (all: readonly Resolving[], name: string, version: string | undefined): Part[] => {
  const known = all[0]!.project.spec.tools;
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
  const { data } = versionSchema.safeParse(version);
  if (data === undefined) throw notAVersion(name, version);
  const chosen = all.flatMap((at) =>
    stageNames.flatMap((stage) =>
      toolsOf(at.project.spec, at.open.image.stages[stage]).flatMap((one) =>
        one.name === name ? [{ at, source: one.source }] : [],
      ),
    ),
  );
  if (chosen.length === 0) throw nowhere(name, all);
  // The version of a tool that is compiled is what its source says: locked is the toolchain that compiles it.
  const { go } = known[name]!;
  const fitting = chosen.filter(({ source }) => source !== "go" || version === go?.toolchain);
  if (fitting.length === 0) throw compiled(name, version, go!.toolchain);
  return fitting.flatMap(({ at, source }) => toolPart(at, name, source, version));
};

const changesText = (before: Lock, after: Lock): string => {
  const moves = movesBetween(before, after);
  const reworded = rewordedBetween(before, after).map(({ where, added, removed }) => {
    const words = [...added.map((word) => `+${word}`), ...removed.map((word) => `-${word}`)].join(" ");
    return `${where}: the requirements changed (${words}), the pins are kept\n`;
  });
  if (moves.length > 0) return reworded.join("") + movesText(moves);
  return `${reworded.join("")}${lockFile}: written, no version moved\n`;
};

const movesText = (moves: readonly Move[]): string => {
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
  const document = new Document(value, { sortMapEntries: true, aliasDuplicateObjects: false });
  document.commentBefore = " Written by `./task lock`; read it, commit it, do not edit it.";
  return document.toString({ lineWidth: 0 });
};

const versionAlone = (version: string): FactoryError =>
  new FactoryError("USAGE", {
    what: `VERSION=${version} of what?`,
    why: "it is the version of a tool",
    fix: `./task lock TOOL=task VERSION=${version}`,
  });

const notAVersion = (tool: string, version: string): FactoryError =>
  new FactoryError("USAGE", {
    what: `VERSION=${JSON.stringify(version)} is no version`,
    why: "a version has letters, digits and . + ~ _ -, and no leading v",
    fix: `./task lock TOOL=${tool} VERSION=1.2.3`,
  });

const compiled = (tool: string, version: string, toolchain: string): FactoryError =>
  new FactoryError("USAGE", {
    what: `${tool} ${version} cannot be locked`,
    why: `${tool} is compiled: its version is what its source says, and what is locked is its Go toolchain, ${toolchain}`,
    fix: `change the version in the source's go.mod and in ${specFile}; another toolchain in tools.${tool}.go.toolchain, then ./task lock`,
  });

const nowhere = (tool: string, all: readonly Resolving[]): FactoryError =>
  new FactoryError("USAGE", {
    what: `no tool ${tool} in ${all.map(({ open }) => open.name).join(", ")}`,
    why: "a checksum is locked for the source that an image takes the tool from",
    fix: `name an image that has it, or add ${tool} to the tools of one of its stages`,
  });
