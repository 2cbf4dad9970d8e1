import { type Ingredients } from "../plan/key.js";
import { type Base } from "../steps/base.js";
import { canonical, hashOf } from "../common/canonical.js";
import type { Difference } from "./reason.js";
import type { Step, StepOf } from "../steps/step.js";
import { configDifferences, entryDifferences, moves, named, requirementName } from "./difference-parts.js";
import { pinName } from "../config/pin.js";

/**
 * What differs between the ingredients of one stage at two times, the most telling first. The parent's key is left out: that the
 * stage below changed is for the caller to say, who knows why it did.
 * @param declared which projects ask for a requirement now, by its text
 */
export const differences = (
  was: Ingredients,
  now: Ingredients,
  declared: Readonly<Record<string, readonly string[]>> = {},
): Difference[] => {
  const found: Difference[] = [];
  if (was.format !== now.format) found.push({ why: "key-format", was: String(was.format), now: String(now.format) });
  if ("base" in was.parent && "base" in now.parent) found.push(...baseDifferences(was.parent.base, now.parent.base));
  for (const name of ["platform", "epoch", "compression"] as const)
    if (was[name] !== now[name]) found.push({ why: "setting", name, was: settingText(name, was), now: settingText(name, now) });
  const before = steps(was);
  const after = steps(now);
  for (const [identity, { step, script }] of after) {
    const old = before.get(identity);
    if (old === undefined) found.push(...came(step, "now", declared));
    else if (canonical(old.step) !== canonical(step)) found.push(...changed(old.step, step, declared));
    // Scripts name the epoch: that it moved is said already.
    else if (was.epoch === now.epoch && canonical(old.script) !== canonical(script))
      found.push({ why: "script", step: nameOf(step) });
  }
  for (const [identity, { step }] of before) if (!after.has(identity)) found.push(...came(step, "was", declared));
  return [...new Map(found.map((one) => [canonical(one), one])).values()];
};

const settingText = (name: "platform" | "epoch" | "compression", { [name]: value }: Ingredients): string =>
  name === "epoch" ? new Date(Number(value) * 1000).toISOString().replace(".000Z", "Z") : String(value);

const projectOf = ({ source }: StepOf<"file">): string | null => ("text" in source ? (source.project ?? null) : null);

/** Whether two ingredients differ in nothing but what stands below. */
export const sameButParent = (was: Ingredients, now: Ingredients): boolean =>
  hashOf({ ...was, parent: null }) === hashOf({ ...now, parent: null });

type Stated = Ingredients["steps"][number];

/** Steps by what makes two of them the same step at two times. */
const steps = ({ steps: list }: Ingredients): Map<string, Stated> => {
  const found = new Map<string, Stated>();
  for (const stated of list) {
    const identity = `${stated.step.do === "compile" ? "tool" : stated.step.do} ${nameOf(stated.step)}`;
    // Two steps of one name (`run` of the same first line) are told apart by their order.
    let unique = identity;
    for (let count = 2; found.has(unique); count += 1) unique = `${identity} #${count}`;
    found.set(unique, stated);
  }
  return found;
};

const nameOf = (step: Step): string => {
  switch (step.do) {
    case "install":
      return `install with ${step.manager}`;
    case "tool":
    case "compile":
    case "run":
      return step.name;
    case "python":
      return `Python in ${step.venv}`;
    case "user":
      return `user ${step.account.name}`;
    case "directory":
    case "file":
      return step.path;
    case "copy":
      return `copy to ${step.to}`;
    case "config":
      return "config";
  }
};

/** A step that is on one side only. */
const came = (step: Step, side: "was" | "now", declared: Readonly<Record<string, readonly string[]>>): Difference[] => {
  const there = (text: string) => (side === "now" ? { was: null, now: text } : { was: text, now: null });
  switch (step.do) {
    case "install":
      return step.names.map((name) => ({ why: "package", of: "stage", name, ...there(name) }));
    case "tool":
    case "compile":
      return [{ why: "tool", name: step.name, ...there(step.version) }];
    case "python":
      return step.requires.map((text) => ({
        why: "dependency",
        name: requirementName(text),
        from: declared[text] ?? [],
        ...there(text),
      }));
    case "file":
      if (projectOf(step) !== null) return [{ why: "project", path: projectOf(step)! }];
      return [{ why: "file", path: step.path, ...there(hashOf(step.source).slice(0, 12)) }];
    case "copy":
      return step.items.map(({ from, to }) => ({ why: "step", step: `copy of ${from}`, field: null, ...there(to) }));
    case "run":
      return [{ why: "step", step: `run step ${step.name}`, field: null, ...there(step.name) }];
    case "user":
    case "directory":
      return [{ why: "step", step: nameOf(step), field: null, ...there(step.do) }];
    case "config":
      return configDifferences(side === "now" ? null : step.change, side === "now" ? step.change : null);
  }
};

const changed = (was: Step, now: Step, declared: Readonly<Record<string, readonly string[]>>): Difference[] => {
  const found = ofSameKind(was, now, declared);
  // Whatever has no word of its own is told by its field.
  return found.length > 0 ? found : fields(nameOf(now), was, now);
};

