import { FactoryError } from "../../dagger/src/pipeline/error.js";
import { command } from "../command.js";
import { engineOf } from "../engine-choice.js";
import { runInStage } from "../engines/shell.js";
import { jobFor } from "../execute.js";
import { findStage } from "../io/records.js";
import { openImage, openProject, planOf, platformsOf, readBuildArgs, stageOf } from "../project.js";
import { buildArgFlag, engineFlag, imageFlag, platformFlag, stageFlag } from "./flags.js";

export const shell = command({
  name: "shell",
  about: "Open a shell in a stage that is kept, as root and with the host's network; what is changed there is lost",
  flags: {
    image: imageFlag,
    stage: { ...stageFlag, about: "the stage to look into; runtime when absent" },
    platform: platformFlag,
    "build-arg": buildArgFlag,
    command: { type: "string", about: "run this instead of a shell, and exit with its code" },
    engine: engineFlag,
  },
  async run(flags, world) {
    const project = await openProject(world);
    const open = await openImage(project, flags.image);
    const plan = planOf(project, open, platformsOf(open.image, flags.platform)[0]!, readBuildArgs(flags["build-arg"]));
    const wanted = stageOf(flags.stage);
    const stage = plan.stages.find((one) => one.stage === wanted)!;
    const kept = findStage(project.state, stage.key);
    if (kept === null) {
      throw new FactoryError("INPUT_MISSING", {
        what: `${wanted} of ${open.name} is not built`,
        why: `nothing is kept under its key ${stage.key.slice(0, 12)}`,
        fix: `./task build IMAGE=${open.name} STAGE=${wanted}`,
      });
    }
    const interactive = flags.command === undefined;
    const engine = engineOf(project, world, flags.engine);
    try {
      const at = { layout: project.state.layout, digest: kept.digest };
      // The stage as it is kept, under its own name: nothing of it is executed again.
      const { planned: _, ...job } = await jobFor({ project, open, world }, plan, stage, {
        parent: null,
        base: null,
        secrets: [],
        noCache: false,
      });
      const look = { ...job, dockerfile: `FROM kept AS ${wanted}\n`, images: { kept: at } };
      const request = {
        command:
          flags.command === undefined
            ? ["/bin/sh", "-c", "exec $(command -v bash || command -v sh)"]
            : ["/bin/sh", "-c", flags.command],
        interactive,
        env: world.env,
        report: (line: string) => world.stderr(`${line}\n`),
      };
      const { exitCode, stdout, stderr } = await runInStage(await engine.get(), look, at, request, world.signal);
      world.stdout(stdout);
      world.stderr(stderr);
      return exitCode;
    } finally {
      await engine.release();
    }
  },
});
