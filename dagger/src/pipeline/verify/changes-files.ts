import type { Entry } from "../context/snapshot.js";
import {
  atRoot,
  type Edit,
  type FoundChange,
  type Prepared,
  readersBeside,
  readersOf,
  stagesWith,
  type Subject,
  union,
} from "./case.js";
import { withSpec } from "./edits.js";

/** Changes of files: each either finds what it changes in this project or says why it does not. */

const special =
  /(?:^|\/)(?:pyproject\.toml|setup\.(?:py|cfg)|README[^/]*|Taskfile\.ya?ml|images\.(?:yaml|lock)|Dockerfile[^/]*|tests?\/.*)$/i;
const hashComments = /\.(?:py|sh|rb|pl|toml|ya?ml|cfg|conf|ini|tf|mk)$|(?:^|\/)[^./]+$/;
const slashComments = /\.(?:[cm]?[jt]sx?|go|java|kt|c|h|cc|cpp|rs|cs|swift|scala)$/;

/** A file that application copies and nothing else reads; what looks like code first. */
const codeFile = (subject: Subject): string | null => {
  const paths = subject.snapshot.entries.flatMap(({ kind, path }) => (kind === "file" ? [path] : []));
  const alone = paths.filter((path) => readersOf(subject, path).join() === "application" && !special.test(path));
  return (
    alone.find((path) => path.endsWith(".py") || slashComments.test(path)) ??
    alone.find((path) => hashComments.test(path)) ??
    alone[0] ??
    null
  );
};
const noCode = { absent: "application copies no file that it alone reads" };

const remark = (path: string, word: string): string =>
  slashComments.test(path) ? `// verify:cache ${word}\n` : `# verify:cache ${word}\n`;

export const code = (subject: Subject): Prepared => {
  const path = codeFile(subject);
  if (path === null) return noCode;
  return {
    says: `${path} has a line more`,
    edits: [{ edit: "append", path: atRoot(subject, path), text: remark(path, subject.nonce) }],
    must: ["application"],
    bytes: ["application"],
    arrives: [path],
  };
};

/** A line more in a file beside images.yaml, which moves the stages that copy it and no other. */
const appended = (subject: Subject, path: string, text: string): Prepared => {
  const readers = readersBeside(subject, path);
  const says = `${path} has a line more${readers.length === 0 ? "; no stage reads it" : ""}`;
  return { says, edits: [{ edit: "append", path, text }], must: readers, bytes: readers };
};

export const taskfile = (subject: Subject): Prepared => {
  const there = subject.snapshot.entries.find(({ path }) => /(?:^|\/)Taskfile\.ya?ml$/.test(path));
  return appended(subject, there === undefined ? "Taskfile.yaml" : atRoot(subject, there.path), remark("", subject.nonce));
};

export const comment = (subject: Subject): Prepared => appended(subject, "images.yaml", remark("", subject.nonce));

const rewritten = (subject: Subject, says: string, change: Parameters<typeof withSpec>[1]): FoundChange => {
  const readers = readersBeside(subject, "images.yaml");
  const edits: Edit[] = [{ edit: "write", path: "images.yaml", text: withSpec(subject.specText, change) }];
  return { says, edits, must: readers, bytes: readers };
};

export const enrolment = (subject: Subject): Prepared => {
  const name = `verify-${subject.nonce}`;
  return rewritten(subject, `images.yaml has an image ${name} more`, ({ images }) => {
    images[name] = { ...structuredClone(images[subject.image]!), repository: name };
  });
};

export const label = (subject: Subject): Prepared => {
  const change = rewritten(subject, "images.yaml gives runtime a label more", ({ images }) => {
    const runtime = images[subject.image]!.stages["runtime"]!;
    runtime.labels = { ...runtime.labels, "io.image-factory.verify": subject.nonce };
  });
  return { ...change, must: union(change.must ?? [], ["runtime"]), bytes: union(change.bytes ?? [], ["runtime"]) };
};

/** Folders that some stage copies, `""` for the whole context. */
const copiedFolders = (subject: Subject): string[] => {
  const folders = new Set(subject.snapshot.entries.flatMap(({ kind, path }) => (kind === "directory" ? [path] : [])));
  const roots = subject.plan.stages.flatMap(({ ingredients }) =>
    ingredients.steps.flatMap(({ step }) => (step.do === "copy" ? step.items.map(({ from }) => (from === "." ? "" : from)) : [])),
  );
  return [...new Set(roots)].filter(
    (root) => root === "" || folders.has(root) || subject.snapshot.entries.some(({ path }) => path.startsWith(`${root}/`)),
  );
};
const inside = (folder: string, name: string): string => (folder === "" ? name : `${folder}/${name}`);

