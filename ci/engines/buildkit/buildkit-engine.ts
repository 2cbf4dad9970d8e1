/**
 * # ci/engines/buildkit
 *
 * BuildKit as an engine, through buildctl. A secret is a variable of the client, and never a file or an argument.
 */
import { mkdir, mkdtemp, readFile, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FactoryError, interrupted } from "../../../dagger/src/pipeline/common/error.js";
import type { BuildEvent } from "../../../dagger/src/pipeline/common/build-event.js";
import { type Platform, platformNames } from "../../../dagger/src/pipeline/common/stage.js";
import type { Descriptor } from "../../../dagger/src/pipeline/oci/manifest.js";
import { isDescriptor, jsonOf } from "../../../dagger/src/pipeline/oci/guards.js";
import { nameInLayout } from "../../state/layout-index.js";
import { run } from "../../host/process.js";
import { type Client, commandFor } from "./buildctl-args.js";
import { type Engine, type Feature, type Job, type JobResult, secretVariables } from "../interface/engine.js";
import { explainFailure } from "./explain-failure.js";
import { openExport } from "./layout-export.js";
import { type Mask, maskOf, masking } from "../../host/mask.js";
import { rawjsonReader } from "./rawjson.js";
import { stage } from "./staging.js";

/** A way to a BuildKit daemon. `open` is called when the first job needs it, `close` when the engine is released. */
export type Connection = {
  address: string;
  features: ReadonlySet<Feature>;
  open(signal?: AbortSignal): Promise<{ client: Client; close(): Promise<void> }>;
};

/** An engine that hands each job to BuildKit through buildctl or docker buildx. Nothing is started before the first job. */
export function buildkitEngine(connection: Connection): Engine {
  let opened: ReturnType<Connection["open"]> | null = null;
  const client = async (signal?: AbortSignal): Promise<Client> => {
    opened ??= connection.open(signal);
    try {
      return (await opened).client;
    } catch (error) {
      opened = null;
      throw error;
    }
  };
  return {
    name: "buildkit",
    address: connection.address,
    features: connection.features,
    platforms: async () => platformsOf(await client()),
    async execute(job, emit, signal) {
      const mask = maskOf(job.secrets);
      return masking(mask, emit, async (masked) => execute(await client(signal), connection.address, job, mask, masked, signal));
    },
    async release() {
      const ending = opened;
      opened = null;
      await (await ending?.catch(() => null))?.close();
    },
  };
}

async function execute(
  client: Client,
  address: string,
  job: Job,
  mask: Mask,
  emit: (event: BuildEvent) => void,
  signal: AbortSignal,
): Promise<JobResult> {
  const jobFolder = await mkdtemp(join(tmpdir(), "image-factory-job-"));
  const exported = job.output.to === "oci-layout" ? await openExport(job.output.folder) : null;
  try {
    if (job.output.to === "folder") await mkdir(job.output.folder, { recursive: true });
    const staged = await stage(job, jobFolder);
    const images = await plainLayouts(job.images, jobFolder);
    const [program, ...args] = commandFor(client, { ...job, images }, staged, exported?.folder ?? null);
    // Steps of one job never have the name of another's: two jobs of a run may share a vertex.
    const reader = rawjsonReader({
      stage: job.stage,
      labels: job.labels,
      mask,
      prefix: `${job.stage}/${job.platform.split("/")[1]}/`,
    });
    const finished = await run(program, args, {
      signal,
      // Credentials of registries come from Docker's own configuration; the address is on the command line.
      env: { ...secretVariables(job.secrets), BUILDKIT_HOST: undefined, BUILDX_BUILDER: undefined },
      onLine: (line) => reader.take(line).forEach(emit),
    });
    reader.end().forEach(emit);
    if (finished.exitCode !== 0) {
      if (signal.aborted) throw interrupted(`${job.stage} was stopped on request`);
      throw explainFailure(job, address, {
        exitCode: finished.exitCode,
        stray: reader.stray(),
        failed: reader.failure(),
      });
    }
    if (job.output.to !== "oci-layout") return { digest: null };
    const image = await descriptorIn(staged.metadata, job);
    await nameInLayout(job.output.folder, job.output.name, image);
    return { digest: image.digest };
  } finally {
    await exported?.close();
    await rm(jobFolder, { recursive: true, force: true });
  }
}

/** docker buildx takes the path of a layout to its first @ or colon: one that has them gets another name. */
const plainLayouts = async (images: Job["images"], jobFolder: string): Promise<Job["images"]> => {
  const plain = Object.entries(images).map(async ([name, image], at) => {
    if (!/[@:]/.test(image.layout)) return [name, image] as const;
    const layout = join(jobFolder, `layout${at}`);
    await symlink(image.layout, layout);
    return [name, { ...image, layout }] as const;
  });
  return Object.fromEntries(await Promise.all(plain));
};

type Metadata = { "containerimage.descriptor"?: unknown };

async function descriptorIn(file: string, job: Job): Promise<Descriptor> {
  const metadata = jsonOf(await readFile(file)) as Metadata | null;
  const descriptor = metadata?.["containerimage.descriptor"];
  if (!isDescriptor(descriptor)) {
    throw new FactoryError("ENGINE_FAILED", {
      what: `the engine does not say which image ${job.stage} became`,
      why: `its metadata has no containerimage.descriptor: ${String(JSON.stringify(metadata)).slice(0, 400)}`,
      fix: "use a newer BuildKit (0.12 or later), or the embedded one: FACTORY_BUILDKIT=embedded",
    });
  }
  const [os = "linux", architecture = "amd64"] = job.platform.split("/");
  const { mediaType, digest, size } = descriptor;
  return { mediaType, digest, size, platform: { os, architecture } };
}

type Worker = { platforms?: { os: string; architecture: string }[] };

async function platformsOf(client: Client): Promise<readonly Platform[]> {
  const isOurs = (text: string): text is Platform => platformNames.some((name) => name === text);
  if (client.kind === "buildx") {
    const { stdout } = await run(client.docker, ["buildx", "inspect", client.builder]);
    const listed = stdout
      .split("\n")
      .filter((line) => line.startsWith("Platforms:"))
      .join(",");
    return platformNames.filter((name) => new RegExp(`[\\s,]${name}\\*?(?=[\\s,]|$)`).test(listed));
  }
  const { stdout } = await run(client.program, ["--addr", client.address, "debug", "workers", "--format", "{{json .}}"]);
  const workers = jsonOf(Buffer.from(stdout));
  const platforms = (Array.isArray(workers) ? (workers as (Worker | null)[]) : []).flatMap((one) => one?.platforms ?? []);
  const found = new Set(platforms.map(({ os, architecture }) => `${os}/${architecture}`));
  return [...found].filter(isOurs).sort();
}
