import { relative } from "node:path";
import type { BuildRecord } from "../../dagger/src/pipeline/record.js";
import { checkTags, findPublished, keyTag, moveTags } from "../../dagger/src/tags.js";
import { command } from "../command.js";
import { makeImage } from "../make-image.js";
import { openImage, openProject, planOf, platformsOf, readBuildArgs } from "../project.js";
import { openRemote } from "../open-remote.js";
import { pushMade, requirePushRight } from "../publish.js";
import { buildSummary } from "../view/build.js";
import { publishSummary } from "../view/publish.js";
import { buildArgFlag, engineFlag, imageFlag, jsonFlag, platformFlag } from "./flags.js";

export const publish = command({
  name: "publish",
  about: "Build what is missing, push the image by digest, then move tags; where the image is published already, only tags move",
  flags: {
    image: imageFlag,
    platform: platformFlag,
    "build-arg": buildArgFlag,
    tag: { type: "string", many: true, about: "a tag to move to the image; several with blanks (TAGS)" },
    engine: engineFlag,
    json: jsonFlag,
    verbose: { type: "boolean", about: "print what every step says" },
  },
  async run({ image, platform, tag: tags, engine, verbose, json, "build-arg": words }, world) {
    const started = world.now();
    checkTags(tags);
    const project = await openProject(world);
    const open = await openImage(project, image);
    const plans = platformsOf(open.image, platform).map((one) => planOf(project, open, one, readBuildArgs(words)));
    const remote = openRemote(project.state, plans[0]!, world, "push");
    const key = keyTag(plans);
    const there = await findPublished(remote.home, key);
    let root = there?.root;
    let bytes = there?.bytes;
    let record: BuildRecord | null = null;
    if (root === undefined || bytes === undefined) {
      // Before anything runs: a build that ends at a refused push was for nothing.
      await requirePushRight(remote);
      const request = { plans, upTo: "runtime", fresh: "no", engine, verbose, remote: { remote, unanswered: "fail" } } as const;
      const made = await makeImage(project, open, world, request);
      bytes = await pushMade(project.state, remote, made);
      root = made.root;
      record = made.record;
      if (!json) world.stdout(buildSummary(record, { log: relative(world.cwd, made.log), wrote: null }));
    }
    const moved = await moveTags(remote.home, there === null ? [...tags, key] : tags, root, bytes);
    const done = {
      format: 1,
      name: remote.home.name,
      digest: root.digest,
      tags: tags.map((name) => ({ name, moved: moved.includes(name) })),
      published: there === null ? "now" : "before",
      seconds: (world.now() - started) / 1000,
      traffic: remote.traffic,
    } as const;
    world.stdout(json ? `${JSON.stringify({ ...done, record }, null, 2)}\n` : publishSummary(done));
    return 0;
  },
});
