import { measureContext } from "../../dagger/src/filesystem/take-snapshot.js";
import { type Decision, decide } from "../../dagger/src/pipeline/decide/decide.js";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import { command } from "../cli/command.js";
import { type World } from "../host/world.js";
import { expectedTime } from "../state/build-times.js";
import { storeOf } from "../state/store.js";
import { type CacheLookup, knowledgeOf } from "../../dagger/src/build/knowledge.js";
import { remoteUseOf } from "../remote/remote.js";
import { lazyRemote, warnOnce } from "../remote/lazy-remote.js";
import { openImage, openProject, planOf, platformsOf, type Project, readBuildArgs, stageOf } from "../project/project.js";
import { planJson, planTable, type PlanView } from "../../dagger/src/pipeline/explain/plan-text.js";
import { buildArgFlag, imageFlag, jsonFlag, platformFlag, registryFlag, remoteFlag } from "../cli/flags.js";

/** As terraform's -detailed-exitcode: 0 nothing to do, 2 something. */
const somethingToDo = 2;

export const plan = command({
  name: "plan",
  about: "Show the four stages with their keys, and what would be built again and why",
  more: "builds nothing and needs no engine",
  flags: {
    image: imageFlag,
    platform: platformFlag,
    "build-arg": buildArgFlag,
    remote: remoteFlag,
    json: jsonFlag,
    check: { type: "boolean", about: "exit 2 when any stage would be made again" },
    allow: { type: "string", about: "with --check: stages that may be made again, with commas, such as application,runtime" },
    registry: registryFlag,
  },
  async run(flags, world) {
    const allowed = flags.allow?.split(",").map((word) => stageOf(word.trim())) ?? [];
    const project = await openProject(world);
    const open = await openImage(project, flags.image);
    const context = measureContext(open.folder, open.ignore, { roots: open.wanted.roots, entries: open.snapshot.entries });
    const use = remoteUseOf(flags.remote);
    const views: PlanView[] = [];
    const buildArgs = readBuildArgs(flags["build-arg"]);
    const plans = platformsOf(open.image, flags.platform).map((platform) => planOf(project, open, platform, buildArgs));
    const cache = lazyRemote(use, project.state, plans[0]!, world);
    const lookup: CacheLookup = cache === null ? null : { cache, prefer: "local", warn: warnOnce(world) };
    for (const one of plans) {
      const { platform } = one;
      const decisions = decide(one, await knowledgeOf(storeOf(project.state), one, lookup), false);
      const executed = decisions.filter(({ action }) => action === "execute").map(({ stage }) => stage.stage);
      const engine = executed.length === 0 ? null : await engineFor(project, world);
      views.push({ plan: one, decisions, engine, expected: expectedTime(project.state, one.image, platform, executed) });
    }
    world.stdout(flags.json ? planJson(views) : planTable(views, open.snapshot, context));
    const refused = (decision: Decision) => decision.action !== "reuse" && !allowed.includes(decision.stage.stage);
    return flags.check && views.some(({ decisions }) => decisions.some(refused)) ? somethingToDo : 0;
  },
});

/** Which engine a build would take. That there is none is for the build to fail on: a plan is made without. */
const engineFor = async ({ state }: Project, { env }: World): Promise<string> => {
  const { chooseEngine } = await import("../engines/choose-engine.js");
  try {
    const { engine } = await chooseEngine(env, "auto", state, () => undefined);
    return `${engine.name} (${engine.address})`;
  } catch (error) {
    if (error instanceof FactoryError) return `an engine, and there is none here`;
    throw error;
  }
};
