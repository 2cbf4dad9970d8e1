import { missingBlobs } from "../../dagger/src/oci-layout/blobs.js";
import { wordOf } from "../../dagger/src/pipeline/config/arguments.js";
import { baseContextOf } from "../../dagger/src/pipeline/render/dockerfile.js";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import { baseKeyOf } from "../../dagger/src/pipeline/plan/key.js";
import type { Plan, PlannedStage } from "../../dagger/src/pipeline/plan/types.js";
import { pullStage } from "../../dagger/src/distribution/pull-stage.js";
import type { World } from "../host/world.js";
import { findStage } from "../state/records.js";
import { openRemote } from "./open-remote.js";
import type { Project } from "../project/project.js";

/** An image that replaces a stage (or the base) of the rendered Dockerfile, and where a builder finds it. */
export type Replacement = { replaces: string } & (
  | { at: "layout"; layout: string; name: string; key: string; digest: string }
  | { at: "registry"; reference: string }
);

const builders = ["docker", "buildah"] as const;
type Builder = (typeof builders)[number];

/** @throws FactoryError USAGE */
export const builderOf = (text: string): Builder => wordOf(text, builders, { what: `no builder ${text}`, known: "builders" });

/**
 * The argument that names an image to a builder, and the command to run before. buildah makes a repository name of the path of a layout, and a
 * repository name holds no capitals and no `.factory`: the image is copied to its storage first.
 */
export const contextFor = (builder: Builder, one: Replacement): { argument: string; first?: string } => {
  if (one.at === "registry") return { argument: `--build-context ${one.replaces}=docker-image://${one.reference}` };
  const { replaces, layout, name, key, digest } = one;
  if (builder === "docker") return { argument: `--build-context ${replaces}=oci-layout://${layout}@${digest}` };
  const image = `localhost/image-factory/${replaces}:${key.slice(0, 12)}`;
  return {
    argument: `--build-context ${replaces}=docker-image://${image}`,
    first: `skopeo copy oci:${layout}:${name} containers-storage:${image}`,
  };
};

/**
 * The executed stages that are on this machine: a builder starts from them, and runs neither their steps nor those of the stages that only
 * they are built on.
 * @throws FactoryError INPUT_MISSING where there is none
 */
export const replacementsFromState = ({ state }: Project, plan: Plan): Replacement[] => {
  const { layout } = state;
  const found = executed(plan).flatMap(({ stage, key }): Replacement[] => {
    const record = findStage(state, key);
    // A builder reads the layout itself: blobs that are in the registry alone are missing there.
    const isWhole = record !== null && missingBlobs(layout, record.digest)?.length === 0;
    return isWhole ? [{ replaces: stage, at: "layout", layout, name: `${stage}-${key}`, key, digest: record.digest }] : [];
  });
  if (found.length === 0) {
    throw new FactoryError("INPUT_MISSING", {
      what: "no stage of this plan is kept here",
      why: `looked in ${state.root}`,
      fix: `./task build IMAGE=${plan.image} STAGE=dependencies; or, where it was published: -- --cache-args --from registry`,
    });
  }
  // A builder may look the base up even where nothing of it is used.
  const base = plan.base.kind === "bootstrap" ? findStage(state, baseKeyOf(plan.base, plan.platform, plan.epoch)) : null;
  if (base === null) return found;
  const { key, digest } = base;
  return [{ replaces: baseContextOf(plan), at: "layout", layout, name: `base-${key}`, key, digest }, ...found];
};

/**
 * The same, from the cached stages that `publish` left in the image's repository, for any machine that can pull from there. A build of a branch
 * uses those of the sibling repository too.
 * @throws FactoryError INPUT_MISSING where there is none, REGISTRY_UNREACHABLE where the registry gives no answer
 */
export const replacementsFromRegistry = async ({ state }: Project, plan: Plan, world: World): Promise<Replacement[]> => {
  const remote = openRemote(state, plan, world, { access: "pull", unanswered: "fail" });
  const found: (Replacement & { at: "registry" })[] = [];
  for (const stage of executed(plan)) {
    for (const from of remote.read) {
      const pulled = await pullStage(from, state.layout, stage);
      if (pulled.state === "unknown") throw unanswered(from.name, pulled.why);
      if (pulled.state === "damaged") world.stderr(`note: ${stage.stage} is left out: ${pulled.what}\n`);
      if (pulled.state !== "found") continue;
      found.push({ replaces: stage.stage, at: "registry", reference: `${from.name}@${pulled.value.image.digest}` });
      break;
    }
  }
  const [first] = found;
  if (first === undefined) {
    throw new FactoryError("INPUT_MISSING", {
      what: `${remote.read[0]!.name} has no stage of this plan`,
      why: `looked for ${executed(plan)
        .map(({ stage, key }) => `cache-${stage}-${key.slice(0, 12)}`)
        .join(", ")}`,
      fix: `./task publish IMAGE=${plan.image}`,
    });
  }
  // A bootstrapped base is in no registry. Where its stage is replaced nothing of it is used, so any image will do.
  const isBaseReplaced = first.replaces === plan.stages[0]!.stage;
  return plan.base.kind === "bootstrap" && isBaseReplaced ? [{ ...first, replaces: baseContextOf(plan) }, ...found] : found;
};

const executed = (plan: Plan): PlannedStage[] => plan.stages.filter(({ kind }) => kind === "executed");

const unanswered = (name: string, why: string): FactoryError =>
  new FactoryError("REGISTRY_UNREACHABLE", {
    what: `cannot tell which stages ${name} has`,
    why,
    fix: "fix the connection or the login; without the registry: ./task render -- --cache-args",
  });
