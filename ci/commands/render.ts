import { existsSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { FactoryError } from "../../dagger/src/pipeline/error.js";
import { baseContextOf } from "../../dagger/src/pipeline/dockerfile.js";
import { baseKeyOf } from "../../dagger/src/pipeline/key.js";
import { renderedFiles } from "../../dagger/src/pipeline/rendered-files.js";
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
  },
  async run(flags, world) {
    const project = await openProject(world);
    const names = flags.image === undefined ? Object.keys(project.spec.images) : [flags.image];
    if (flags["cache-args"]) {
      for (const name of names.slice(0, 1)) world.stdout(`${(await cacheArgs(project, name, flags.platform)).join(" \\\n  ")}\n`);
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

/** What replaces the stages that are there already: a builder then starts from them and runs nothing of theirs. */
const cacheArgs = async (project: Project, name: string, platform: string | undefined): Promise<string[]> => {
  const open = await openImage(project, name);
  const plan = planOf(project, open, platformsOf(open.image, platform)[0]!, {});
  // A replaced stage is never run, and neither is what only it stands on.
  const contexts = plan.stages.flatMap(({ stage, key, kind }) => {
    const kept = kind === "executed" ? findStage(project.state, key) : null;
    return kept === null ? [] : [`--build-context ${stage}=oci-layout://${project.state.layout}@${kept.digest}`];
  });
  // A builder looks the base up even where nothing of it is used.
  const base = plan.base.kind === "bootstrap" ? findStage(project.state, baseKeyOf(plan.base, plan.platform, plan.epoch)) : null;
  if (base !== null)
    contexts.unshift(`--build-context ${baseContextOf(plan)}=oci-layout://${project.state.layout}@${base.digest}`);
  if (contexts.length > 0) return contexts;
  throw new FactoryError("INPUT_MISSING", {
    what: "no stage of this plan is kept here",
    why: `looked in ${project.state.root}`,
    fix: `./task build IMAGE=${name} STAGE=dependencies`,
  });
};
