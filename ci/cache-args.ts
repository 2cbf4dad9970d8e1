import { missingBlobs } from "../dagger/src/layout.js";
import { baseContextOf } from "../dagger/src/pipeline/dockerfile.js";
import { FactoryError } from "../dagger/src/pipeline/error.js";
import { baseKeyOf } from "../dagger/src/pipeline/key.js";
import type { Plan, PlannedStage } from "../dagger/src/pipeline/plan.js";
import { pullStage } from "../dagger/src/pull-stage.js";
import type { World } from "./command.js";
import { findStage } from "./io/records.js";
import { openRemote } from "./open-remote.js";
import type { Project } from "./project.js";

/** A stage that a builder can take the place of: `base-tools=oci-layout://…`, `dependencies=docker-image://…`. */
type Found = { stage: PlannedStage; source: string };

/**
 * The `--build-context` arguments that replace the executed stages kept on this machine: a builder starts from them, runs nothing
 * of theirs, and nothing of what only they stand on.
 * @throws FactoryError INPUT_MISSING where none is kept
 */
export const cacheArgsFromState = ({ state }: Project, plan: Plan): string[] => {
  const found = executed(plan).flatMap((stage): Found[] => {
    const kept = findStage(state, stage.key);
    // A builder reads the layout itself: what is only in the registry it would not find there.
    const isWhole = kept !== null && missingBlobs(state.layout, kept.digest)?.length === 0;
    return isWhole ? [{ stage, source: `oci-layout://${state.layout}@${kept.digest}` }] : [];
  });
  if (found.length === 0) {
    throw new FactoryError("INPUT_MISSING", {
      what: "no stage of this plan is kept here",
      why: `looked in ${state.root}`,
      fix: `./task build IMAGE=${plan.image} STAGE=dependencies; or, where it was published: -- --cache-args --from registry`,
    });
  }
  const base = plan.base.kind === "bootstrap" ? findStage(state, baseKeyOf(plan.base, plan.platform, plan.epoch)) : null;
  return argumentsFor(plan, found, base === null ? null : `oci-layout://${state.layout}@${base.digest}`);
};

/**
 * The same, from the stage refs that publish left in the image's repository: for any machine that can pull from there.
 * What a branch wrote to its sibling repository counts for a branch.
 * @throws FactoryError INPUT_MISSING where there is none, REGISTRY_UNREACHABLE where the registry gives no answer
 */
export const cacheArgsFromRegistry = async ({ state }: Project, plan: Plan, world: World): Promise<string[]> => {
  const remote = openRemote(state, plan, world, "pull");
  const found: Found[] = [];
  for (const stage of executed(plan)) {
    for (const from of remote.read) {
      const pulled = await pullStage(from, state.layout, stage);
      if (pulled.state === "unknown") throw unanswered(from.name, pulled.why);
      if (pulled.state === "damaged") world.stderr(`note: ${stage.stage} is left out: ${pulled.what}\n`);
      if (pulled.state !== "found") continue;
      found.push({ stage, source: `docker-image://${from.name}@${pulled.value.image.digest}` });
      break;
    }
  }
  const [first] = found;
  if (first === undefined) {
    throw new FactoryError("INPUT_MISSING", {
      what: `${remote.name} has no stage of this plan`,
      why: `looked for ${executed(plan)
        .map(({ stage, key }) => `cache-${stage}-${key.slice(0, 12)}`)
        .join(", ")}`,
      fix: `./task publish IMAGE=${plan.image}`,
    });
  }
  // The bootstrapped base itself is in no registry. Where its stage is replaced nothing of it is used, and whatever stands there will do.
  const isBaseReplaced = first.stage === plan.stages[0];
  return argumentsFor(plan, found, plan.base.kind === "bootstrap" && isBaseReplaced ? first.source : null);
};

const executed = (plan: Plan): PlannedStage[] => plan.stages.filter(({ kind }) => kind === "executed");

/** A builder may look the base up even where nothing of it is used. */
const argumentsFor = (plan: Plan, found: readonly Found[], base: string | null): string[] => [
  ...(base === null ? [] : [`--build-context ${baseContextOf(plan)}=${base}`]),
  ...found.map(({ stage, source }) => `--build-context ${stage.stage}=${source}`),
];

const unanswered = (name: string, why: string): FactoryError =>
  new FactoryError("REGISTRY_UNREACHABLE", {
    what: `cannot tell which stages ${name} has`,
    why,
    fix: "mend the connection or the login; without the registry: ./task render -- --cache-args",
  });
