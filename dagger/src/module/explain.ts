import type { Client, Directory } from "@dagger.io/dagger";
import { type RequestArguments, folderIn, requireSinglePlatform, openRequest } from "./request.js";
import { readBuildArgs, stageOf } from "../pipeline/config/arguments.js";
import { decide } from "../pipeline/decide/decide.js";
import { FactoryError } from "../pipeline/common/error.js";
import { decideSince, explainStages, ingredientsOf, type Was } from "../pipeline/explain/stage-text.js";
import { planImage } from "../pipeline/plan/plan.js";
import { type Plan } from "../pipeline/plan/types.js";
import { nothingKnown } from "./plan.js";
import { openImage, openSource, directoryReader } from "./source.js";

/** What is to be explained. */
type Question = { stage: string | undefined; since: Directory | undefined; all: boolean };

/**
 * What decides each stage, beside what decided it in another state of the project; a function keeps nothing that it could compare with.
 * @throws FactoryError of openRequest; of the other state its message begins with --since
 */
export const explainCall = async (client: Client, args: RequestArguments, question: Question): Promise<string> => {
  // An argument that was not given may arrive as null.
  const [name, since] = [question.stage ?? null, question.since ?? null];
  const wanted = name === null ? null : stageOf(name);
  const call = await openRequest(client, args);
  const plan = requireSinglePlatform(call.plans, "an explanation");
  const was: Was = since === null ? new Map() : await stateOf(since, plan, args, folderIn(call.scratch, "since"));
  const decisions = since === null ? decide(plan, nothingKnown, false) : decideSince(plan, was, { at: "folder" });
  const shown = decisions.filter(({ stage }) => wanted === null || stage.stage === wanted);
  return explainStages(shown, was, { all: question.all, more: "--all" });
};

/** The ingredients of the same image in another state of its project. */
const stateOf = async (
  since: Directory,
  { image, platform }: Plan,
  { buildArgs }: Pick<RequestArguments, "buildArgs">,
  scratch: string,
): Promise<Was> => {
  try {
    const source = await openSource(directoryReader(since, "--since DIR"), folderIn(scratch, "source"));
    const { snapshot } = await openImage(source, image, folderIn(scratch, "image"));
    const { spec, lock } = source;
    return ingredientsOf(planImage({ spec, lock, image, snapshot, platform, buildArgs: readBuildArgs(buildArgs) }));
  } catch (error) {
    if (!(error instanceof FactoryError)) throw error;
    const { what, ...rest } = error.explanation;
    throw new FactoryError(error.code, { what: `--since: ${what}`, ...rest, cause: error });
  }
};
