import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { commands, type CommandName } from "../../../ci/commands/index.js";
import { run } from "../../../ci/host/process.js";
import { openImage, openProject, planOf } from "../../../ci/project/project.js";
import { keyTag, tagImage } from "../../../dagger/src/distribution/tags.js";
import { blobPath, writeBlob, writeJson } from "../../../dagger/src/oci-layout/blobs.js";
import {
  configText,
  type Descriptor,
  layerType,
  type LayerDescriptor,
  manifestText,
  mediaTypes,
  platformParts,
} from "../../../dagger/src/pipeline/oci/manifest.js";
import { layerTar } from "../../../dagger/src/pipeline/layer/write-tar.js";
import type { Plan } from "../../../dagger/src/pipeline/plan/types.js";
import { stageTag } from "../../../dagger/src/pipeline/oci/stage-artifact.js";
import { pushImage } from "../../../dagger/src/distribution/push-image.js";
import type { Repository } from "../../../dagger/src/registry/client.js";
import { writeStageArtifact } from "../../../dagger/src/oci-layout/stage-store.js";
import { worldAt } from "../../fixtures/world.js";

/** A project under git whose image is published to a registry, and a clock that a test moves. */
export type PublishedProject = {
  folder: string;
  /** Milliseconds since the Unix epoch: what every command of `factory` takes for now. */
  clock: { now: number };
  /** Writes files, and commits them. */
  commit(files: Readonly<Record<string, string>>): Promise<string>;
  /**
   * Pushes what publish pushes of the files here: the image of all platforms by its key, its cached stages, then tags. The layers are small and real;
   * no engine makes them.
   */
  publish(repository: Repository, tags?: readonly string[]): Promise<{ digest: string; refs: string[]; plans: Plan[] }>;
  /** A command as a person types it. @throws what it ends with */
  factory(
    name: CommandName,
    words?: readonly string[],
    env?: Readonly<Record<string, string>>,
  ): Promise<{ stdout: string; stderr: string }>;
  close(): Promise<void>;
};

const spec = (registry: string) => `registry: ${registry}/acme
images:
  box:
    repository: box
    platforms: [linux/amd64, linux/arm64]
    base: { image: "docker.io/library/busybox@sha256:${"c0de".repeat(16)}", packages: apt }
    stages:
      base-tools: { run: [{ command: sh base.sh, inputs: [base.sh] }] }
      dependencies: { run: [{ command: sh deps.sh, inputs: [deps.sh] }] }
      application: { to: /opt/box, copy: [app] }
      runtime: { cmd: [sh] }
`;

/** @param registry `host:port` */
export const openPublished = async (registry: string): Promise<PublishedProject> => {
  const folder = await mkdtemp(join(tmpdir(), "factory-published-"));
  const git = async (...args: string[]) => {
    const done = await run("git", ["-C", folder, "-c", "user.name=test", "-c", "user.email=test@example.org", ...args]);
    if (done.exitCode !== 0) throw new Error(done.stderr);
    return done.stdout.trim();
  };
  await git("init", "--quiet", "--initial-branch=main");
  const clock = { now: Date.UTC(2030, 0, 1) };
  const state = { FACTORY_STATE: join(folder, ".factory"), FACTORY_SCOPE: "protected" };
  const commit: PublishedProject["commit"] = async (files) => {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      await writeFile(join(folder, path), text);
    }
    await git("add", ".");
    await git("commit", "--quiet", "--message", "change");
    return git("rev-parse", "HEAD");
  };
  await commit({
    "images.yaml": spec(registry),
    ".gitignore": ".factory\n",
    "base.sh": "echo 1\n",
    "deps.sh": "echo 1\n",
    "app/a": "1\n",
  });
  return {
    folder,
    clock,
    commit,
    async publish(repository, tags = []) {
      const project = await openProject({ cwd: folder, env: state });
      const open = await openImage(project, "box");
      const plans = open.image.platforms.map((platform) => planOf(project, open, platform, {}));
      const { layout } = project.state;
      const done = [];
      for (const plan of plans) done.push(await buildImage(layout, plan));
      const manifests = done.map(({ image }, at) => ({ ...image, platform: platformParts(plans[at]!.platform) }));
      const root = await writeJson(layout, mediaTypes.index, { schemaVersion: 2, mediaType: mediaTypes.index, manifests });
      const push = async (what: Descriptor, names: readonly string[]) => {
        await pushImage(repository, layout, what, { present: new Set(), sources: [] });
        for (const name of names) await tagImage(repository, name, what.mediaType, readFileSync(blobPath(layout, what.digest)));
      };
      await push(root, [...tags, keyTag(plans)]);
      const refs = done.flatMap((one) => one.refs);
      for (const { tag, ref } of refs) await push(ref, [tag]);
      return { digest: root.digest, refs: refs.map(({ tag }) => tag), plans };
    },
    async factory(name, words = [], env = {}) {
      const { world, stdout, stderr } = worldAt(folder, { ...state, FACTORY_REGISTRY: `${registry}/acme`, HOME: folder, ...env });
      const code = await (await commands[name]()).run(words, { ...world, now: () => clock.now });
      if (code !== 0) throw new Error(`${name} ended with ${code}`);
      return { stdout: stdout(), stderr: stderr() };
    },
    close: () => rm(folder, { recursive: true, force: true }),
  };
};

/** One layer a stage, that says which stage it is; images are made over what stands below, as publish has them. */
const buildImage = async (layout: string, plan: Plan) => {
  const layers: LayerDescriptor[] = [];
  const diffIds: string[] = [];
  const refs: { tag: string; ref: Descriptor }[] = [];
  const { os, architecture } = platformParts(plan.platform);
  let image: Descriptor | null = null;
  for (const [at, stage] of plan.stages.entries()) {
    const { tar, gz } = await pack(stage.stage, `${stage.key}\n`.repeat(100));
    diffIds.push((await writeBlob(layout, [tar])).digest);
    layers.push({ mediaType: layerType("gzip"), ...(await writeBlob(layout, [gz])) });
    const text = configText({ os, architecture, rootfs: { type: "layers", diff_ids: [...diffIds] }, history: [] });
    const config = { mediaType: mediaTypes.config, ...(await writeBlob(layout, [Buffer.from(text)])) };
    // An engine's image of a stage says nothing of stages.
    const held = stage.kind === "executed" ? [] : plan.stages.slice(0, at + 1);
    const put = await writeBlob(layout, [Buffer.from(manifestText(config, layers, held))]);
    image = { mediaType: mediaTypes.manifest, ...put };
    if (stage.kind === "executed")
      refs.push({ tag: stageTag(stage.stage, stage.key), ref: await writeStageArtifact(layout, stage, image.digest, null) });
  }
  return { image: image!, refs };
};

const pack = async (name: string, text: string): Promise<{ tar: Buffer; gz: Buffer }> => {
  const content = {
    path: `/${name}`,
    mode: "644",
    uid: 0,
    gid: 0,
    size: text.length,
    sha256: createHash("sha256").update(text).digest("hex"),
  };
  const pieces: Uint8Array[] = [];
  for await (const piece of layerTar([{ type: "file", ...content, content: { text } }], 0, () => Buffer.of())) pieces.push(piece);
  const tar = Buffer.concat(pieces);
  return { tar, gz: gzipSync(tar) };
};
