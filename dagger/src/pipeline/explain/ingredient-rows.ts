import type { Entry } from "../context/snapshot.js";
import { type Ingredients } from "../plan/key.js";
import { hashOf } from "../common/canonical.js";
import { pinName } from "../config/pin.js";
import type { Step } from "../steps/step.js";

/** One thing that decides a stage's result, under a name that stays the same from one build to the next. */
export type Row = { name: string; value: string };
/** A row at two times; null where it was or is not there. */
export type RowPair = { name: string; was: string | null; now: string | null };

/** Ingredients as lines to read, in the order in which a stage is made. */
export const rowsOf = (ingredients: Ingredients): Row[] => {
  const { parent, platform, epoch, compression } = ingredients;
  const below: Row[] =
    "key" in parent
      ? [{ name: "parent", value: parent.key.slice(0, 12) }]
      : parent.base.kind === "image"
        ? [{ name: "base", value: `${parent.base.reference}@${parent.base.digest.slice(0, 19)}` }]
        : [
            { name: "base", value: `Debian ${parent.base.suite} from ${parent.base.mirror}` },
            ...(parent.base.packages ?? parent.base.include).map(pinRow("base package")),
          ];
  return [
    ...below,
    { name: "platform", value: platform },
    { name: "epoch", value: new Date(epoch * 1000).toISOString().replace(".000Z", "Z") },
    { name: "compression", value: compression },
    ...ingredients.steps.flatMap(({ step }) => stepRows(step)),
  ];
};

const pinRow =
  (kind: string) =>
  (pin: string): Row => {
    const [name, value] = pinName(pin);
    return { name: `${kind} ${name}`, value };
  };

const stepRows = (step: Step): Row[] => {
  switch (step.do) {
    case "install":
      return [
        ...step.names.map((name) => ({ name: `asked package ${name}`, value: step.manager })),
        ...(step.pins ?? []).map(pinRow("locked package")),
        ...step.modules.map((module) => ({ name: `module ${module.split(":")[0]}`, value: module })),
        ...Object.entries(step.repositories).map(([id, { url }]) => ({ name: `repository ${id}`, value: url })),
      ];
    case "tool":
      return [{ name: `tool ${step.name}`, value: `${step.version} sha256:${step.file.sha256.slice(0, 12)}` }];
    case "compile":
      return [
        {
          name: `tool ${step.name}`,
          value: `${step.version}, compiled (toolchain sha256:${step.toolchain.sha256.slice(0, 12)})`,
        },
        ...step.entries.map(entryRow),
      ];
    case "python":
      return [
        { name: "Python", value: `${step.version} in ${step.venv}` },
        ...step.requires.map((text) => ({ name: `dependency ${text}`, value: "asked" })),
        ...(step.pins ?? []).map(({ pin }) => pinRow("locked dependency")(pin)),
      ];
    case "run":
      return [{ name: `run ${step.name}`, value: step.command.replaceAll("\n", "; ") }, ...step.entries.map(entryRow)];
    case "user":
      return [{ name: `user ${step.account.name}`, value: `${step.account.uid}:${step.account.gid} ${step.account.home}` }];
    case "directory":
      return [{ name: `directory ${step.path}`, value: `${step.mode} ${step.owner}` }];
    case "file": {
      const content =
        "from" in step.source
          ? `from ${step.source.from} sha256:${step.source.sha256.slice(0, 12)}`
          : `${shown(step.source.text)} sha256:${hashOf(step.source.text).slice(0, 12)}`;
      return [{ name: `file ${step.path}`, value: `${step.mode} ${step.owner} ${content}` }];
    }
    case "copy":
      return [
        ...step.items.map(({ from, to }) => ({ name: `copy ${from}`, value: `to ${to} as ${step.owner}` })),
        ...step.entries.map(entryRow),
      ];
    case "config": {
      const { env, labels, ...rest } = step.change;
      return [
        ...Object.entries(env).map(([name, value]) => ({ name: `env ${name}`, value })),
        ...Object.entries(labels).map(([name, value]) => ({ name: `label ${name}`, value })),
        ...Object.entries(rest).flatMap(([name, value]) =>
          value === null ? [] : [{ name, value: typeof value === "string" ? value : JSON.stringify(value) }],
        ),
      ];
    }
  }
};

const entryRow = (entry: Entry): Row => {
  switch (entry.kind) {
    case "file":
      return { name: `input ${entry.path}`, value: `${entry.executable ? "755" : "644"} sha256:${entry.sha256.slice(0, 12)}` };
    case "symlink":
      return { name: `input ${entry.path}`, value: `→ ${entry.target}` };
    case "directory":
      return { name: `input ${entry.path}`, value: "directory" };
  }
};

const shown = (text: string): string => {
  const line = text.trimEnd().replaceAll("\n", "\\n");
  return line.length > 48 ? `${line.slice(0, 47)}…` : line;
};

/** Rows of two times beside each other: in the order of now, what went last. */
export const sideBySide = (was: readonly Row[] | null, now: readonly Row[]): RowPair[] => {
  const before = new Map((was ?? []).map(({ name, value }) => [name, value]));
  const pairs = now.map(({ name, value }) => ({ name, was: before.get(name) ?? null, now: value }));
  const names = new Set(now.map(({ name }) => name));
  return [
    ...pairs,
    ...(was ?? []).filter(({ name }) => !names.has(name)).map(({ name, value }) => ({ name, was: value, now: null })),
  ];
};
