import { type Decision, decide } from "../../dagger/src/pipeline/decide/decide.js";
import { decideSince, explainStages, ingredientsOf, type Was } from "../../dagger/src/pipeline/explain/stage-text.js";
import type { Plan } from "../../dagger/src/pipeline/plan/types.js";
import type { StageName } from "../../dagger/src/pipeline/common/stage.js";
import { atCommit, type PlaceThen } from "../project/at-commit.js";
import { command } from "../cli/command.js";
import { findIngredients, lastKeys } from "../state/records.js";
import { knowledgeOf } from "../../dagger/src/build/knowledge.js";
import { storeOf } from "../state/store.js";
import { openImage, openProject, planOf, platformsOf, type Project, readBuildArgs, stageOf } from "../project/project.js";
import { buildArgFlag, imageFlag, jsonFlag, platformFlag, stageFlag } from "../cli/flags.js";

export const explain = command({
  name: "explain",
  about: "Show what decides a stage, beside what decided it at the last build or at a commit",
  more: "builds nothing",
  positional: ["stage"],
  flags: {
    image: imageFlag,
    stage: { ...stageFlag, about: "only this stage; all four when absent" },
    platform: platformFlag,
    "build-arg": buildArgFlag,
    since: { type: "string", about: "compare with this commit, tag or branch instead of the last build" },
    all: { type: "boolean", about: "show what did not change too" },
    json: jsonFlag,
  },
  async run(flags, world, [named]) {
    const project = await openProject(world);
    const open = await openImage(project, flags.image);
    const platform = platformsOf(open.image, flags.platform)[0]!;
    const buildArgs = readBuildArgs(flags["build-arg"]);
    const plan = planOf(project, open, platform, buildArgs);
    const asked = named ?? flags.stage;
    const only = asked === undefined ? null : stageOf(asked);
    const was =
      flags.since === undefined
        ? await lastBuilt(project, plan)
        : await atCommit(project, world, flags.since, (old) => planAt(old, open.name, platform, buildArgs));
    const decisions =
      flags.since === undefined
        ? decide(plan, await knowledgeOf(storeOf(project.state), plan, null), false)
        : decideSince(plan, was, { at: "commit" });
    const shown = decisions.filter(({ stage }) => only === null || stage.stage === only);
    world.stdout(
      flags.json
        ? `${JSON.stringify({ format: 1, image: plan.image, platform, stages: shown.map((one) => asJson(one, was)) }, null, 2)}\n`
        : explainStages(shown, was, { all: flags.all, more: "-- --all" }),
    );
    return 0;
  },
});

const lastBuilt = async ({ state }: Project, plan: Plan): Promise<Was> =>
  new Map(
    Object.entries(lastKeys(state, plan.image, plan.platform)).flatMap(([stage, key]) => {
      const found = findIngredients(state, key);
      return found === null ? [] : [[stage as StageName, found] as const];
    }),
  );

const planAt = async (
  place: PlaceThen,
  image: string,
  platform: Plan["platform"],
  buildArgs: Readonly<Record<string, string>>,
): Promise<Was> => {
  const project = await openProject(place);
  const open = await openImage(project, image);
  place.refuseUnknown(open);
  return ingredientsOf(planOf(project, open, platform, buildArgs));
};

const asJson = ({ stage, action, reasons }: Decision, was: Was) => ({
  stage: stage.stage,
  key: stage.key,
  action,
  reasons,
  was: was.get(stage.stage) ?? null,
  now: stage.ingredients,
});
