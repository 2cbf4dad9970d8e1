import { existsSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { FactoryError } from "../../dagger/src/pipeline/error.js";
import { baseContextOf } from "../../dagger/src/pipeline/dockerfile.js";
import { baseKeyOf } from "../../dagger/src/pipeline/key.js";
import { renderedFiles } from "../../dagger/src/pipeline/rendered-files.js";
import { suggestion } from "../../dagger/src/pipeline/suggest.js";
import { command } from "../command.js";
import { replaceFile } from "../io/replace-file.js";
import { findStage } from "../io/records.js";
import { openImage, openProject, type Project, planOf, platformsOf } from "../project.js";
import { imageFlag, platformFlag } from "./flags.js";

export const render = command({
  name: "render",
  about: "Write the Dockerfile of each image to builder/, for docker, buildah and podman",
  flags: {
    image: { ...imageFlag, about: "only this image; all when absent" },
    platform: { ...platformFlag, about: "platforms of the file; all of the image's when absent" },
    check: { type: "boolean", about: "write nothing; exit 2 when a file is not current" },
    stdout: { type: "boolean", about: "print the Dockerfile of one image" },
    "cache-args": { type: "boolean", about: "print the --build-context arguments that replace stages kept on this machine" },
    builder: { type: "string", about: "whose arguments: docker, or buildah (podman's too)", default: "docker" },
  },
  async run(flags, world) {
    const project = await openProject(world);
    const names = flags.image === undefined ? Object.keys(project.spec.images) : [flags.image];
    if (flags["cache-args"]) {
      const contextOf = contextsOf[builderOf(flags.builder)];
      for (const name of names.slice(0, 1)) {
        const kept = await keptStages(project, name, flags.platform);
        const contexts = kept.map((one) => contextOf(project.state.layout, one));
        world.stdout(`${contexts.map(({ argument }) => argument).join(" \\\n  ")}\n`);
        const before = contexts.flatMap(({ first }) => first ?? []);
        if (before.length > 0)
          world.stderr(`first bring them into the storage of podman and buildah:\n  ${before.join("\n  ")}\n`);
      }
      return 0;
    }
    const files = (await Promise.all(names.map((name) => rendered(project, name, flags.platform ?? "all")))).flat();
    if (flags.stdout) {
      world.stdout(files[0]!.text);
      return 0;
    }
    const outdated = files.filter(({ path, text }) => !existsSync(path) || readFileSync(path, "utf8") !== text);
    for (const { path, text } of outdated) {
      if (!flags.check) replaceFile(path, text);
      world.stdout(`${flags.check ? "not current: " : ""}${relative(project.root, path)}\n`);
    }
    if (outdated.length === 0) world.stderr("every rendered file is current\n");
    return flags.check && outdated.length > 0 ? 2 : 0;
  },
});

const rendered = async (project: Project, name: string, platform: string): Promise<{ path: string; text: string }[]> => {
  const open = await openImage(project, name);
  const plans = platformsOf(open.image, platform).map((one) => planOf(project, open, one, {}));
  return renderedFiles(project.spec, name, plans, open.wanted).map(({ path, text }) => ({
    path: join(project.root, path),
    text,
  }));
};

/** A kept image, the name in the Dockerfile that it stands for, and its name in the layout's index. */
type Kept = { stands: string; name: string; key: string; digest: string };
type Context = { argument: string; first?: string };

/**
 * How a builder is told of an image in an OCI layout. buildah makes a repository's name of a layout's path, which takes no capitals and no
 * `.factory`: for it the image goes through its own storage.
 */
const contextsOf = {
  docker: (layout: string, { stands, digest }: Kept): Context => ({
    argument: `--build-context ${stands}=oci-layout://${layout}@${digest}`,
  }),
  buildah: (layout: string, { stands, name, key }: Kept): Context => {
    const image = `localhost/image-factory/${stands}:${key.slice(0, 12)}`;
    return {
      argument: `--build-context ${stands}=docker-image://${image}`,
      first: `skopeo copy oci:${layout}:${name} containers-storage:${image}`,
    };
  },
};

const builderOf = (asked: string): keyof typeof contextsOf => {
  if (asked === "docker" || asked === "buildah") return asked;
  const known = Object.keys(contextsOf);
  throw new FactoryError("USAGE", {
    what: `no builder ${asked}`,
    why: `builders: ${known.join(", ")}`,
    fix: suggestion(asked, known),
  });
};

/** What replaces the stages that are there already: a builder then starts from them and runs nothing of theirs. */
const keptStages = async (project: Project, name: string, platform: string | undefined): Promise<Kept[]> => {
  const open = await openImage(project, name);
  const plan = planOf(project, open, platformsOf(open.image, platform)[0]!, {});
  // A replaced stage is never run, and neither is what only it stands on.
  const stages = plan.stages.flatMap(({ stage, key, kind }): Kept[] => {
    const kept = kind === "executed" ? findStage(project.state, key) : null;
    return kept === null ? [] : [{ stands: stage, name: `${stage}-${key}`, key, digest: kept.digest }];
  });
  // A builder looks the base up even where nothing of it is used.
  const base = plan.base.kind === "bootstrap" ? findStage(project.state, baseKeyOf(plan.base, plan.platform, plan.epoch)) : null;
  const bases =
    base === null ? [] : [{ stands: baseContextOf(plan), name: `base-${base.key}`, key: base.key, digest: base.digest }];
  const all = [...bases, ...stages];
  if (all.length > 0) return all;
  throw new FactoryError("INPUT_MISSING", {
    what: "no stage of this plan is kept here",
    why: `looked in ${project.state.root}`,
    fix: `./task build IMAGE=${name} STAGE=dependencies`,
  });
};
