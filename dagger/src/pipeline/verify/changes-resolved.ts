import { pinName } from "../config/pin.js";
import { hashOf } from "../common/canonical.js";
import type { Lock } from "../config/lock.js";
import { buildArgOf } from "../plan/plan.js";
import type { Step } from "../steps/step.js";
import { type Edit, imageOfSubject, type Prepared, readersBeside, stagesWith, type Subject, union } from "./case.js";
import { withLock, withSpec } from "./edits.js";
import { toolsOf } from "../context/inputs.js";

/** Changes of what images.lock resolves for base-tools. Where no second version is known, a changed one can be planned, and not built. */

type Written = Extract<Edit, { edit: "write" }>;

const lockEdit = ({ lock }: Subject, change: (copy: Lock) => void): Written => ({
  edit: "write",
  path: "images.lock",
  text: withLock(lock, change),
});

const isTool = (step: Step): step is Extract<Step, { do: "tool" | "compile" }> => step.do === "tool" || step.do === "compile";

export const tool = (subject: Subject): Prepared => {
  const { plan, spec, image } = subject;
  const tools = plan.stages.flatMap(({ ingredients }) => ingredients.steps.map(({ step }) => step).filter(isTool));
  const asked = (name: string, version: string) => {
    const stages = stagesWith(subject, (step) => isTool(step) && step.name === name);
    return {
      says: `${buildArgOf(name)} asks for ${version}`,
      buildArgs: { [buildArgOf(name)]: version },
      must: stages,
      bytes: stages,
    };
  };
  const locked = Object.values(plan.alternatives).flat().find(isTool);
  if (locked !== undefined) return asked(locked.name, locked.version);
  const any = tools.find((step) => step.do === "tool");
  if (any === undefined) {
    const compiled = tools.find((step) => step.do === "compile");
    return compiled === undefined ? { absent: "the image has no tools" } : compiledTool(subject, compiled);
  }
  const { source } = Object.values(spec.images[image]!.stages)
    .flatMap((stage) => toolsOf(spec, stage))
    .find(({ name }) => name === any.name)!;
  const version = `${any.version}-verify.${subject.nonce}`;
  const change = asked(any.name, version);
  const edit = lockEdit(subject, ({ tools: held }) => {
    const versions = held[any.name]![source]!;
    versions[version] = versions[any.version]!;
  });
  return {
    ...change,
    edits: [edit],
    must: union(change.must, readersBeside(subject, "images.lock")),
    by: { by: "plan", why: `images.lock holds one version of ${any.name}, and no other of any tool` },
  };
};

/** The version of a compiled tool is no build argument: a person changes it in images.yaml. */
const compiledTool = (subject: Subject, { name, version }: Extract<Step, { do: "compile" }>): Prepared => {
  const now = `${version}-verify.${subject.nonce}`;
  const stages = stagesWith(subject, (step) => isTool(step) && step.name === name);
  const text = withSpec(subject.specText, ({ tools }) => {
    const entry = tools[name]!;
    (entry.go?.version === undefined ? entry : entry.go).version = now;
  });
  return {
    says: `images.yaml names ${now} as the version of ${name}`,
    edits: [{ edit: "write", path: "images.yaml", text }],
    must: union(stages, readersBeside(subject, "images.yaml")),
    // What it is compiled from stays: only where the linker is told its version are its bytes others.
    bytes: subject.spec.tools[name]!.go!.ldflags?.includes("{version}") ? stages : [],
  };
};

/** A version that no mirror serves. */
const bumped = (pin: string): string => {
  const [name, version] = pinName(pin);
  return pin.includes("=") ? `${name}=${version}+verify1` : `${name}-${version.replace("-", ".verify1-")}`;
};

export const lockedPackage = (subject: Subject): Prepared => {
  const { lock, image, plan } = subject;
  const pins = lock.images[image]?.packages?.["base-tools"]?.[plan.platform]?.packages;
  if (pins === undefined || pins.length === 0) return { absent: "images.lock holds no packages of base-tools" };
  const pin = pins[0]!;
  const edit = lockEdit(subject, ({ images }) => {
    images[image]!.packages!["base-tools"]![plan.platform]!.packages = [bumped(pin), ...pins.slice(1)];
  });
  return {
    says: `images.lock holds ${bumped(pin)} instead of ${pin}`,
    edits: [edit],
    must: union(["base-tools"], readersBeside(subject, "images.lock")),
    by: { by: "plan", why: "no mirror serves a version that was made up" },
  };
};

export const base = (subject: Subject): Prepared =>
  imageOfSubject(subject).base.bootstrap === undefined ? digest(subject) : packages(subject);

const digest = (subject: Subject): Prepared => {
  const { base: written } = imageOfSubject(subject);
  const [reference, given] = written.image!.split("@");
  const now = `sha256:${hashOf(subject.nonce)}`;
  const edit: Written =
    given === undefined
      ? lockEdit(subject, ({ bases }) => (bases[reference!] = now))
      : {
          edit: "write",
          path: "images.yaml",
          text: withSpec(subject.specText, ({ images }) => (images[subject.image]!.base.image = `${reference}@${now}`)),
        };
  return {
    says: `${reference} has another digest`,
    edits: [edit],
    must: union(["base-tools"], readersBeside(subject, edit.path)),
    by: { by: "plan", why: "no registry serves a digest that was made up" },
  };
};

/** One more package that is asked for by name and there already: the answer of the lock stays. */
const packages = (subject: Subject): Prepared => {
  const { lock, image, plan, specText } = subject;
  const asked = imageOfSubject(subject).base.include ?? ["ca-certificates"];
  const held = lock.images[image]?.bootstrap?.[plan.platform];
  const name = held === undefined ? "bash" : held.packages.map((pin) => pinName(pin)[0]).find((one) => !asked.includes(one));
  if (name === undefined || asked.includes(name)) return { absent: "the base asks for every package that it holds" };
  const include = [...asked, name];
  const edits: Edit[] = [
    { edit: "write", path: "images.yaml", text: withSpec(specText, ({ images }) => (images[image]!.base.include = include)) },
  ];
  if (held !== undefined) {
    const requested = [...include].sort();
    edits.push(lockEdit(subject, (copy) => (copy.images[image]!.bootstrap![plan.platform] = { ...held, requested })));
  }
  const readers = union(readersBeside(subject, "images.yaml"), held === undefined ? [] : readersBeside(subject, "images.lock"));
  return { says: `the base asks for ${name} by name`, edits, must: union(["base-tools"], readers), bytes: readers };
};