const ofSameKind = (was: Step, now: Step, declared: Readonly<Record<string, readonly string[]>>): Difference[] => {
  if (was.do === "install" && now.do === "install") return installDifferences(was, now);
  if (was.do === "python" && now.do === "python") return pythonDifferences(was, now, declared);
  if (was.do === "config" && now.do === "config") return configDifferences(was.change, now.change);
  if (was.do === "tool" && now.do === "tool") {
    if (was.version !== now.version) return [{ why: "tool", name: now.name, was: was.version, now: now.version }];
    return was.file.sha256 === now.file.sha256
      ? []
      : [{ why: "tool-file", name: now.name, was: was.file.sha256.slice(0, 12), now: now.file.sha256.slice(0, 12) }];
  }
  if (was.do === "compile" && now.do === "compile") {
    const version: Difference[] =
      was.version === now.version ? [] : [{ why: "tool", name: now.name, was: was.version, now: now.version }];
    return [...version, ...entryDifferences(was.entries, now.entries)];
  }
  if (was.do === "run" && now.do === "run" && was.command === now.command) return entryDifferences(was.entries, now.entries);
  if (was.do === "copy" && now.do === "copy") {
    const items = moves(
      was.items.map(({ from, to }) => [from, to] as const),
      now.items.map(({ from, to }) => [from, to] as const),
    ).map(({ name, ...move }): Difference => ({ why: "step", step: `copy of ${name}`, field: null, ...move }));
    return [...items, ...entryDifferences(was.entries, now.entries)];
  }
  if (was.do === "user" && now.do === "user") return fields(nameOf(now), was.account, now.account);
  if (was.do === "file" && now.do === "file" && canonical(was.source) !== canonical(now.source)) {
    const project = projectOf(now);
    if (project !== null) return [{ why: "project", path: project }];
    const path = "from" in now.source ? now.source.from : now.path;
    return [{ why: "file", path, was: hashOf(was.source).slice(0, 12), now: hashOf(now.source).slice(0, 12) }];
  }
  return was.do !== now.do && "version" in was && "version" in now
    ? [{ why: "tool", name: nameOf(now), was: `${was.version} (${was.do})`, now: `${now.version} (${now.do})` }]
    : [];
};

const installDifferences = (was: StepOf<"install">, now: StepOf<"install">): Difference[] => {
  const asked = named(was.names, now.names).map((move): Difference => ({ why: "package", of: "stage", ...move }));
  return [...asked, ...pinDifferences("stage", was.pins, now.pins, asked.length > 0)];
};

/** Locked versions that moved; those that a newly asked package brings along go without saying. */
const pinDifferences = (
  of: "base" | "stage",
  was: readonly string[] | null,
  now: readonly string[] | null,
  asked: boolean,
): Difference[] => {
  if ((was === null) !== (now === null))
    return [{ why: "pinned", what: of === "base" ? "base packages" : "packages", now: now !== null }];
  const all = moves((was ?? []).map(pinName), (now ?? []).map(pinName));
  const telling = asked ? all.filter(({ was: old, now: fresh }) => old !== null && fresh !== null) : all;
  return telling.map((move): Difference => ({ why: "locked-package", of, ...move }));
};

const pythonDifferences = (
  was: StepOf<"python">,
  now: StepOf<"python">,
  declared: Readonly<Record<string, readonly string[]>>,
): Difference[] => {
  const entry = (text: string) => [requirementName(text), text] as const;
  const asked = moves(was.requires.map(entry), now.requires.map(entry)).map(({ name, was: old, now: fresh }): Difference => ({
    why: "dependency",
    name,
    from: declared[fresh ?? ""] ?? [],
    was: old,
    now: fresh,
  }));
  const rest: Difference[] = [];
  if (asked.length === 0 && (was.pins === null) !== (now.pins === null))
    rest.push({ why: "pinned", what: "Python requirements", now: now.pins !== null });
  const pins = (step: StepOf<"python">) => (step.pins ?? []).map(({ pin }) => pinName(pin));
  const moved = moves(pins(was), pins(now)).filter(
    ({ was: old, now: fresh }) => asked.length === 0 || (old !== null && fresh !== null),
  );
  rest.push(...moved.map((move): Difference => ({ why: "locked-dependency", ...move })));
  return [
    ...asked,
    ...rest,
    ...fields("Python", { version: was.version, venv: was.venv }, { version: now.version, venv: now.venv }),
  ];
};

const baseDifferences = (was: Base, now: Base): Difference[] => {
  if (canonical(was) === canonical(now)) return [];
  const word = (base: Base) => (base.kind === "image" ? `${base.reference}@${base.digest.slice(0, 19)}` : `Debian ${base.suite}`);
  if (was.kind !== "bootstrap" || now.kind !== "bootstrap" || was.suite !== now.suite || was.mirror !== now.mirror)
    return [{ why: "base", was: word(was), now: word(now) }];
  const asked = named(was.include, now.include).map((move): Difference => ({ why: "package", of: "base", ...move }));
  return [...asked, ...pinDifferences("base", was.packages, now.packages, asked.length > 0)];
};

const fields = (step: string, was: object, now: object): Difference[] => {
  const flat = (value: object) =>
    Object.entries(value).map(([field, held]) => [field, typeof held === "string" ? held : canonical(held)] as const);
  return moves(flat(was), flat(now)).map(({ name, was: old, now: fresh }): Difference => ({
    why: "step",
    step,
    field: name,
    was: cut(old),
    now: cut(fresh),
  }));
};

/** For the eye; only after comparing. */
const cut = (text: string | null): string | null => (text !== null && text.length > 60 ? `${text.slice(0, 57)}…` : text);
