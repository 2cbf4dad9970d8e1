import { decide } from "../../dagger/src/pipeline/decide/decide.js";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import type { Plan } from "../../dagger/src/pipeline/plan/types.js";
import type { Platform } from "../../dagger/src/pipeline/common/stage.js";
import type { Before } from "../../dagger/src/pipeline/verify/judge.js";
import type { Subject } from "../../dagger/src/pipeline/verify/case.js";
import type { CaseResult } from "../../dagger/src/pipeline/verify/case-result.js";
import { subjectOf } from "../../dagger/src/verification/run-cases.js";
import { knowledgeOf } from "../../dagger/src/build/knowledge.js";
import { storeOf } from "../state/store.js";
import { type OpenImage, type planOf, platformsOf, type Project } from "../project/project.js";
import type { State } from "../state/state.js";
import { buildOnce, type Site } from "./builds.js";
import { type Scratch, shareKept } from "./scratch.js";

/** fast: plans, and one real code change. deep: what executes base-tools is built too. */
type Depth = "fast" | "usual" | "deep";

export type Wish = {
  image: string | undefined;
  platform: string | undefined;
  depth: Depth;
  /** Cases by id; all when null. */
  only: readonly string[] | null;
  engine: string;
  verbose: boolean;
  /** The planner whose keys are put to the proof. */
  planner: typeof planOf;
  /** Gets each case as it ends. */
  told: (result: CaseResult) => void;
};

/** What every case starts from and is put back to. */
export type Bench = {
  scratch: Scratch;
  wish: Wish;
  platform: Platform;
  /** Of the copy. */
  state: State;
  subject: Subject;
  before: Before;
  /** The plan of the checkout that was copied. */
  atHome: Plan;
  /** Why nothing can be built; null where it can. */
  plansOnly: string | null;
};

/**
 * Plans and, as far as the depth asks for it, builds the project of a scratch copy as it is.
 * @throws FactoryError as planImage and buildImage
 */
export const openBench = async (scratch: Scratch, wish: Wish): Promise<Bench> => {
  const { project, open } = await scratch.reopen();
  const [platform, ...more] = platformsOf(open.image, wish.platform);
  if (platform === undefined || more.length > 0) throw onePlatform();
  const plan = wish.planner(project, open, platform, {});
  const atHome = wish.planner(scratch.home.project, scratch.home.open, platform, {});
  await shareKept(scratch.home.project.state, project.state, plan, scratch.world);
  const subject = subjectOf(scratch.root, project, open, plan);
  const missing = decide(plan, await knowledgeOf(storeOf(project.state), plan, null), false)
    .filter(({ action }) => action === "execute")
    .map(({ stage }) => stage.stage);
  if (wish.depth === "fast" && missing.length > 0) {
    const plansOnly = `${missing.join(" and ")} ${missing.length === 1 ? "is" : "are"} not kept here: ./task build IMAGE=${open.name}`;
    return { scratch, wish, platform, state: project.state, subject, before: { plan, stages: null }, atHome, plansOnly };
  }
  if (missing.length > 0)
    scratch.world.stderr(`building ${missing.join(" and ")} for this proof alone: not kept here (./task build keeps them)\n`);
  const site = siteOf(scratch, wish, { project, open }, missing.length > 0);
  const { stages } = await buildOnce(site, plan, wish.verbose);
  return { scratch, wish, platform, state: project.state, subject, before: { plan, stages }, atHome, plansOnly: null };
};

const onePlatform = () =>
  new FactoryError("USAGE", {
    what: "a proof is of one platform",
    why: "what is proved of one holds for the keys of all; bytes are made for one at a time",
    fix: "./task verify:cache PLATFORM=linux/amd64",
  });

/** Quiet where a person waits for a verdict and not for the build. */
export const siteOf = (
  { world }: Scratch,
  { engine, verbose }: Wish,
  opened: { project: Project; open: OpenImage },
  loud: boolean,
): Site => ({
  ...opened,
  engine,
  world: loud || verbose ? world : { ...world, stderr: () => undefined, screen: { write: () => true }, live: false },
});
