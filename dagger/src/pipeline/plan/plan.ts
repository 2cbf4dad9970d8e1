/**
 * # dagger/src/pipeline/plan
 *
 * The one planner: from images.yaml, the lock and the context to four stages with their keys. Values in, values out: no file, process, clock
 * or network is asked.
 */
import { debianMirror, includeOf, resolvedOn } from "../steps/debian-base.js";
import { FactoryError } from "../common/error.js";
import { type Ingredients, keyOf } from "./key.js";
import { type Base } from "../steps/base.js";
import type { Lock } from "../config/lock.js";
import { type PythonFinding, pythonOf } from "../python/projects.js";
import { scriptOf } from "../steps/script.js";
import type { ImageSpec, Spec } from "../config/spec.js";
import { type Platform, stageNames } from "../common/stage.js";
import type { Step } from "../steps/step.js";
import { isStageExecuted, stepsOf } from "../steps/steps.js";
import { answers, type StepContext } from "../steps/step-context.js";
import { lackingOf } from "../steps/needs.js";
import { notesOf } from "./lock-notes.js";
import { suggestion } from "../common/suggest.js";
import { toolStep } from "../steps/tools.js";
import { toolsOf } from "../context/inputs.js";
import type { Plan, PlanInput, PlannedStage } from "./types.js";

/**
 * Values in, values out: the one planner. No file, network, process, clock or environment is asked.
 * @throws FactoryError UNKNOWN_IMAGE, UNKNOWN_PLATFORM, UNKNOWN_BUILD_ARG, LOCK_MISSING (base digest), VERSION_UNKNOWN, INPUT_MISSING, PROJECT_INVALID
 */
export const planImage = (input: PlanInput): Plan => {
  const { spec, platform, lock } = input;
  const image = imageOf(spec, input.image);
  if (!image.platforms.includes(platform)) {
    throw new FactoryError("UNKNOWN_PLATFORM", {
      what: `${input.image} is not built for ${platform}`,
      why: `images.yaml lists: ${image.platforms.join(", ")}`,
      fix: `choose one of them, or add ${platform} to images.${input.image}.platforms`,
    });
  }
  const python = pythonOf(input.image, image, input.snapshot, lock);
  const context: StepContext = {
    spec,
    platform,
    lock,
    image,
    snapshot: input.snapshot,
    imageName: input.image,
    versions: versionsOf(spec, image, input.buildArgs),
    projects: python.projects,
    requires: python.requires,
  };
  const base = baseOf(input.image, image, platform, lock);
  const epoch = epochOf(spec);
  const stages: PlannedStage[] = [];
  for (const stage of stageNames) {
    const steps = stepsOf(context, stage);
    const below = stages.at(-1);
    const ingredients: Ingredients = {
      format: 1,
      stage,
      platform,
      epoch,
      compression: spec.compression,
      parent: below === undefined ? { base } : { key: below.key },
      steps: steps.map((step) => ({ step, script: scriptOf(step, epoch) })),
    };
    stages.push({
      stage,
      key: keyOf(ingredients),
      kind: below === undefined || isStageExecuted(steps) ? "executed" : "assembled",
      ingredients,
    });
  }
  const steps = stages.map(({ stage, ingredients }) => ({ stage, steps: ingredients.steps.map(({ step }) => step) }));
  return {
    format: 1,
    image: input.image,
    repository: `${spec.registry}/${image.repository}`,
    platform,
    base,
    epoch,
    stages,
    compression: spec.compression,
    notes: [...notesOf(input.image, image, platform, lock, stages, python), ...lackingOf(base, steps)],
    secrets: spec.secrets ?? {},
    alternatives: alternativesOf(context),
    declared: declaredBy(python),
  };
};

