/**
 * # ci/engines/dagger
 *
 * Dagger as an engine of the command line. It builds the containers of dagger/src/dagger, as the module does.
 */
import { statSync } from "node:fs";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { setImmediate } from "node:timers/promises";
import type { Client, Container } from "@dagger.io/dagger";
import { randomUUID } from "node:crypto";
import { baseContainer } from "../../../dagger/src/dagger/base-container.js";
import { type Piece, stageContainers } from "../../../dagger/src/dagger/stage-container.js";
import { contextOf, engineCompression, enginePlatform } from "../../../dagger/src/dagger/sdk-types.js";
import { asFailure } from "../../../dagger/src/dagger/explain-error.js";
import { blobPath } from "../../../dagger/src/oci-layout/blobs.js";
import { packLayout } from "../../../dagger/src/oci-layout/archive.js";
import { baseContextOf } from "../../../dagger/src/pipeline/render/dockerfile.js";
import { FactoryError, interrupted } from "../../../dagger/src/pipeline/common/error.js";
import type { BuildEvent } from "../../../dagger/src/pipeline/common/build-event.js";
import { mediaTypes, platformParts } from "../../../dagger/src/pipeline/oci/manifest.js";
import { parentOf, platformNames, type StageName } from "../../../dagger/src/pipeline/common/stage.js";
import { importStage } from "../../../dagger/src/oci-layout/import-stage.js";
import { nameInLayout } from "../../state/layout-index.js";
import { withDev } from "./dagger-base.js";
import { asStep, type Told, watched } from "./watch-steps.js";
import { maskOf, masking } from "../../host/mask.js";
import type { Engine, Job, JobResult } from "../interface/engine.js";
import { inTime } from "../interface/in-time.js";

type Session = { client: Client; close(): Promise<void> };

/**
 * An engine that hands the steps of a stage to Dagger through its client library, with the module's own containers. The library is read,
 * and the session opened, when the first job needs it.
 * @param cli the CLI that opens the session; null inside a session. The library looks for none on PATH, it would download one.
 */
export function daggerEngine(address: string, cli: string | null): Engine {
  let opened: Promise<Session> | null = null;
  const session = (): Promise<Session> => {
    opened ??= inTime(openSession(cli), sessionTimeout, tooLate).catch((cause: unknown) => {
      opened = null;
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new FactoryError("ENGINE_FAILED", {
        what: "the Dagger engine opened no session",
        why,
        fix: "dagger core version",
        cause,
      });
    });
    return opened;
  };
  return {
    name: "dagger",
    address,
    features: new Set(["secrets", "emulation"]),
    platforms: async () => platformNames,
    async execute(job, emit, signal) {
      const stop = stopped(signal, job);
      try {
        const { client } = await Promise.race([session(), stop.fired]);
        return await masking(maskOf(job.secrets), emit, (masked) => Promise.race([execute(client, job, masked), stop.fired]));
      } finally {
        stop.forget();
      }
    },
    async release() {
      const ending = opened;
      opened = null;
      await (await ending?.catch(() => null))?.close();
    },
  };
}

/** Milliseconds. The CLI has answered before, so that its engine runs; the library would wait for five minutes. */
const sessionTimeout = 60_000;
const tooLate = (): never => {
  throw new Error(`no session in ${sessionTimeout / 1000} s`);
};

const openSession = async (cli: string | null): Promise<Session> => {
  if (cli !== null) process.env["_EXPERIMENTAL_DAGGER_CLI_BIN"] = cli;
  // Not `connect`, which prints a stack trace where nobody answers, and goes on.
  const { connection, dag } = await import("@dagger.io/dagger");
  stray.error = null;
  if (!process.listeners("unhandledRejection").includes(takeStray)) process.on("unhandledRejection", takeStray);
  try {
    return await new Promise((resolve, reject) => {
      let end: () => void;
      const ended = new Promise<void>((done) => (end = done));
      // The library closes a session when its callback ends.
      const whole = connection(async () => {
        await dag.version();
        const close = async () => {
          end();
          await whole.catch(() => undefined);
        };
        resolve({ client: dag, close });
        await ended;
      });
      whole.catch(reject);
    });
  } catch (error) {
    await setImmediate();
    throw stray.error ?? error;
  }
};

/**
 * Where the CLI of a session ends by itself, or is ended with the session, the library throws what it said past everybody, which would end this
 * process: at any time until that ends by itself.
 */
