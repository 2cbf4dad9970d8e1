import { answers } from "../../dagger/src/pipeline/common/error.js";
import { command } from "../cli/command.js";
import { usingState } from "../state/state-lock.js";
import { findLocalStage } from "../build/local-stage.js";
import { testImage, type TimedResult } from "../image-test/test-image.js";
import { imageTestHead, imageTestLine, imageTestTail } from "../view/image-test.js";
import { buildArgFlag, imageFlag, jsonFlag, platformFlag, registryFlag, remoteFlag } from "../cli/flags.js";

export const imageTest = command({
  name: "test-image",
  about: "Test a built image against its plan, inside it and as its user",
  more: "exit 0: passes, 2: fails, 3: not tested",
  flags: {
    image: imageFlag,
    platform: platformFlag,
    "build-arg": buildArgFlag,
    remote: remoteFlag,
    json: jsonFlag,
    registry: registryFlag,
  },
  async run({ image, platform, "build-arg": buildArgs, remote, json }, world) {
    const { project, plan, record } = await findLocalStage(world, { image, stage: "runtime", platform, buildArgs, remote });
    if (!json) world.stdout(imageTestHead({ image: plan.image, platform: plan.platform, digest: record.digest }));
    const told = (result: TimedResult) => {
      if (!json) world.stdout(imageTestLine(result));
    };
    const test = await usingState(project.state, world, () => testImage(project.state, plan, record.digest, world, told));
    world.stdout(json ? `${JSON.stringify(test, null, 2)}\n` : imageTestTail(test));
    return { pass: answers.yes, fail: answers.no, "not-tested": answers.unknown }[test.verdict];
  },
});
