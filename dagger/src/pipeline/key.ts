import { createHash } from "node:crypto";
import type { Script } from "./script.js";
import type { Platform, StageName } from "./stage.js";
import type { Step } from "./step.js";

/** 24 hexadecimal digits that name the result of a stage. Only keyOf makes one. */
export type StageKey = string & { readonly brand: unique symbol };

/** What a base-tools stage stands on. */
export type Base =
  | { kind: "image"; reference: string; digest: string }
  | {
      kind: "bootstrap";
      distribution: "debian";
      suite: string;
      mirror: string;
      include: readonly string[];
      packages: readonly string[] | null;
    };

/**
 * Everything that decides what a stage's result is, as one printable value. Never in it: modification times, owners on
 * the host, the order of YAML keys, comments, host paths, the engine, the registry, tags, commits.
 */
export type Ingredients = {
  format: 1;
  stage: StageName;
  platform: Platform;
  parent: { base: Base } | { key: StageKey };
  steps: readonly { step: Step; script: Script | null }[];
  epoch: number;
  compression: "zstd" | "gzip";
};

/** JSON with sorted keys and no white space, so that equal values have equal texts (RFC 8785 in spirit; we hash no floats). */
export const canonical = (value: unknown): string => {
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  // Ten thousand files are as many objects: one text that grows takes half the time of lists that are joined.
  const members = value as Readonly<Record<string, unknown>>;
  let text = "";
  for (const key of Object.keys(members).sort())
    if (members[key] !== undefined) text += `${text === "" ? "" : ","}${JSON.stringify(key)}:${canonical(members[key])}`;
  return `{${text}}`;
};

export const hashOf = (value: unknown): string => createHash("sha256").update(canonical(value)).digest("hex");

/** The hash of the printable value, so that whoever has the ingredients can check the key. */
export const keyOf = (ingredients: Ingredients): StageKey => hashOf(essence(ingredients)).slice(0, 24) as StageKey;

/**
 * Ingredients without what decides nothing: the reference under which a base's digest was found (a mirror's copy is the same image), the
 * name that a command is shown under, the project that a text was made from, and the sizes of files, which follow from their content.
 */
const essence = ({ parent, steps, ...rest }: Ingredients): unknown => ({
  ...rest,
  parent: "base" in parent && parent.base.kind === "image" ? { base: { digest: parent.base.digest } } : parent,
  steps: steps.map(({ step, script }) => ({ step: essenceOf(step), script })),
});

const essenceOf = (step: Step): unknown => ({
  ...step,
  ...(step.do === "run" ? { name: undefined } : {}),
  ...(step.do === "file" && "text" in step.source ? { source: { text: step.source.text } } : {}),
  ...("entries" in step ? { entries: step.entries.map((entry) => ({ ...entry, size: undefined })) } : {}),
});

/** The key of a bootstrapped base, which stands in the state folder beside the stages. */
export const baseKeyOf = (base: Base, platform: Platform, epoch: number): string =>
  hashOf({ format: 1, base, platform, epoch }).slice(0, 24);