const stray: { error: Error | null } = { error: null };
const takeStray = (error: unknown): void => {
  if (!(error instanceof Error) || !/^(EngineSession|Execa)Error$/.test(error.name)) throw error;
  if (error.name === "EngineSessionError") stray.error = error;
};

/** A request to the engine cannot be taken back; what waits for it can be. */
const stopped = (signal: AbortSignal, { stage }: Job): { fired: Promise<never>; forget(): void } => {
  let stop: () => void = () => undefined;
  const fired = new Promise<never>((_, reject) => {
    stop = () => reject(interrupted(`${stage} was stopped on request`));
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop);
  });
  fired.catch(() => undefined);
  return { fired, forget: () => signal.removeEventListener("abort", stop) };
};

async function execute(client: Client, job: Job, emit: (event: BuildEvent) => void): Promise<JobResult> {
  const { planned, output } = job;
  if (planned === undefined || output.to !== "oci-layout") throw onlyStages(job);
  const { plan, stage, caches } = planned;
  await mkdir(output.folder, { recursive: true });
  const jobFolder = await mkdtemp(join(output.folder, ".dagger-"));
  let pieces: readonly Piece[] = [];
  try {
    const below = await belowOf(client, job, jobFolder);
    const secrets = new Map(
      // With a key of their own: another value of a secret makes no step run again, as with every other engine.
      job.secrets.map((one) => [
        one.id,
        client.secret("env" in one ? `env://${one.env}` : `file://${resolve(one.file)}`, { cacheKey: `image-factory-${one.id}` }),
      ]),
    );
    const base = below === null ? baseContainer(client, plan, secrets) : { container: below.container, pieces: [] };
    const context = contextOf((path, include) =>
      client.host().directory(join(job.context, path), include.length === 0 ? {} : { include: [...include] }),
    );
    const fresh = job.noCache ? randomUUID() : null;
    const built = stageContainers(plan, stage, { client, below: base.container, context, secrets, fresh, caches });
    pieces = [...base.pieces, ...built.pieces];
    const told: Told = { emit, stage: job.stage, prefix: `${job.stage}/${job.platform.split("/")[1]}` };
    await watched(pieces, told);
    const tar = join(jobFolder, "stage.tar");
    await asStep(`${told.prefix}/export`, "export the layers", told, async () => {
      await built.container.export(tar, { forcedCompression: engineCompression(job) });
      return false;
    });
    // Of a base all layers are taken as they were exported: those of the layout are not compressed.
    const parent = below !== null && below.stage !== "base" ? below : null;
    const { digest, size } = await importStage(tar, output.folder, join(jobFolder, "taken"), plan, stage, parent);
    await nameInLayout(output.folder, output.name, {
      mediaType: mediaTypes.manifest,
      digest,
      size,
      platform: platformParts(job.platform),
    });
    return { digest };
  } catch (error) {
    throw asFailure(error, { stage: job.stage, platform: job.platform, pieces });
  } finally {
    await rm(jobFolder, { recursive: true, force: true });
  }
}

type Below = { stage: StageName | "base"; digest: string; container: Container };

/** The image that the stage is built on, where it is in a layout of this machine. */
const belowOf = async (client: Client, job: Job, jobFolder: string): Promise<Below | null> => {
  const { plan, stage } = job.planned!;
  const parent = parentOf(stage.stage);
  const image = job.images[parent ?? baseContextOf(plan)];
  if (image === undefined) return null;
  const { layout, digest } = image;
  const platform = platformParts(job.platform);
  const tar = join(jobFolder, "below.tar");
  if (parent === null) {
    const draft = join(jobFolder, "base");
    await packLayout(draft, { ...(await withDev(layout, digest, plan.epoch, draft)), platform }, tar);
    await rm(draft, { recursive: true });
  } else {
    const size = statSync(blobPath(layout, digest)).size;
    await packLayout(layout, { mediaType: mediaTypes.manifest, digest, size, platform }, tar);
  }
  const container = client.container({ platform: enginePlatform(job.platform) }).import_(client.host().file(tar));
  return { stage: parent ?? "base", digest, container };
};

const onlyStages = ({ stage, output }: Job): FactoryError =>
  new FactoryError("ENGINE_FAILED", {
    what: `the Dagger engine makes images of stages, and no ${output.to === "oci-layout" ? "other Dockerfile's" : output.to}`,
    why: `${stage} was asked for in another form`,
    fix: `ENGINE=buildkit; or look into the stage with: dagger call stage --name ${stage} terminal`,
  });
