import type { Job } from "../interface/engine.js";
import type { Staged } from "./staging.js";

/** A client of BuildKit, and how to call it. buildctl speaks to an address, buildx to a builder that it knows by name. */
export type Client = { kind: "buildctl"; program: string; address: string } | { kind: "buildx"; docker: string; builder: string };

/** The folder that an image is exported into; null where the job's output is no image. */
export type ExportFolder = string | null;

/** The command line that executes a job. No secret's value stands in it: only the file or the variable that holds it. */
export const commandFor = (client: Client, job: Job, staged: Staged, into: ExportFolder): readonly [string, ...string[]] =>
  client.kind === "buildctl"
    ? [client.program, ...buildctlArguments(client.address, job, staged, into)]
    : [client.docker, ...buildxArguments(client.builder, job, staged, into)];

const buildctlArguments = (address: string, job: Job, staged: Staged, into: ExportFolder): string[] => [
  "--addr",
  address,
  "build",
  "--frontend",
  "dockerfile.v0",
  "--progress=rawjson",
  "--local",
  `dockerfile=${staged.dockerfile}`,
  "--local",
  `context=${staged.context}`,
  ...Object.entries(staged.folders).flatMap(([name, folder], index) => [
    "--local",
    `folder${index}=${folder}`,
    "--opt",
    `context:${name}=local:folder${index}`,
  ]),
  // Names of images are references with slashes and tags: the store behind each gets a plain name of its own.
  ...Object.entries(job.images).flatMap(([name, { layout, digest }], index) => [
    "--oci-layout",
    `layout${index}=${layout}`,
    "--opt",
    `context:${name}=oci-layout://layout${index}@${digest}`,
  ]),
  "--opt",
  `target=${job.stage}`,
  "--opt",
  `platform=${job.platform}`,
  ...argumentsOf(job).flatMap(([name, value]) => ["--opt", `build-arg:${name}=${value}`]),
  ...secretsOf(job),
  ...(job.noCache ? ["--no-cache"] : []),
  ...outputOf(job, into),
  "--metadata-file",
  staged.metadata,
];

const buildxArguments = (builder: string, job: Job, staged: Staged, into: ExportFolder): string[] => [
  "buildx",
  "build",
  "--builder",
  builder,
  "--progress=rawjson",
  // buildx attests by default; an attestation holds times and makes an index of the image.
  "--provenance=false",
  "--sbom=false",
  "--file",
  `${staged.dockerfile}/Dockerfile`,
  "--target",
  job.stage,
  "--platform",
  job.platform,
  ...Object.entries(staged.folders).flatMap(([name, folder]) => ["--build-context", `${name}=${folder}`]),
  ...Object.entries(job.images).flatMap(([name, { layout, digest }]) => [
    "--build-context",
    `${name}=oci-layout://${layout}@${digest}`,
  ]),
  ...argumentsOf(job).flatMap(([name, value]) => ["--build-arg", `${name}=${value}`]),
  ...secretsOf(job),
  ...(job.noCache ? ["--no-cache"] : []),
  ...outputOf(job, into),
  "--metadata-file",
  staged.metadata,
  staged.context,
];

const argumentsOf = (job: Job): [string, string][] =>
  Object.entries({ ...job.buildArgs, SOURCE_DATE_EPOCH: String(job.epoch) }).sort(([a], [b]) => (a < b ? -1 : 1));

const secretsOf = (job: Job): string[] =>
  job.secrets.flatMap((one) => ["--secret", csv([`id=${one.id}`, "env" in one ? `env=${one.env}` : `src=${one.file}`])]);

const outputOf = (job: Job, into: ExportFolder): string[] => {
  switch (job.output.to) {
    case "nothing":
      return [];
    case "folder":
      return ["--output", csv(["type=local", `dest=${job.output.folder}`])];
    case "tar":
      return ["--output", csv(["type=tar", `dest=${job.output.file}`])];
    case "oci-layout":
      return [
        "--output",
        csv([
          "type=oci",
          `dest=${into ?? job.output.folder}`,
          "tar=false",
          `compression=${job.compression}`,
          "force-compression=true",
          "rewrite-timestamp=true",
          "oci-mediatypes=true",
        ]),
      ];
  }
};

/** One record of comma-separated values, as both clients read `--output` and `--secret`. */
const csv = (fields: readonly string[]): string =>
  fields.map((field) => (/[",\r\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field)).join(",");
