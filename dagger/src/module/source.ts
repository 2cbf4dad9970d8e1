import { chmodSync, existsSync, lstatSync, mkdirSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Directory, Workspace } from "@dagger.io/dagger";
import { copyEntries } from "../filesystem/copy-files.js";
import { literal } from "../dagger/sdk-types.js";
import { takeSnapshot } from "../filesystem/take-snapshot.js";
import { FactoryError } from "../pipeline/common/error.js";
import type { Entry, ContextSnapshot, ContextInputs } from "../pipeline/context/snapshot.js";
import type { Lock } from "../pipeline/config/lock.js";
import { parseLock, parseSpec } from "../pipeline/config/parse.js";
import { imageOf } from "../pipeline/plan/plan.js";
import { compileIgnore, readIgnoreLines } from "../pipeline/context/dockerignore.js";
import type { ImageSpec, Spec } from "../pipeline/config/spec.js";
import { valid } from "../pipeline/config/valid.js";
import { contextInputsOf } from "../pipeline/context/inputs.js";
import { limits, textInside } from "../filesystem/read-inside.js";

const specFile = "images.yaml";
const lockFile = "images.lock";
const ignoreFile = ".dockerignore";
const emptyLock = "format: 1\n";
const sourceFlag = "--source DIR";

/** A way to the folders below images.yaml. Patterns are Docker's; what they leave out stays where it is, as far as the way allows it. */
export type SourceReader = {
  where: string;
  /** The argument that names another one. */
  flag: string;
  folder(path: string, include: readonly string[], exclude: readonly string[]): Directory;
};

/**
 * The folder of the nearest images.yaml, from where the function was called upwards to the root of the repository. Only `directory` narrows
 * down what is sent: `file` sends the file's whole folder.
 * @throws FactoryError INPUT_MISSING
 */
export const workspaceReader = async (workspace: Workspace): Promise<SourceReader> => {
  const found = (await workspace.findUp(specFile)) as string | null;
  if (found === null || found === "") {
    throw new FactoryError("INPUT_MISSING", {
      what: `no ${specFile}`,
      why: "neither the folder where this was called nor one above it, up to the root of the repository, holds one",
      fix: "call this in a project, name one: --source DIR, or start one with the images.yaml of the README",
    });
  }
  const root = dirname(found);
  const folder: SourceReader["folder"] = (path, include, exclude) =>
    workspace.directory(join(root, path), { include: [...include], exclude: [...exclude] });
  return { where: `the folder of ${found}`, flag: sourceFlag, folder };
};

/** A directory that was handed over: it has been sent as it is. */
export const directoryReader = (source: Directory, flag: string = sourceFlag): SourceReader => ({
  where: "the directory",
  flag,
  folder: (path, include, exclude) =>
    (path === "." ? source : source.directory(path)).filter({ include: [...include], exclude: [...exclude] }),
});

/** The spec and the lock, and the texts that they were read from; a lock that is not there is null. */
export type Declared = { spec: Spec; specText: string; lock: Lock; lockText: string | null };

/** What a function starts from. `ignore` is the text of the ignore file beside images.yaml. */
export type Source = Declared & { reach: SourceReader; ignore: string | null };

/**
 * Reads images.yaml and images.lock, and nothing else of the source.
 * @param scratch an empty folder of this container
 * @throws FactoryError INPUT_MISSING, CONFIG_INVALID, LOCK_INVALID
 */
export const openSource = async (reach: SourceReader, scratch: string): Promise<Source> => {
  // The ignore file of the usual context comes along: one round trip less.
  await bring(reach.folder(".", [specFile, lockFile, ignoreFile], []), scratch);
  if (textIn(scratch, specFile) === null) {
    throw new FactoryError("INPUT_MISSING", {
      what: `no ${specFile}`,
      why: `${reach.where} holds none`,
      fix: `name the folder that holds it: ${reach.flag}`,
    });
  }
  return { reach, ...readDeclared(scratch), ignore: textIn(scratch, ignoreFile) };
};

/** @throws FactoryError CONFIG_INVALID, LOCK_INVALID */
const readDeclared = (folder: string): Declared => {
  const specText = textIn(folder, specFile) ?? "";
  const lockText = textIn(folder, lockFile);
  return {
    spec: valid("CONFIG_INVALID", specFile, parseSpec(specText, specFile)),
    specText,
    lock: valid("LOCK_INVALID", lockFile, parseLock(lockText ?? emptyLock, lockFile)),
    lockText,
  };
};

/** An image with the snapshot of its context. */
export type ReadImage = { name: string; image: ImageSpec; wanted: ContextInputs; snapshot: ContextSnapshot };

/**
 * An image of a source. Its context stands in a folder of this container: exactly its entries, 644 or 755. `ignore` is the text of the
 * context's ignore file.
 */
export type OpenImage = ReadImage & { folder: string; ignore: string | null };

