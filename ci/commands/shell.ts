import { command } from "../command.js";
import { engineOf } from "../engine-choice.js";
import { runInStage } from "../engines/shell.js";
import { jobFor } from "../execute.js";
import { keptStage } from "../kept.js";
import { buildArgFlag, engineFlag, imageFlag, platformFlag, remoteFlag, stageFlag } from "./flags.js";

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
    remote: remoteFlag,
  },
  async run(flags, world) {
    const wish = {
      image: flags.image,
      stage: flags.stage,
      platform: flags.platform,
      buildArgs: flags["build-arg"],
      remote: flags.remote,
    };
    const { project, open, plan, stage, record: kept } = await keptStage(world, wish);
    const interactive = flags.command === undefined;
    const engine = engineOf(project, world, flags.engine, "dockerfiles");
    try {
      const at = { layout: project.state.layout, digest: kept.digest };
      // The stage as it is kept, under its own name: nothing of it is executed again.
      const { planned: _, ...job } = await jobFor({ project, open, world }, plan, stage, {
        parent: null,
        base: null,
        secrets: [],
        noCache: false,
      });
      const look = { ...job, dockerfile: `FROM kept AS ${stage.stage}\n`, images: { kept: at } };
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
