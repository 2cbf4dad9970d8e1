import type { ContextSnapshot } from "../context/snapshot.js";
import { canonical } from "../common/canonical.js";
import type { Lock } from "../config/lock.js";
import type { Plan } from "../plan/types.js";
import type { Ignore } from "../context/dockerignore.js";
import type { ImageSpec, Spec } from "../config/spec.js";
import type { StageName } from "../common/stage.js";
import type { Step } from "../steps/step.js";

/** One thing to do to a scratch copy of a project; paths are relative to the folder of images.yaml. */
export type Edit =
  | { edit: "write"; path: string; text: string }
  | { edit: "append"; path: string; text: string }
  /** Seconds since the Unix epoch. */
  | { edit: "times"; paths: readonly string[]; seconds: number }
  /** `private`: nothing for group and others, as with umask 077. */
  | { edit: "mode"; paths: readonly string[]; to: "executable" | "not executable" | "private" }
  | { edit: "owner"; paths: readonly string[]; uid: number; gid: number };

/**
 * How a change is proved: by a build; by making stages again under their keys; by the copy that the proof works on, whose keys are
 * held against those of the checkout; on plans alone, and why no build can.
 */
type By = { by: "build" } | { by: "again" } | { by: "copy" } | { by: "plan"; why: string };

/** Why a change is proved on plans, wherever that is; null where building it would prove more. */
export const onPlansAlone = ({ by }: Pick<Change, "by">): string | null => {
  if (by.by === "plan") return by.why;
  return by.by === "copy" ? "keys are all that it could move" : null;
};

/** A change of one kind, made for one project. */
export type Change = {
  /** In words, with what was changed: also the "although" of a fault. */
  says: string;
  edits: readonly Edit[];
  buildArgs: Readonly<Record<string, string>>;
  /** Stages whose own ingredients must move, and those whose may. All others must stay, but for what is built on a moved one. */
  must: readonly StageName[];
  may: readonly StageName[];
  /** Stages whose bytes or settings must be others. */
  bytes: readonly StageName[];
  /** Files whose new content, and mode, must stand in a layer. */
  arrives: readonly string[];
  by: By;
};

/** A kind of change and the stages that it may move: the whole of what is expected. */
export type Case = {
  id: string;
  /** What a person did. */
  title: string;
  may: readonly StageName[];
  /** The change for this project, or why it has none. */
  prepare(subject: Subject): Prepared;
};
export type FoundChange = Omit<Partial<Change>, "may"> & { says: string };
export type Prepared = FoundChange | { absent: string };

/** What changes are made from: a project as it is. */
export type Subject = {
  image: string;
  spec: Spec;
  specText: string;
  lock: Lock;
  snapshot: ContextSnapshot;
  ignore: Ignore;
  /** Before any change. */
  plan: Plan;
  /** A word that no file holds. */
  nonce: string;
  /** Whether files can be given away. */
  isRoot: boolean;
};

export const imageOfSubject = ({ spec, image }: Subject): ImageSpec => spec.images[image]!;

/** The folder of the context as edits name it, with a slash at its end; empty where it is that of images.yaml. */
const contextPrefix = (subject: Subject): string => {
  const { context } = imageOfSubject(subject);
  return context === undefined || context === "." ? "" : `${context}/`;
};

/** A path of the context, relative to the folder of images.yaml. */
export const atRoot = (subject: Subject, path: string): string => `${contextPrefix(subject)}${path}`;

/** The stages that read a path of the context, whether it is there or not. */
export const readersOf = ({ plan, ignore }: Subject, path: string): StageName[] =>
  ignore.ignores(path)
    ? []
    : plan.stages.filter(({ ingredients }) => ingredients.steps.some(({ step }) => reads(step, path))).map(({ stage }) => stage);

/** The same for a file beside images.yaml. */
export const readersBeside = (subject: Subject, name: string): StageName[] => {
  const prefix = contextPrefix(subject);
  return name.startsWith(prefix) ? readersOf(subject, name.slice(prefix.length)) : [];
};

const reads = (step: Step, path: string): boolean => {
  switch (step.do) {
    case "copy":
      return step.items.some(({ from }) => within(from, path));
    case "run":
      return step.inputs.some((from) => within(from, path));
    case "compile":
      return within(step.source, path);
    case "file":
      return "from" in step.source && step.source.from === path;
    default:
      return false;
  }
};

const within = (folder: string, path: string): boolean => folder === "." || path === folder || path.startsWith(`${folder}/`);

/** The stages with a step that this holds of. */
export const stagesWith = ({ plan }: Subject, holds: (step: Step) => boolean): StageName[] =>
  plan.stages.filter(({ ingredients }) => ingredients.steps.some(({ step }) => holds(step))).map(({ stage }) => stage);

export const union = <T>(...lists: readonly (readonly T[])[]): T[] => [...new Set(lists.flat())];

/**
 * The change of a case for a project. One that must move more than the case allows does not fit the project: some stage reads a file
 * that this kind of change is not about.
 */
export const changeOf = ({ may, prepare }: Case, subject: Subject): Change | { absent: string } => {
  const prepared = prepare(subject);
  if ("absent" in prepared) return prepared;
  const { must = [], edits = [], buildArgs = {}, bytes = [], arrives = [], by = { by: "build" }, says } = prepared;
  const beyond = must.filter((stage) => !may.includes(stage));
  if (beyond.length > 0) return { absent: `${says}: ${beyond.join(" and ")} ${beyond.length === 1 ? "reads" : "read"} that too` };
  return { says, must, may, edits, buildArgs, bytes, arrives, by };
};

/** Whether two values are the same, whatever the order of their members. */
export const equal = (one: unknown, other: unknown): boolean => canonical(one) === canonical(other);