/**
 * Brings what an image reads of its context, and only that.
 * @param scratch an empty folder of this container
 * @throws FactoryError UNKNOWN_IMAGE, INPUT_MISSING, CONFIG_INVALID
 */
export const openImage = async (source: Source, asked: string | undefined, scratch: string): Promise<OpenImage> => {
  const { spec, reach } = source;
  const name = asked ?? Object.keys(spec.images)[0]!;
  const image = imageOf(spec, name);
  const context = image.context ?? ".";
  const ignore = context === "." ? source.ignore : await contextIgnore(reach, context, join(scratch, "ignore"));
  const wanted = wantedBy(spec, image, ignore);
  const raw = join(scratch, "raw");
  if (wanted.roots.length > 0) await bring(reach.folder(context, wanted.roots.map(pattern), wanted.ignore), raw);
  // The few texts that the planner reads are read although a line ignores them, as in a checkout.
  if (wanted.texts.length > 0) await bring(reach.folder(context, wanted.texts.map(pattern), []), raw);
  mkdirSync(raw, { recursive: true });
  refuseAbsent(raw, wanted, reach.where);
  const snapshot = await takeSnapshot(raw, wanted);
  const folder = join(scratch, "context");
  settle(raw, folder, snapshot.entries);
  return { name, image, wanted, snapshot, folder, ignore };
};

const wantedBy = (spec: Spec, image: ImageSpec, ignore: string | null): ContextInputs =>
  contextInputsOf(spec, image, ignore === null ? [] : readIgnoreLines(ignore, ignoreFile));

/** Writes what an image is planned from to an empty folder of this container, as a checkout that holds nothing else. */
export const writeCheckout = (
  { specText, lockText }: Declared,
  { image, snapshot, folder, ignore }: OpenImage,
  root: string,
): void => {
  const context = join(root, image.context ?? ".");
  mkdirSync(context, { recursive: true });
  copyEntries(folder, context, snapshot);
  const texts = [
    [join(root, specFile), specText],
    [join(root, lockFile), lockText],
    [join(context, ignoreFile), ignore],
    ...[...snapshot.texts].map(([path, text]) => [join(context, path), text] as const),
  ] as const;
  for (const [path, text] of texts) {
    if (text === null || existsSync(path)) continue;
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
};

/** Reads such a folder again. @throws FactoryError CONFIG_INVALID, LOCK_INVALID, UNKNOWN_IMAGE, INPUT_MISSING */
export const readCheckout = async (root: string, name: string): Promise<Declared & ReadImage> => {
  const declared = readDeclared(root);
  const image = imageOf(declared.spec, name);
  const context = join(root, image.context ?? ".");
  const wanted = wantedBy(declared.spec, image, textIn(context, ignoreFile));
  return { ...declared, name, image, wanted, snapshot: await takeSnapshot(context, wanted) };
};

const contextIgnore = async (reach: SourceReader, context: string, to: string): Promise<string | null> => {
  await bring(reach.folder(context, [ignoreFile], []), to);
  return textIn(to, ignoreFile);
};

const bring = async (directory: Directory, to: string): Promise<void> => {
  mkdirSync(to, { recursive: true });
  try {
    await directory.export(to);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const fix = "check `context` in images.yaml and the folder that is given as the source";
    throw new FactoryError("INPUT_MISSING", { what: "cannot read the source", why, fix, cause });
  }
};

const textIn = (folder: string, name: string): string | null =>
  textInside(folder, name, name === lockFile ? limits.lock : limits.spec);

/** `.` is everything. */
const pattern = (path: string): string => (path === "." ? "**" : literal(path));

/** What was not brought is either absent or ignored; from the folder alone nobody could tell any more. */
const refuseAbsent = (folder: string, { roots, ignore }: ContextInputs, where: string): void => {
  const rules = compileIgnore(ignore);
  const missing = roots.find((root) => root !== "." && lstatSync(join(folder, root), { throwIfNoEntry: false }) === undefined);
  if (missing === undefined) return;
  const line = rules.ignores(missing) ? rules.decidedBy(missing) : null;
  throw new FactoryError("INPUT_MISSING", {
    what: `${missing} is not in the context`,
    why: line === null ? `${where} holds none` : `the ignore line ${JSON.stringify(line)} leaves it out`,
    fix:
      line === null
        ? `create ${missing}, or take it out of images.yaml`
        : `remove that line, or add the line "!${missing}" below it`,
  });
};

/** The entries as they are hashed: without the host's owners and modes, and nothing beside them. */
const settle = (from: string, to: string, entries: readonly Entry[]): void => {
  mkdirSync(to);
  for (const entry of entries) {
    const path = join(to, entry.path);
    mkdirSync(dirname(path), { recursive: true });
    if (entry.kind === "directory") mkdirSync(path, { recursive: true });
    else if (entry.kind === "symlink") symlinkSync(entry.target, path);
    else {
      renameSync(join(from, entry.path), path);
      chmodSync(path, entry.executable ? 0o755 : 0o644);
    }
  }
};
