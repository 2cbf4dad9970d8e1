import * as z from "zod";
import { version } from "./spec.js";
import { platformNames } from "../common/stage.js";
import { line, lines } from "./text-schema.js";

const sha256 = line().regex(/^[0-9a-f]{64}$/, "expected 64 hexadecimal digits");
const digest = line().regex(/^sha256:[0-9a-f]{64}$/, "expected sha256: and 64 hexadecimal digits");
const perPlatform = <T extends z.ZodType>(value: T) => z.partialRecord(z.enum(platformNames), value);

/** What a package manager is given as one word: never an option. */
const pin = line().regex(/^[A-Za-z0-9][!-~]*$/, "expected a package with its version");

/** A set of packages as a resolver of the distribution chose it: what was asked for, and all that it needs. */
const packageSet = z.strictObject({
  /** The names that images.yaml asks for, sorted. */
  requested: z.array(line()),
  /** What they were resolved on (resolvedOn). Locks of before this was kept do not say. */
  on: line().optional(),
  /** All packages the install brings, sorted, as the manager takes them: `name=version` for apt, `name-epoch:version-release.arch` for dnf. */
  packages: z.array(pin),
});

const pythonSet = z.strictObject({
  /** The Python that it was resolved for: conditions of requirements and wheels depend on it. Locks of before this was kept do not say. */
  version: line().optional(),
  /** The requirements that the projects declare, normalised and sorted (PEP 508). */
  requested: z.array(line()),
  /** Pinned requirements, each `name==version` with the sha256 of every file that may be installed. */
  packages: z.array(z.strictObject({ pin, sha256: z.array(sha256).min(1) })),
});

/** Metadata that only a build backend knows (setup.py, `dynamic`), as of the inputs with this hash. */
const dynamicProject = z.strictObject({
  inputs: sha256,
  metadata: z.strictObject({
    name: line(),
    version: line(),
    summary: lines().nullable(),
    requires: z.array(line()),
    requiresPython: line().nullable(),
    extras: z.array(line()),
    entryPoints: z.array(z.strictObject({ group: line(), name: line(), value: line() })),
  }),
});

const lockedFile = z.strictObject({
  /** A Dockerfile's ADD replaces variables in it, takes quotes away and ends it at a blank. */
  url: line()
    .regex(/^https?:\/\/[^\s$"'`\\]+$/, "expected an http or https URL")
    .optional(),
  sha256,
  /** The package that it is of and the files in it that are taken, as images.yaml named them. Locks of before this was kept do not say. */
  holds: line().optional(),
});

export const lockSchema = z.strictObject({
  format: z.literal(1),
  /** Digest of the image index behind each base reference of images.yaml. */
  bases: z.record(line(), digest).default({}),
  images: z
    .record(
      line(),
      z.strictObject({
        /** The packages of a bootstrapped base. */
        bootstrap: perPlatform(packageSet).optional(),
        packages: z.record(line(), perPlatform(packageSet)).optional(),
        python: perPlatform(pythonSet).optional(),
        dynamic: z.record(line(), dynamicProject).optional(),
      }),
    )
    .default({}),
  /** tool → source → version → platform → file. */
  tools: z.record(line(), z.record(line(), z.record(version, perPlatform(lockedFile)))).default({}),
});

export type Lock = z.infer<typeof lockSchema>;
export type PackageSet = z.infer<typeof packageSet>;
export type PythonSet = z.infer<typeof pythonSet>;
