import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import { keepOf } from "../../dagger/src/pipeline/config/arguments.js";
import { suggestion } from "../../dagger/src/pipeline/common/suggest.js";
import { command } from "../cli/command.js";
import { enginePrune, engineStart, engineStatus, engineStop } from "../engines/embedded/lease.js";
import { chooseEngine } from "../engines/choose-engine.js";
import { requireWritable } from "../state/state.js";
import { openProject } from "../project/project.js";

const verbs = ["status", "start", "stop", "prune"] as const;

export const engine = command({
  name: "engine",
  about: "Show, start and stop the engine that executes stages, and empty its cache",
  positional: ["status|start|stop|prune"],
  flags: { keep: { type: "string", about: "with prune: how many GB of cache to keep", default: "0" } },
  async run({ keep }, world, [verb = "status"]) {
    const gigabytes = keepOf(keep, "gigabytes", "./task engine KEEP=20 -- prune");
    const project = await openProject(world);
    if (verb !== "status") requireWritable(project.state);
    const report = (line: string) => world.stderr(`engine: ${line}\n`);
    const setup = { state: project.state, env: world.env, report };
    switch (verbs.find((known) => known === verb)) {
      case "status": {
        const choice = await chooseEngine(world.env, "auto", project.state, report).then(
          ({ because }) => because,
          (error: unknown) =>
            error instanceof FactoryError ? `${error.explanation.what}\n${error.explanation.why}` : Promise.reject(error),
        );
        world.stdout(`${choice}\n${JSON.stringify(await engineStatus(setup), null, 2)}\n`);
        return 0;
      }
      case "start":
        world.stdout(`${JSON.stringify(await engineStart(setup, world.signal), null, 2)}\n`);
        return 0;
      case "stop":
        world.stdout(`${await engineStop(setup)}\n`);
        return 0;
      case "prune":
        world.stdout(`${await enginePrune(setup, gigabytes * 1e9, world.signal)}\n`);
        return 0;
      default:
        throw new FactoryError("USAGE", {
          what: `engine: no verb ${verb}`,
          why: `verbs: ${verbs.join(", ")}`,
          fix: suggestion(verb, verbs),
        });
    }
  },
});
