import { measureContext } from "../../dagger/src/facts.js";
import { decide } from "../../dagger/src/pipeline/decide.js";
import { compileIgnore } from "../../dagger/src/pipeline/select.js";
import { command } from "../command.js";
import { knownStages } from "../known.js";
import { openImage, openProject, planOf, platformsOf, readBuildArgs } from "../project.js";
import { planJson, planTable } from "../view/plan.js";
import { buildArgFlag, imageFlag, jsonFlag, platformFlag } from "./flags.js";

export const plan = command({
  name: "plan",
  about: "Show the four stages with their keys, what would be executed and why; builds nothing and needs no engine",
  flags: {
    image: imageFlag,
    platform: platformFlag,
    "build-arg": buildArgFlag,
    json: jsonFlag,
    check: { type: "boolean", about: "exit 2 when any stage would be executed" },
  },
  async run(flags, world) {
    const project = openProject(world);
    const open = await openImage(project, flags.image);
    const context = measureContext(open.folder, compileIgnore(open.wanted.ignore));
    const plans = platformsOf(open.image, flags.platform).map((platform) =>
      planOf(project, open, platform, readBuildArgs(flags["build-arg"])),
    );
    const views = plans.map((one) => ({ plan: one, decisions: decide(one, knownStages(project.state, one), false) }));
    world.stdout(flags.json ? planJson(views) : planTable(views, open.facts, context));
    const executes = views.some(({ decisions }) => decisions.some(({ action }) => action === "execute"));
    return flags.check && executes ? 2 : 0;
  },
});
