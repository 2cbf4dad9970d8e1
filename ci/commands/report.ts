import { type ImageReport, reportOf } from "../../dagger/src/pipeline/report/image-report.js";
import { imageReportText } from "../../dagger/src/pipeline/report/report-text.js";
import { command } from "../cli/command.js";
import { buildCommand, openImage, openProject, planOf, platformsOf, readBuildArgs } from "../project/project.js";
import { storeOf } from "../state/store.js";
import { remoteUseOf } from "../remote/remote.js";
import { lazyRemote } from "../remote/lazy-remote.js";
import { stageContents } from "../../dagger/src/build/stage-contents.js";
import { buildArgFlag, imageFlag, jsonFlag, platformFlag, registryFlag, remoteFlag } from "../cli/flags.js";

/** How many folders, files and copies a person is shown; programs get more. */
const top = { text: 10, json: 1000 };

export const report = command({
  name: "report",
  about: "Show what the image consists of: sizes by stage, folder and file, and its packages",
  more: "no layer is read or fetched for it",
  flags: {
    image: imageFlag,
    platform: platformFlag,
    "build-arg": buildArgFlag,
    remote: remoteFlag,
    registry: registryFlag,
    json: jsonFlag,
  },
  async run({ image, platform, "build-arg": words, remote, json }, world) {
    const use = remoteUseOf(remote);
    const project = await openProject(world);
    const open = await openImage(project, image);
    const reports: ImageReport[] = [];
    for (const one of platformsOf(open.image, platform)) {
      const plan = planOf(project, open, one, readBuildArgs(words));
      const cache = lazyRemote(use, project.state, plan, world);
      const contents = await stageContents(storeOf(project.state), open.snapshot, plan, cache, buildCommand(plan));
      reports.push(reportOf({ image: plan.image, platform: one }, contents, json ? top.json : top.text));
    }
    world.stdout(
      json
        ? `${JSON.stringify({ format: 1, reports }, null, 2)}\n`
        : reports.map((one) => imageReportText(one, "-- --json")).join("\n"),
    );
    return 0;
  },
});
