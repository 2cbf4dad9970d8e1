import { relative, resolve } from "node:path";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import { command } from "../cli/command.js";
import { lastRecord } from "../../dagger/src/build/build-stages.js";
import { ensureLocal } from "../../dagger/src/build/ensure-local.js";
import { rebuildDamaged } from "../../dagger/src/build/rebuild-damaged.js";
import { usingState } from "../state/state-lock.js";
import { requireWritable } from "../state/state.js";
import { storeOf } from "../state/store.js";
import { buildImage } from "../build/build-image.js";
import { remoteUseOf } from "../remote/remote.js";
import { lazyRemote } from "../remote/lazy-remote.js";
import { openImage, openProject, planOf, platformsOf, readBuildArgs, stageOf } from "../project/project.js";
import { buildSummary } from "../view/build.js";
import {
  buildArgFlag,
  engineFlag,
  imageFlag,
  jsonFlag,
  platformFlag,
  registryFlag,
  remoteFlag,
  secretFlag,
  stageFlag,
} from "../cli/flags.js";

export const build = command({
  name: "build",
  about: "Build every stage that is missing and print the digest of the image",
  flags: {
    image: imageFlag,
    stage: stageFlag,
    platform: platformFlag,
    "build-arg": buildArgFlag,
    "no-cache": { type: "boolean", about: "execute the stages although they are kept, and compare" },
    refresh: { type: "boolean", about: "with --no-cache: keep the new result" },
    version: { type: "string", about: "the tag that an output carries; never part of the digest", default: "dev" },
    output: { type: "string", about: "write the image: oci:DIR, tar:FILE or docker:FILE" },
    engine: engineFlag,
    secret: secretFlag,
    remote: remoteFlag,
    json: jsonFlag,
    verbose: { type: "boolean", about: "print what every step says" },
    registry: registryFlag,
  },
  async run(flags, world) {
    const output = flags.output === undefined ? null : (await import("../outputs/index.js")).parseOutput(flags.output);
    if (flags.refresh && !flags["no-cache"]) throw refreshAlone();
    // Loaded where it is needed: most builds write nothing out.
    if (output !== null) (await import("../../dagger/src/distribution/tags.js")).checkTags([flags.version]);
    const project = await openProject(world);
    requireWritable(project.state);
    const open = await openImage(project, flags.image);
    const upTo = stageOf(flags.stage);
    const buildArgs = readBuildArgs(flags["build-arg"]);
    const plans = platformsOf(open.image, flags.platform).map((platform) => planOf(project, open, platform, buildArgs));
    const rebuild = flags["no-cache"] ? (flags.refresh ? "replace" : "compare") : "no";
    const { engine, verbose } = flags;
    const use = remoteUseOf(flags.remote);
    const cache = lazyRemote(use, project.state, plans[0]!, world);
    const warn = (text: string) => world.stderr(`note: ${text}\n`);
    let toOutput = false;
    const { record, log } = await usingState(project.state, world, async () => {
      const made = await rebuildDamaged(storeOf(project.state), plans, warn, async (untrusted) => {
        const request = { plans, upTo, rebuild, engine, verbose, cache, prefer: "local", untrusted } as const;
        const made = await buildImage(project, open, world, request);
        if (output !== null) for (const { done } of made.platforms) await ensureLocal(project.state, cache, lastRecord(done));
        return made;
      });
      if (output !== null) {
        const target = resolve(project.root, output.target);
        const name = `${plans[0]!.repository}:${flags.version}`;
        const { layout, root: state, cache } = project.state;
        toOutput = (await import("../outputs/place.js")).isStandardOutput(target);
        await output.output.write({ layout, root: made.root, name, kept: [state, cache] }, target, world.signal);
        world.stderr(`wrote ${relative(world.cwd, target) || "."}\n`);
      }
      return made;
    });
    const about = { log: relative(world.cwd, log), wrote: flags.output ?? null };
    // Nothing follows an image that goes to standard output.
    const tell = toOutput ? world.stderr : world.stdout;
    tell(flags.json ? `${JSON.stringify(record, null, 2)}\n` : buildSummary(record, about));
    return 0;
  },
});

const refreshAlone = (): FactoryError =>
  new FactoryError("USAGE", {
    what: "REFRESH=1 alone does nothing",
    why: "it keeps the result of stages that are made again, and NO_CACHE=1 makes them again",
    fix: "NO_CACHE=1 REFRESH=1",
  });
