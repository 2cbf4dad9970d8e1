/**
 * # ci/engines/interface
 *
 * What the command line asks of an engine: execute one stage. An engine decides nothing: whatever matters stands in the job.
 */
import type { BuildEvent } from "../../../dagger/src/pipeline/common/build-event.js";
import type { Label } from "../../../dagger/src/pipeline/render/step-labels.js";
import type { Plan, PlannedStage } from "../../../dagger/src/pipeline/plan/types.js";
import type { Platform, StageName } from "../../../dagger/src/pipeline/common/stage.js";
import type { Secret } from "../../host/secrets.js";

export type EngineName = "dagger" | "buildkit";

/** What an engine can do beyond executing a stage. Commands ask for a feature, never for a name. `dockerfiles`: any Dockerfile, with any output. */
export type Feature = "secrets" | "emulation" | "prune" | "dockerfiles";

/** The variables that a client reads secrets from. No file is written for it. */
export const secretVariables = (secrets: readonly Secret[]): Record<string, string> =>
  Object.fromEntries(secrets.flatMap((one) => ("env" in one ? [[one.env, one.value]] : [])));

/** One stage to execute, rendered. The engine decides nothing: everything that matters stands here. */
export type Job = {
  stage: StageName;
  platform: Platform;
  /** A Dockerfile whose stage `stage` is the result. */
  dockerfile: string;
  /** What the Dockerfile was rendered from, for an engine that takes steps; absent where the Dockerfile is all there is. */
  planned?: { plan: Plan; stage: PlannedStage; caches: string };
  /** The folder whose files COPY and bind mounts read: exactly the inputs, under a name that changes with their content. */
  context: string;
  /** Images that replace a stage or a base by name; each stands in an OCI layout on this machine. */
  images: Readonly<Record<string, { layout: string; digest: string }>>;
  /** Folders that a COPY --from or a bind mount reads by name. */
  folders: Readonly<Record<string, string>>;
  buildArgs: Readonly<Record<string, string>>;
  secrets: readonly Secret[];
  /** Seconds since the Unix epoch for every file of a layer. */
  epoch: number;
  /** How its steps are called in events. */
  labels: readonly Label[];
  compression: "zstd" | "gzip";
  noCache: boolean;
  output:
    | { to: "oci-layout"; folder: string; name: string }
    | { to: "folder"; folder: string }
    | { to: "tar"; file: string }
    | { to: "nothing" };
};

/** What a job left: the digest of the image manifest (absent where the output is no image). */
export type JobResult = { digest: string | null };

export type Readiness = { ready: true; why: string } | { ready: false; why: string; fix: string };

export type Engine = {
  name: EngineName;
  /** How a person would tell this engine from another of its name: "embedded", "BUILDKIT_HOST tcp://…". */
  address: string;
  features: ReadonlySet<Feature>;
  platforms(): Promise<readonly Platform[]>;
  /**
   * Executes one stage. Events arrive on `emit` in order.
   * @throws FactoryError STEP_FAILED, ENGINE_FAILED, BASE_UNREACHABLE, DISK_FULL, INTERRUPTED
   */
  execute(job: Job, emit: (event: BuildEvent) => void, signal: AbortSignal): Promise<JobResult>;
  release(): Promise<void>;
};