/** @throws FactoryError UNKNOWN_IMAGE */
export const imageOf = (spec: Spec, name: string): ImageSpec => {
  const image = Object.hasOwn(spec.images, name) ? spec.images[name] : undefined;
  if (image !== undefined) return image;
  const known = Object.keys(spec.images);
  throw new FactoryError("UNKNOWN_IMAGE", {
    what: `no image ${name}`,
    why: `images.yaml holds: ${known.join(", ")}`,
    fix: suggestion(name, known),
  });
};

/** The name of the build argument that overrides a tool's version. */
export const buildArgOf = (tool: string): string => `${tool.toUpperCase().replaceAll(/[^A-Z0-9]/g, "_")}_VERSION`;

const versionsOf = (spec: Spec, image: ImageSpec, buildArgs: Readonly<Record<string, string>>): Record<string, string> => {
  const tools = stageNames.flatMap((stage) => toolsOf(spec, image.stages[stage]));
  const byArgument = new Map(tools.map((one) => [buildArgOf(one.name), one]));
  for (const argument of Object.keys(buildArgs)) {
    const one = byArgument.get(argument);
    if (one === undefined) {
      const open = [...byArgument].flatMap(([name, { source }]) => (source === "go" ? [] : [name]));
      throw noBuildArg(
        argument,
        "a build argument is the version of one of the image's tools: anything else would change a build without changing its key",
        suggestion(argument, open),
      );
    }
    // The source of one that is compiled says which version it is: another word for it would make it lie.
    if (one.source === "go") {
      throw noBuildArg(
        argument,
        `that tool is compiled, and its version is what ${one.tool.go!.source}/go.mod says`,
        "change it there (go get), and its version under tools of images.yaml with it",
      );
    }
  }
  return Object.fromEntries(
    tools.map(({ name, tool, source }) => [name, buildArgs[buildArgOf(name)] ?? tool[source]!.version ?? tool.version]),
  );
};

const noBuildArg = (argument: string, why: string, fix: string): FactoryError =>
  new FactoryError("UNKNOWN_BUILD_ARG", { what: `no build argument ${argument}`, why, fix });

/** Seconds since the Unix epoch, from the spec's date. */
export const epochOf = (spec: Spec): number => Math.floor(Date.parse(spec.epoch) / 1000);

/** @throws FactoryError LOCK_MISSING where no digest of a base image is known */
export const baseOf = (name: string, image: ImageSpec, platform: Platform, lock: Lock): Base => {
  const { base } = image;
  if (base.bootstrap !== undefined) {
    const include = includeOf(base);
    const locked = lock.images[name]?.bootstrap?.[platform];
    return {
      kind: "bootstrap",
      distribution: base.bootstrap,
      suite: base.suite!,
      mirror: base.mirror ?? debianMirror,
      include,
      packages: answers(locked, include, resolvedOn(base)) ? locked!.packages : null,
    };
  }
  const [reference, given] = base.image!.split("@");
  const digest = given ?? lock.bases[reference!];
  if (digest === undefined) {
    throw new FactoryError("LOCK_MISSING", {
      what: `no digest for the base ${reference}`,
      why: "a tag names another image tomorrow; neither images.yaml nor images.lock holds its digest",
      fix: { run: "lock", words: { IMAGE: name } },
    });
  }
  return { kind: "image", reference: reference!, digest };
};

const declaredBy = ({ projects }: PythonFinding): Record<string, string[]> => {
  const declared: Record<string, string[]> = {};
  for (const { path, requires } of projects) for (const text of requires) (declared[text] ??= []).push(path);
  return declared;
};

const alternativesOf = (context: StepContext): Record<string, Step[]> => {
  const chosen = stageNames
    .flatMap((stage) => toolsOf(context.spec, context.image.stages[stage]))
    .filter(({ source }) => source !== "go");
  return Object.fromEntries(
    chosen.map(({ name, source }) => {
      const versions = Object.keys(context.lock.tools[name]?.[source] ?? {}).filter(
        (version) => version !== context.versions[name],
      );
      return [
        name,
        versions.map((version) => toolStep(context, name, source, version)).filter((step): step is Step => "do" in step),
      ];
    }),
  );
};
