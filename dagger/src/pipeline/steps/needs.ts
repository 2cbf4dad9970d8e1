import { pinName } from "../config/pin.js";
import { FactoryError } from "../common/error.js";
import type { Base } from "./base.js";
import type { StageName } from "../common/stage.js";
import type { Step } from "./step.js";

/** A step whose program the image surely lacks: `by` is the step's place in its stage, `packages` are what would bring it. */
export type Lacking = {
  note: "lacking";
  stage: StageName;
  by: string;
  programs: readonly string[];
  packages: readonly string[];
};

/** Programs that a step calls, each with the Debian package that brings it. */
const needsOf = (step: Step): { by: string; needs: Record<string, string> } | null => {
  if (step.do === "python")
    return { by: "python", needs: { [`python${step.version}`]: `python${step.version}-minimal`, pip: "python3-pip" } };
  if (step.do === "compile" || (step.do === "tool" && step.unpack.as === "zip"))
    return { by: `tools.${step.name}`, needs: { python3: "python3-minimal" } };
  return null;
};

/** Whether a step may bring a program that no package has. */
const mayBring = (step: Step): boolean =>
  step.do === "run" ||
  step.do === "copy" ||
  ((step.do === "tool" || step.do === "compile") && /^(?:python|pip)/.test(step.name)) ||
  (step.do === "file" && /python|pip/.test(step.path));

/**
 * The steps whose programs the image surely lacks, known before anything is built: only of a bootstrapped base whose packages are all
 * locked is it known what it holds.
 */
export const lackingOf = (base: Base, stages: readonly { stage: StageName; steps: readonly Step[] }[]): Lacking[] => {
  if (base.kind !== "bootstrap" || base.packages === null) return [];
  const held = new Set(base.packages.map((pin) => pinName(pin)[0]));
  const found: Lacking[] = [];
  for (const { stage, steps } of stages) {
    for (const step of steps) {
      if ((step.do === "install" && step.pins === null) || mayBring(step)) return found;
      if (step.do === "install") for (const pin of step.pins!) held.add(pinName(pin)[0]);
      const wanted = needsOf(step);
      const absent = Object.entries(wanted?.needs ?? {}).filter(([, name]) => !held.has(name));
      if (wanted === null || absent.length === 0) continue;
      const packages = absent.map(([, name]) => name.replace(/-minimal$/, ""));
      found.push({ note: "lacking", stage, by: wanted.by, programs: absent.map(([program]) => program), packages });
    }
  }
  return found;
};

/** What is lacking, as the error of whoever would build or lock it. */
export const lackingError = (image: string, lacking: readonly Lacking[]): FactoryError => {
  const packages = [...new Set(lacking.flatMap((one) => one.packages))].join(", ");
  return new FactoryError("CONFIG_INVALID", {
    what: lacking
      .map(
        ({ stage, by, programs }) => `stages.${stage}.${by} of ${image} needs ${programs.join(" and ")}, which the image lacks`,
      )
      .join("; "),
    why: "none of the locked packages that are installed before it brings it",
    fix: [`add ${packages} to images.${image}.stages.base-tools.packages, then `, { run: "lock" }],
  });
};