export const readme = (subject: Subject): Prepared => {
  const path = ["README.md", "docs/README.md"].find((name) => readersOf(subject, name).length === 0);
  if (path === undefined) return { absent: "the whole context is copied, its README too" };
  return { says: `${path} is another`, edits: [{ edit: "write", path: atRoot(subject, path), text: `${subject.nonce}\n` }] };
};

export const copiedReadme = (subject: Subject): Prepared => {
  const there = subject.snapshot.entries.find(({ kind, path }) => kind === "file" && /(?:^|\/)README[^/]*$/i.test(path));
  if (there === undefined) return { absent: "no stage copies a README" };
  const readers = readersOf(subject, there.path);
  const edits: Edit[] = [{ edit: "append", path: atRoot(subject, there.path), text: `\n${subject.nonce}\n` }];
  return { says: `${there.path} has a line more`, edits, must: readers, bytes: readers, arrives: [there.path] };
};

export const tests = (subject: Subject): Prepared => {
  const path = inside(copiedFolders(subject).find((folder) => folder !== "") ?? "", `tests/test_${subject.nonce}.py`);
  const readers = readersOf(subject, path);
  const edits: Edit[] = [{ edit: "write", path: atRoot(subject, path), text: remark(path, subject.nonce) }];
  const says = `${path} is new${readers.length === 0 ? " and ignored" : ""}`;
  return { says, edits, must: readers, bytes: readers, arrives: readers.length === 0 ? [] : [path] };
};

/** What litters a checkout where people work. */
const litter = [
  ".git/HEAD",
  ".venv/pyvenv.cfg",
  "node_modules/left-over/index.js",
  "__pycache__/cli.cpython-311.pyc",
  ".pytest_cache/lastfailed",
  ".output/report.html",
  "build/lib/old.py",
  "dist/old.tar.gz",
  "old.egg-info/PKG-INFO",
  "state/terraform.tfstate",
  "debug.log",
  "meeting.md",
];

export const junk = (subject: Subject): Prepared => {
  const all = ["", ...copiedFolders(subject)].flatMap((folder) => litter.map((name) => inside(folder, name)));
  const ignored = [...new Set(all)].filter((path) => subject.ignore.ignores(path));
  const kept = litter.filter((name) => !ignored.some((path) => path === name || path.endsWith(`/${name}`)));
  const edits = ignored.map((path): Edit => ({ edit: "write", path: atRoot(subject, path), text: `${subject.nonce}\n` }));
  return {
    says: `${ignored.length} ignored files are new${kept.length === 0 ? "" : ` (not ignored here: ${kept.join(", ")})`}`,
    edits,
  };
};

const pathsOf = (subject: Subject, ...kinds: readonly Entry["kind"][]): string[] =>
  subject.snapshot.entries.flatMap(({ kind, path }) => (kinds.includes(kind) ? [atRoot(subject, path)] : []));
const noFiles = { absent: "no stage reads a file" };

export const times = (subject: Subject): Prepared => {
  const paths = pathsOf(subject, "file", "directory");
  // Long before the checkout, as after an unpacked archive.
  return paths.length === 0
    ? noFiles
    : { says: `${paths.length} paths are of another day`, edits: [{ edit: "times", paths, seconds: 1_000_000_000 }] };
};

export const umask = (subject: Subject): Prepared => {
  const paths = pathsOf(subject, "file", "directory");
  return paths.length === 0
    ? noFiles
    : { says: `${paths.length} paths are private`, edits: [{ edit: "mode", paths, to: "private" }] };
};

export const owner = (subject: Subject): Prepared => {
  const paths = pathsOf(subject, "file", "directory", "symlink");
  if (!subject.isRoot) return { absent: "only root can give files away" };
  return paths.length === 0
    ? noFiles
    : { says: `${paths.length} paths are someone else's`, edits: [{ edit: "owner", paths, uid: 12_345, gid: 12_345 }] };
};

export const mode = (subject: Subject): Prepared => {
  const path = codeFile(subject);
  const entry = subject.snapshot.entries.find((one) => one.path === path);
  if (path === null || entry?.kind !== "file") return noCode;
  const to = entry.executable ? "not executable" : "executable";
  return {
    says: `${path} is ${to} now`,
    edits: [{ edit: "mode", paths: [atRoot(subject, path)], to }],
    must: stagesWith(subject, (step) => step.do === "copy" && step.entries.some((one) => one.path === path)),
    bytes: ["application"],
    arrives: [path],
  };
};
