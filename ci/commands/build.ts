import { statSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { type Decision, decide } from "../../dagger/src/pipeline/decide.js";
import type { Plan } from "../../dagger/src/pipeline/plan.js";
import { stageNames } from "../../dagger/src/pipeline/stage.js";
import { command, type World } from "../command.js";
import { engineOf } from "../engine-choice.js";
import { carryOut, type Done } from "../execute.js";
import { blobPath, writeJson } from "../../dagger/src/layout.js";
import { type Descriptor, mediaTypes, platformParts } from "../../dagger/src/pipeline/oci.js";
import { nameInLayout } from "../io/oci-layout.js";
import { openRunLog, sweepRuns } from "../io/records.js";
import { knownStages } from "../known.js";
import { parseOutput } from "../outputs/index.js";
import { openImage, openProject, planOf, platformsOf, type Project, readBuildArgs, stageOf } from "../project.js";
import { noteText } from "../../dagger/src/pipeline/explain.js";
import { buildSummary } from "../view/build.js";
import { openLive, openPlain } from "../view/draw.js";
import { buildArgFlag, engineFlag, imageFlag, jsonFlag, platformFlag, stageFlag } from "./flags.js";

export const build = command({
  name: "build",
  about: "Make every stage exist and print the digest of the image",
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
    json: jsonFlag,
    verbose: { type: "boolean", about: "print what every step says" },
  },
  async run(flags, world) {
    const started = world.now();
    const output = flags.output === undefined ? null : parseOutput(flags.output);
    const project = openProject(world);
    const open = await openImage(project, flags.image);
    const upTo = stageOf(flags.stage);
    const buildArgs = readBuildArgs(flags["build-arg"]);
    const plans = platformsOf(open.image, flags.platform).map((platform) => planOf(project, open, platform, buildArgs));
    const fresh = flags["no-cache"] ? (flags.refresh ? "replace" : "compare") : "no";
    const work = plans.map((plan) => ({
      plan,
      decisions: wanted(decide(plan, knownStages(project.state, plan), fresh !== "no"), upTo),
    }));
    for (const note of plans[0]!.notes) world.stderr(`note: ${noteText(note)}\n`);

    const id = `${new Date(started).toISOString().replaceAll(/[:.]/g, "-")}-${open.name}`;
    const log = openRunLog(project.state, id);
    const display = (world.live ? openLive : openPlain)(world.screen, { colour: world.colour, verbose: flags.verbose });
    const engine = engineOf(project, world, flags.engine);
    const results: { plan: Plan; done: Done[] }[] = [];
    try {
      for (const { plan, decisions } of work) {
        const emit = (event: Parameters<typeof log.write>[0]) => {
          log.write(event);
          display.event(event);
        };
        results.push({ plan, done: await carryOut({ project, open, world, engine: engine.get, emit }, plan, decisions, fresh) });
      }
    } finally {
      display.close();
      await engine.release();
      sweepRuns(project.state, 50);
    }
    const root = await rootOf(project, results, flags.version, world);
    const record = recordOf(open.name, results, root, started, world.now());
    log.finish(record);
    if (output !== null) {
      const target = resolve(project.root, output.target);
      await output.output.write(
        { layout: project.state.layout, root, name: `${plans[0]!.repository}:${flags.version}` },
        target,
        world.signal,
      );
      world.stderr(`wrote ${relative(world.cwd, target) || "."}\n`);
    }
    world.stdout(
      flags.json
        ? `${JSON.stringify(record, null, 2)}\n`
        : buildSummary(record, { log: relative(world.cwd, join(log.folder, "events.jsonl")), wrote: flags.output ?? null }),
    );
    return 0;
  },
});

const wanted = (decisions: readonly Decision[], upTo: (typeof stageNames)[number]): Decision[] =>
  decisions.filter(({ stage }) => stageNames.indexOf(stage.stage) <= stageNames.indexOf(upTo));

/** The image's root: the manifest of the last stage, or an index where there are several platforms. */
const rootOf = async (
  { state }: Project,
  results: readonly { plan: Plan; done: readonly Done[] }[],
  version: string,
  world: World,
): Promise<Descriptor> => {
  const manifests = results.map(({ plan, done }): Descriptor => {
    const { digest } = done.at(-1)!.record;
    // Of the bytes as they are: an engine writes its JSON in its own way.
    const { size } = statSync(blobPath(state.layout, digest));
    return { mediaType: mediaTypes.manifest, digest, size, platform: platformParts(plan.platform) };
  });
  if (manifests.length === 1) return manifests[0]!;
  const index = await writeJson(state.layout, mediaTypes.index, { schemaVersion: 2, mediaType: mediaTypes.index, manifests });
  await nameInLayout(state.layout, `index-${results[0]!.plan.image}-${version}`, index, world.signal);
  return index;
};

/** What one build did; versioned, for programs. Sizes are of compressed layers, in bytes. */
export type BuildRecord = {
  format: 1;
  image: string;
  digest: string;
  seconds: number;
  platforms: readonly {
    platform: string;
    digest: string;
    stages: readonly {
      stage: string;
      key: string;
      action: string;
      seconds: number;
      bytes: number;
      layers: number;
      digest: string;
    }[];
  }[];
};

const recordOf = (
  image: string,
  results: readonly { plan: Plan; done: readonly Done[] }[],
  root: Descriptor,
  started: number,
  ended: number,
): BuildRecord => ({
  format: 1,
  image,
  digest: root.digest,
  seconds: (ended - started) / 1000,
  platforms: results.map(({ plan, done }) => ({
    platform: plan.platform,
    digest: done.at(-1)!.record.digest,
    stages: done.map(({ decision: { stage, action }, record, seconds, layers, compared }) => ({
      stage: stage.stage,
      key: stage.key,
      action: compared ? "compare" : action,
      seconds,
      bytes: layers.reduce((sum, { size }) => sum + size, 0),
      layers: layers.length,
      digest: record.digest,
    })),
  })),
});
