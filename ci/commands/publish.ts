import { relative } from "node:path";
import { checkTags } from "../../dagger/src/distribution/tags.js";
import { command } from "../cli/command.js";
import { openImage, openProject, planOf, platformsOf, readBuildArgs } from "../project/project.js";
import { usingState } from "../state/state-lock.js";
import { requireWritable } from "../state/state.js";
import { publishImage } from "../publish/publish-image.js";
import { openRemote } from "../remote/open-remote.js";
import { testPolicyOf } from "../publish/test-gate.js";
import { buildSummary } from "../view/build.js";
import { publishSummary } from "../view/publish.js";
import {
  buildArgFlag,
  engineFlag,
  imageFlag,
  jsonFlag,
  moveFlag,
  moveOf,
  platformFlag,
  registryFlag,
  secretFlag,
} from "../cli/flags.js";

export const publish = command({
  name: "publish",
  about: "Build what is missing, push the image by digest, then move tags",
  more: "where the image is published already, only tags move",
  flags: {
    image: imageFlag,
    platform: { ...platformFlag, about: "linux/amd64, linux/arm64, several with commas; all of images.yaml when absent" },
    "build-arg": buildArgFlag,
    tag: { type: "string", many: true, about: "a tag to move to the image; several with blanks (TAGS)" },
    move: moveFlag,
    refresh: { type: "boolean", about: "look behind what is published: ask for every blob, push what is missing" },
    test: {
      type: "string",
      about:
        "before tags move: off, when-possible (where its bytes are here), required (they are fetched); as in images.yaml when absent",
    },
    engine: engineFlag,
    secret: secretFlag,
    json: jsonFlag,
    verbose: { type: "boolean", about: "print what every step says" },
    registry: registryFlag,
  },
  async run({ image, platform, tag, move, refresh, test, engine, verbose, json, "build-arg": words }, world) {
    const started = world.now();
    const tags = [...new Set(tag)];
    checkTags(tags);
    const project = await openProject(world);
    requireWritable(project.state);
    const open = await openImage(project, image);
    // A tag is for whoever pulls it: all that images.yaml names, where nothing else is typed.
    const plans = platformsOf(open.image, platform ?? "all").map((one) => planOf(project, open, one, readBuildArgs(words)));
    const remote = openRemote(project.state, plans[0]!, world, { access: "push", unanswered: "fail" });
    const request = {
      plans,
      tags,
      move: moveOf(move),
      refresh,
      test: test === undefined ? open.image.test : testPolicyOf(test),
      engine,
      verbose,
    };
    const { made, ...published } = await usingState(project.state, world, () =>
      publishImage(project, open, world, remote, request),
    );
    if (made !== null && !json) world.stdout(buildSummary(made.record, { log: relative(world.cwd, made.log), wrote: null }));
    const done = {
      format: 1,
      ...published,
      published: made === null ? "before" : "now",
      seconds: (world.now() - started) / 1000,
      traffic: remote.traffic,
    } as const;
    world.stdout(json ? `${JSON.stringify({ ...done, record: made?.record ?? null }, null, 2)}\n` : publishSummary(done));
    return 0;
  },
});
