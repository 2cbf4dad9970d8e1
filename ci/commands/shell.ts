import { command } from "../cli/command.js";
import { runInRoot } from "../runc/container.js";
import { openRoot } from "../runc/rootfs.js";
import { usingState } from "../state/state-lock.js";
import { findLocalStage } from "../build/local-stage.js";
import { buildArgFlag, imageFlag, platformFlag, registryFlag, remoteFlag, stageFlag } from "../cli/flags.js";

export const shell = command({
  name: "shell",
  about: "Open a shell in a stage that is built",
  more: "as root and with the host's network; what is changed there is lost",
  flags: {
    image: imageFlag,
    stage: { ...stageFlag, about: "the stage to look into; runtime when absent" },
    platform: platformFlag,
    "build-arg": buildArgFlag,
    command: { type: "string", about: "run this instead of a shell, and exit with its code" },
    remote: remoteFlag,
    registry: registryFlag,
  },
  async run({ image, stage, platform, "build-arg": buildArgs, command: text, remote }, world) {
    const { project, record } = await findLocalStage(world, { image, stage, platform, buildArgs, remote });
    const report = (line: string) => world.stderr(`${line}\n`);
    const around = { state: project.state, env: world.env, signal: world.signal, report };
    return usingState(project.state, world, async () => {
      const root = await openRoot(record.digest, around);
      try {
        const { Env, WorkingDir } = root.config.config ?? {};
        const interactive = text === undefined;
        const { exitCode } = await runInRoot(
          root,
          {
            command: ["/bin/sh", "-c", text ?? "exec $(command -v bash || command -v sh)"],
            user: { uid: 0, gid: 0 },
            env: [...(Env ?? []), ...(interactive ? [`TERM=${world.env["TERM"] ?? "xterm"}`] : [])],
            workdir: WorkingDir || "/",
            network: "host",
            needs: "nothing",
            streams: interactive ? "terminal" : "through",
          },
          around,
        );
        return exitCode;
      } finally {
        root.close();
      }
    });
  },
});
