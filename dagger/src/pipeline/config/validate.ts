import type { ImageSpec, SourceName, Spec, StageSpec, ToolSpec } from "./spec.js";
import { stageNames } from "../common/stage.js";
import { suggestion } from "../common/suggest.js";

/** A problem with values that are well formed one by one. */
export type Finding = { path: readonly PropertyKey[]; message: string; hint?: string };

/** Holds a well-formed spec against itself: names that must exist, things that cannot stand together. */
export const checkSpec = (spec: Spec): Finding[] => {
  const findings = Object.entries(spec.images).flatMap(([name, image]) => checkImage(spec, image, ["images", name]));
  if (Object.keys(spec.images).length === 0) findings.push({ path: ["images"], message: "no image" });
  for (const [name, tool] of Object.entries(spec.tools)) {
    if (sourcesOf(tool).length === 0) {
      findings.push({ path: ["tools", name], message: "no source", hint: "give it download, pip, npm or go" });
    }
  }
  return findings;
};

/** The sources a tool can come by, in the order of images.yaml. */
const sourcesOf = (tool: ToolSpec): SourceName[] =>
  (Object.keys(tool) as (keyof ToolSpec)[]).filter((key): key is SourceName => key !== "version" && tool[key] !== undefined);

const checkImage = (spec: Spec, image: ImageSpec, at: readonly PropertyKey[]): Finding[] => {
  const findings: Finding[] = [];
  const { base } = image;
  const find = (path: readonly PropertyKey[], message: string, hint?: string) =>
    findings.push({ path: [...at, ...path], message, ...(hint === undefined ? {} : { hint }) });

  if ((base.image === undefined) === (base.bootstrap === undefined)) find(["base"], "needs either image or bootstrap");
  if (base.bootstrap !== undefined && base.suite === undefined)
    find(["base"], "a bootstrapped base needs a suite", "for example: suite: bookworm");
  if (base.bootstrap === undefined) {
    for (const key of ["suite", "mirror", "include"] as const)
      if (base[key] !== undefined) find(["base", key], "only a bootstrapped base has this");
  }
  if (base.bootstrap !== undefined && base.packages !== "apt") find(["base", "packages"], "a bootstrapped Debian has apt");
  if (base.packages !== "dnf") {
    for (const key of ["modules", "repositories"] as const)
      if (base[key] !== undefined) find(["base", key], "only dnf knows this");
  }
  if (new Set(image.platforms).size !== image.platforms.length) find(["platforms"], "a platform stands twice");

  const users = new Map<string, string>();
  const pythons = stageNames.filter((stage) => image.stages[stage].python !== undefined);
  for (const stage of pythons.slice(1))
    find(["stages", stage, "python"], `${pythons[0]} has one already`, "an image has one venv: list all projects there");
  for (const stage of stageNames) {
    const steps = image.stages[stage];
    findings.push(...checkTools(spec, steps, [...at, "stages", stage, "tools"]));
    findings.push(...checkTargets(steps, [...at, "stages", stage]));
    if (steps.user !== undefined) {
      if (users.has(steps.user.name))
        find(["stages", stage, "user"], `${steps.user.name} is made in ${users.get(steps.user.name)} already`);
      users.set(steps.user.name, stage);
    }
    for (const { owner, path } of ownersOf(steps)) {
      if (!/^\d/.test(owner) && !users.has(owner)) {
        find(
          ["stages", stage, ...path],
          `no user ${owner} in this stage or below it`,
          users.size === 0 ? 'use numbers: "1001:0"' : suggestion(owner, [...users.keys()]),
        );
      }
    }
  }
  return findings;
};

const checkTools = (spec: Spec, stage: StageSpec, at: readonly PropertyKey[]): Finding[] => {
  const chosen = Array.isArray(stage.tools)
    ? stage.tools.map((name) => [name, undefined] as const)
    : Object.entries(stage.tools ?? {});
  return chosen.flatMap(([name, source], index): Finding[] => {
    const path = [...at, source === undefined ? index : name];
    const tool = spec.tools[name];
    if (tool === undefined) return [{ path, message: `no tool ${name}`, hint: suggestion(name, Object.keys(spec.tools)) }];
    const sources = sourcesOf(tool);
    if (source !== undefined && !sources.includes(source)) {
      return [{ path, message: `${name} has no source ${source}`, hint: `it comes by: ${sources.join(", ")}` }];
    }
    if (source === undefined && sources.length > 1) {
      return [{ path, message: `${name} has several sources`, hint: `say which: { ${name}: ${sources[0]} }` }];
    }
    return [];
  });
};

const checkTargets = (stage: StageSpec, at: readonly PropertyKey[]): Finding[] =>
  (stage.copy ?? []).flatMap((item, index): Finding[] => {
    const absolute = typeof item !== "string" && item.to.startsWith("/");
    return stage.to === undefined && !absolute
      ? [
          {
            path: [...at, "copy", index],
            message: "nothing says where it goes",
            hint: "give the stage a `to`, or the entry an absolute one",
          },
        ]
      : [];
  });

const ownersOf = (stage: StageSpec): { owner: string; path: PropertyKey[] }[] => [
  ...(stage.directories ?? []).flatMap(({ owner }, index) =>
    owner === undefined ? [] : [{ owner, path: ["directories", index, "owner"] }],
  ),
  ...Object.entries(stage.files ?? {}).flatMap(([path, file]) =>
    typeof file === "string" || file.owner === undefined ? [] : [{ owner: file.owner, path: ["files", path, "owner"] }],
  ),
  ...(stage.copy ?? []).flatMap((item, index) =>
    typeof item === "string" || item.owner === undefined ? [] : [{ owner: item.owner, path: ["copy", index, "owner"] }],
  ),
];
