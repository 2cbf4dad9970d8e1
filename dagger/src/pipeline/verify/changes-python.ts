import type { Lock, PythonSet } from "../config/lock.js";
import { normalName } from "../python/pep508.js";
import { requirementName } from "../decide/difference-parts.js";
import { pythonOf } from "../python/projects.js";
import { stageNames } from "../common/stage.js";
import {
  atRoot,
  type Edit,
  imageOfSubject,
  type Prepared,
  readersBeside,
  readersOf,
  stagesWith,
  type Subject,
  union,
} from "./case.js";
import { withDependency, withDescription, withLock, writtenDependencies } from "./edits.js";
import { projectsOf } from "../context/inputs.js";

/** Changes of Python projects. Those of dependencies stay within the lock: a resolver would need the package index. */

const projects = (subject: Subject): string[] =>
  stageNames.flatMap((stage) => projectsOf(imageOfSubject(subject).stages[stage]).map(({ path }) => path));
const noProject = { absent: "the image has no Python project with a pyproject.toml that says what it requires" };

/** Projects whose requirements are written down, with their texts. */
const written = (subject: Subject): { path: string; text: string; list: readonly string[] }[] =>
  projects(subject).flatMap((path) => {
    const text = subject.snapshot.texts.get(path);
    const list = text === undefined || !path.endsWith("pyproject.toml") ? null : writtenDependencies(text);
    return list === null ? [] : [{ path, text: text!, list }];
  });

/** Stages that hold something of a project: its file, or what installing it leaves. */
const holders = (subject: Subject, path: string) =>
  union(
    readersOf(subject, path),
    stagesWith(subject, (step) => step.do === "file" && "text" in step.source && step.source.project === path),
  );

export const description = (subject: Subject): Prepared => {
  const [found] = written(subject);
  if (found === undefined) return noProject;
  const text = withDescription(found.text, subject.nonce);
  if (text === null) return { absent: `the description in ${found.path} is not written in one line` };
  const must = holders(subject, found.path);
  const arrives = readersOf(subject, found.path).length === 0 ? [] : [found.path];
  return { says: `${found.path} has another description`, edits: [write(subject, found.path, text)], must, bytes: must, arrives };
};

const write = (subject: Subject, path: string, text: string): Edit => ({ edit: "write", path: atRoot(subject, path), text });

export const setupPy = (subject: Subject): Prepared => {
  const folders = projects(subject).map((path) => path.slice(0, path.lastIndexOf("/") + 1));
  const path = folders.map((folder) => `${folder}setup.py`).find((name) => subject.snapshot.texts.has(name));
  if (path === undefined) return { absent: "no Python project of the image has a setup.py" };
  const must = readersOf(subject, path);
  const edits: Edit[] = [{ edit: "append", path: atRoot(subject, path), text: `# verify:cache ${subject.nonce}\n` }];
  return { says: `${path} has a comment more`, edits, must, bytes: must, arrives: must.length === 0 ? [] : [path] };
};

const setOf = ({ lock, image, plan }: Subject): PythonSet | undefined => lock.images[image]?.python?.[plan.platform];
const nameOf = (text: string): string => normalName(requirementName(text));

/** A project with another requirement, and a lock that answers it without a resolver. */
const asked = (subject: Subject, path: string, text: string, says: string, dropped: string | null): Prepared => {
  const { image, snapshot, lock, plan } = subject;
  const { requires } = pythonOf(
    image,
    imageOfSubject(subject),
    { ...snapshot, texts: new Map([...snapshot.texts, [path, text]]) },
    lock,
  );
  const edits = [write(subject, path, text)];
  const held = setOf(subject);
  if (held !== undefined) {
    const packages = held.packages.filter(({ pin }) => dropped === null || nameOf(pin) !== dropped);
    const change = (copy: Lock) => (copy.images[image]!.python![plan.platform] = { requested: [...requires], packages });
    edits.push({ edit: "write", path: "images.lock", text: withLock(lock, change) });
  }
  const installs = stagesWith(subject, (step) => step.do === "python");
  const must = union(installs, holders(subject, path), held === undefined ? [] : readersBeside(subject, "images.lock"));
  // The same files are installed where the lock's answer stays: the bytes tell a package that is gone.
  return { says, edits, must, bytes: union(dropped === null ? [] : installs, holders(subject, path)) };
};

export const removed = (subject: Subject): Prepared => {
  const found = written(subject);
  if (found.length === 0) return noProject;
  const all = found.flatMap(({ list }) => list.map(nameOf));
  if (new Set(all).size < 2)
    return { absent: "the projects have one dependency at most, and an install of nothing proves nothing" };
  for (const { path, text, list } of found) {
    for (const one of [...list].reverse()) {
      const edited = all.filter((name) => name === nameOf(one)).length > 1 ? null : withDependency(text, one, null);
      if (edited !== null) return asked(subject, path, edited, `${path} requires ${one} no more`, nameOf(one));
    }
  }
  return { absent: "no dependency could be taken out of the text of its project" };
};

export const added = (subject: Subject): Prepared => {
  const found = written(subject);
  if (found.length === 0) return noProject;
  const known = new Set((setOf(subject)?.requested ?? []).map(nameOf));
  const held = (setOf(subject)?.packages ?? []).map(({ pin }) => nameOf(pin)).find((name) => !known.has(name));
  if (held === undefined)
    return { absent: "images.lock holds no package that only another one asks for: a new one would need a resolver" };
  for (const { path, text } of found) {
    const edited = withDependency(text, null, held);
    if (edited !== null) return asked(subject, path, edited, `${path} requires ${held} too`, null);
  }
  return { absent: "the projects' texts have no list of dependencies to add to" };
};

/** A name, maybe extras, maybe bounds; neither a marker nor a URL. */
const plain = /^[A-Za-z0-9._-]+(?:\s*\[[^\]]*\])?\s*([<>=!~][^;@]*)?$/;

export const bounds = (subject: Subject): Prepared => {
  const found = written(subject);
  if (found.length === 0) return noProject;
  for (const { path, text, list } of found) {
    for (const one of list) {
      const match = plain.exec(one);
      // No version is called so: what the lock holds answers the new bounds too.
      const now =
        match === null ? null : `${one}${match[1] === undefined ? "" : ","}!=0.0.dev${Number.parseInt(subject.nonce, 16)}`;
      const edited = now === null ? null : withDependency(text, one, now);
      if (edited !== null) return asked(subject, path, edited, `${path} requires ${now} instead of ${one}`, null);
    }
  }
  return { absent: "no dependency is written as a name with bounds" };
};
