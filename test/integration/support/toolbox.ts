import { createCipheriv, createHash, randomBytes } from "node:crypto";
import { chmod, cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pack } from "tar-stream";
import { keepIngredients, keepStage } from "../../../ci/state/records.js";
import { nameInLayout } from "../../../ci/state/layout-index.js";
import { openImage, openProject, planOf } from "../../../ci/project/project.js";
import { indexLayers } from "../../../dagger/src/oci-layout/index-layers.js";
import { writeBlob } from "../../../dagger/src/oci-layout/blobs.js";
import { type Descriptor, layerType, mediaTypes } from "../../../dagger/src/pipeline/oci/manifest.js";
import type { Plan } from "../../../dagger/src/pipeline/plan/types.js";
import { type Platform, platformNames } from "../../../dagger/src/pipeline/common/stage.js";
import { stageTag } from "../../../dagger/src/pipeline/oci/stage-artifact.js";
import { writeStageArtifact } from "../../../dagger/src/oci-layout/stage-store.js";
import { gzipSync } from "node:zlib";

/**
 * A project of two executed and two assembled stages, and the state folder of the machine that executed the first two. What they
 * left is made by hand: layers that do not compress, with what an assembler needs of a base in them. No engine is needed.
 */
export type Toolbox = {
  /** Everything of the test: `close` removes it. */
  root: string;
  /** A copy of the project that a test may change. */
  checkout(): Promise<string>;
  /** The state folder of a machine: `empty`, or a copy of the one that executed the stages. */
  machine(kind: "empty" | "executed"): Promise<string>;
  plan(project: string, platform?: Platform): Promise<Plan>;
  /** Puts the executed stages of this project's plan into a state folder, as an engine would leave them. `mark` makes other content of the same key. */
  executed(state: string, project: string, mark?: string): Promise<void>;
  close(): Promise<void>;
};

/** Bytes of the application's content; it does not compress. */
export const applicationSize = 200_000;
const layerSize = { "base-tools": 1_500_000, dependencies: 600_000 } as const;

const imagesYaml = `registry: registry.invalid/team
images:
  small:
    repository: small
    platforms: [linux/amd64]
    base: { image: "registry.invalid/base@sha256:${"ab".repeat(32)}", packages: apt }
    stages:
      base-tools: { run: ["install the tools"] }
      dependencies: { run: [{ command: "install what requirements.txt says", inputs: [requirements.txt] }] }
      application: { copy: [app], to: /opt }
      runtime: { user: { name: small, uid: 1234 }, workdir: /opt/app, cmd: [/bin/sh] }
`;

