import { existsSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { wordOf } from "../../dagger/src/pipeline/config/arguments.js";
import { renderedFiles } from "../../dagger/src/pipeline/render/rendered-files.js";
import { builderOf, contextFor, replacementsFromRegistry, replacementsFromState } from "../remote/cache-args.js";
import { command } from "../cli/command.js";
import { replaceInside } from "../host/replace-inside.js";
import { openImage, openProject, type Project, planOf, platformsOf } from "../project/project.js";
import { imageFlag, platformFlag, registryFlag } from "../cli/flags.js";

export const render = command({
  name: "render",
  about: "Write the Dockerfile of each image, for docker, buildah and podman",
  flags: {
    image: { ...imageFlag, about: "only this image; all when absent" },
    platform: { ...platformFlag, about: "with --stdout or --cache-args: platforms of the file; all of the image's when absent" },
    check: { type: "boolean", about: "write nothing; exit 2 when a file is not current" },
    stdout: { type: "boolean", about: "print the Dockerfile of one image" },
    "cache-args": { type: "boolean", about: "print the --build-context arguments that replace stages which are there already" },
    builder: { type: "string", about: "with --cache-args: whose arguments, docker or buildah (podman's too)", default: "docker" },
    from: {
      type: "string",
      about: "with --cache-args: where the stages are, state (this machine) or registry",
      default: "state",
    },
    registry: registryFlag,
  },
  async run(flags, world) {
    const project = await openProject(world);
    const names = flags.image === undefined ? Object.keys(project.spec.images) : [flags.image];
    if (flags["cache-args"]) {
      const builder = builderOf(flags.builder);
      const open = await openImage(project, names[0]);
      const plan = planOf(project, open, platformsOf(open.image, flags.platform)[0]!, {});
      const found =
        placeOf(flags.from) === "state"
          ? replacementsFromState(project, plan)
          : await replacementsFromRegistry(project, plan, world);
      const contexts = found.map((one) => contextFor(builder, one));
      world.stdout(`${contexts.map(({ argument }) => argument).join(" \\\n  ")}\n`);
      const before = contexts.flatMap(({ first }) => first ?? []);
      if (before.length > 0) world.stderr(`first bring them into the storage of podman and buildah:\n  ${before.join("\n  ")}\n`);
      return 0;
    }
    // What is committed is of all platforms, whatever PLATFORM a CI job is for.
    const platform = flags.stdout ? (flags.platform ?? "all") : "all";
    const files = (await Promise.all(names.map((name) => rendered(project, name, platform)))).flat();
    if (flags.stdout) {
      world.stdout(files[0]!.text);
      return 0;
    }
    const outdated = files.filter(({ path, text }) => !existsSync(path) || readFileSync(path, "utf8") !== text);
    for (const { path, text } of outdated) {
      if (!flags.check) replaceInside(project.root, relative(project.root, path), text);
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

const places = ["state", "registry"] as const;

/** @throws FactoryError USAGE */
const placeOf = (text: string): (typeof places)[number] =>
  wordOf(text, places, { what: `cannot read --from ${text}`, known: "stages are in one of" });
