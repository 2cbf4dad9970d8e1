import type { Script } from "../steps/shell.js";
import type { Platform, StageName } from "../common/stage.js";
import type { Step } from "../steps/step.js";
import { hashOf } from "../common/canonical.js";
import type { Base } from "../steps/base.js";

/** 24 hexadecimal digits that name the result of a stage. Only keyOf makes one. */
export type StageKey = string & { readonly brand: unique symbol };

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

/** The hash of the printable value, so that whoever has the ingredients can check the key. */
export const keyOf = (ingredients: Ingredients): StageKey => hashOf(keyMaterial(ingredients)).slice(0, 24) as StageKey;

/**
 * Ingredients without what decides nothing: the reference under which a base's digest was found (a mirror's copy is the same image), the
 * name that a command is shown under, the project that a text was made from, and the sizes of files, which follow from their content.
 */
const keyMaterial = ({ parent, steps, ...rest }: Ingredients): unknown => ({
  ...rest,
  parent: "base" in parent && parent.base.kind === "image" ? { base: { digest: parent.base.digest } } : parent,
  steps: steps.map(({ step, script }) => ({ step: stepMaterial(step), script })),
});

const stepMaterial = (step: Step): unknown => ({
  ...step,
  ...(step.do === "run" ? { name: undefined } : {}),
  ...(step.do === "file" && "text" in step.source ? { source: { text: step.source.text } } : {}),
  ...("entries" in step ? { entries: step.entries.map((entry) => ({ ...entry, size: undefined })) } : {}),
});

/** The key of a bootstrapped base, which stands in the state folder beside the stages. */
export const baseKeyOf = (base: Base, platform: Platform, epoch: number): string =>
  hashOf({ format: 1, base, platform, epoch }).slice(0, 24);