export const openToolbox = async (): Promise<Toolbox> => {
  const root = await mkdtemp(join(tmpdir(), "factory-toolbox-"));
  // A test runs commands as another user.
  await chmod(root, 0o755);
  const source = join(root, "source");
  await mkdir(join(source, "app"), { recursive: true });
  await writeFile(join(source, "images.yaml"), imagesYaml);
  await writeFile(join(source, "requirements.txt"), "one==1.0\n");
  await writeFile(join(source, "app/main.sh"), "#!/bin/sh\necho hello\n");
  await writeFile(join(source, "app/data"), randomBytes(applicationSize));
  let count = 0;
  const folder = () => join(root, `${++count}`);

  const plan: Toolbox["plan"] = async (project, platform = "linux/amd64") => {
    const found = await openProject({ cwd: project, env: { FACTORY_STATE: join(root, "unused") } });
    // Whatever platforms the project has at the moment.
    const small = { ...found.spec.images["small"]!, platforms: [...platformNames] };
    const opened = { ...found, spec: { ...found.spec, images: { small } } };
    return planOf(opened, await openImage(opened, undefined), platform, {});
  };

  const executed: Toolbox["executed"] = async (root, project, mark = "") => {
    const state = (await openProject({ cwd: project, env: { FACTORY_STATE: root, FACTORY_SCOPE: "protected" } })).state;
    for (const platform of platformNames) {
      const planned = await plan(project, platform);
      let below: { layers: Descriptor[]; diffs: string[] } = { layers: [], diffs: [] };
      for (const stage of planned.stages.filter(({ kind }) => kind === "executed")) {
        const name = stage.stage as keyof typeof layerSize;
        const layer = await writeLayer(state.layout, name, `${platform} ${stage.key} ${mark}`);
        const lower = below;
        below = { layers: [...below.layers, layer.descriptor], diffs: [...below.diffs, layer.diffId] };
        const digest = await writeImage(state.layout, platform, below);
        const index = lower.layers.length === 0 ? null : await indexLayers(state.layout, lower.layers, null);
        const ref = await writeStageArtifact(
          state.layout,
          stage,
          digest,
          index === null ? null : { layers: lower.layers.length, index },
        );
        await nameInLayout(state.layout, stageTag(stage.stage, stage.key), ref);
        keepIngredients(state, stage.key, stage.ingredients);
        keepStage(state, {
          key: stage.key,
          stage: stage.stage,
          image: planned.image,
          platform,
          digest,
          ref: ref.digest,
          parent: null,
          trust: "protected",
          elsewhere: null,
          engine: "by hand",
          at: 0,
          seconds: 100,
        });
      }
    }
  };

  const built = join(root, "built");
  await executed(built, source);
  return {
    root,
    plan,
    executed,
    checkout: async () => {
      const to = folder();
      await cp(source, to, { recursive: true });
      return to;
    },
    machine: async (kind) => {
      const to = folder();
      if (kind === "executed") await cp(built, to, { recursive: true });
      return to;
    },
    close: () => rm(root, { recursive: true, force: true }),
  };
};

/** Bytes that follow from a name and do not compress. */
const noise = (name: string, size: number): Buffer =>
  createCipheriv("aes-256-ctr", createHash("sha256").update(name).digest(), Buffer.alloc(16)).update(Buffer.alloc(size));

const writeLayer = async (layout: string, stage: "base-tools" | "dependencies", name: string) => {
  const tar = pack();
  const mtime = new Date(0);
  if (stage === "base-tools") {
    for (const path of ["etc/", "opt/", "home/", "tmp/"]) tar.entry({ name: path, type: "directory", mode: 0o755, mtime });
    for (const [file, text] of [
      ["passwd", "root:x:0:0:root:/root:/bin/sh\n"],
      ["group", "root:x:0:\n"],
    ] as const)
      tar.entry({ name: `etc/${file}`, mode: 0o644, mtime }, text);
  }
  tar.entry({ name: `opt/${stage}`, mode: 0o644, mtime }, noise(name, layerSize[stage]));
  tar.finalize();
  const parts: Buffer[] = [];
  for await (const part of tar as AsyncIterable<Buffer>) parts.push(part);
  const bytes = Buffer.concat(parts);
  const diffId = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
  return { diffId, descriptor: { mediaType: layerType("gzip"), ...(await writeBlob(layout, [gzipSync(bytes, { level: 1 })])) } };
};

const writeImage = async (
  layout: string,
  platform: Platform,
  { layers, diffs }: { layers: Descriptor[]; diffs: string[] },
): Promise<string> => {
  const [os, architecture] = platform.split("/");
  const config = { os, architecture, config: {}, rootfs: { type: "layers", diff_ids: diffs }, history: [] };
  const put = async (mediaType: string, value: unknown) => ({
    mediaType,
    ...(await writeBlob(layout, [Buffer.from(JSON.stringify(value))])),
  });
  const { digest } = await put(mediaTypes.manifest, {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: await put(mediaTypes.config, config),
    layers,
  });
  return digest;
};

/** The content of a file of a state folder or project. */
export const textOf = (...path: string[]): Promise<string> => readFile(join(...path), "utf8");

/** Names the platforms of a project of openToolbox, which has linux/amd64 at first. Its keys stay what they are. */
export const setPlatforms = async (project: string, ...platforms: readonly Platform[]): Promise<void> =>
  writeFile(join(project, "images.yaml"), imagesYaml.replace("platforms: [linux/amd64]", `platforms: [${platforms.join(", ")}]`));
