import * as z from "zod";
import { platformNames } from "./stage.js";

const sha256 = z.string().regex(/^[0-9a-f]{64}$/, "expected 64 hexadecimal digits");
const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/, "expected sha256: and 64 hexadecimal digits");
const perPlatform = <T extends z.ZodType>(value: T) => z.partialRecord(z.enum(platformNames), value);

/** What a package manager is given as one word: never an option. */
const pin = z.string().regex(/^[A-Za-z0-9][!-~]*$/, "expected a package with its version");

/** A set of packages as a resolver of the distribution chose it: what was asked for, and all that it needs. */
const packageSet = z.strictObject({
  /** The names that images.yaml asks for, sorted. */
  requested: z.array(z.string()),
  /** All packages the install brings, sorted, as the manager takes them: `name=version` for apt, `name-epoch:version-release.arch` for dnf. */
  packages: z.array(pin),
});

const pythonSet = z.strictObject({
  /** The Python that it was resolved for: conditions of requirements and wheels depend on it. Locks of before this was kept do not say. */
  version: z.string().optional(),
  /** The requirements that the projects declare, normalised and sorted (PEP 508). */
  requested: z.array(z.string()),
  /** Pinned requirements, each `name==version` with the sha256 of every file that may be installed. */
  packages: z.array(z.strictObject({ pin, sha256: z.array(sha256).min(1) })),
});

/** Metadata that only a build backend knows (setup.py, `dynamic`), as of the inputs with this hash. */
const dynamicProject = z.strictObject({
  inputs: sha256,
  metadata: z.strictObject({
    name: z.string(),
    version: z.string(),
    summary: z.string().nullable(),
    requires: z.array(z.string()),
    requiresPython: z.string().nullable(),
    extras: z.array(z.string()),
    entryPoints: z.array(z.strictObject({ group: z.string(), name: z.string(), value: z.string() })),
  }),
});

const lockedFile = z.strictObject({
  url: z.url().optional(),
  sha256,
  /** The package that it is of and the files in it that are taken, as images.yaml named them. Locks of before this was kept do not say. */
  holds: z.string().optional(),
});

export const lockSchema = z.strictObject({
  format: z.literal(1),
  /** Digest of the image index behind each base reference of images.yaml. */
  bases: z.record(z.string(), digest).default({}),
  images: z
    .record(
      z.string(),
      z.strictObject({
        /** The packages of a bootstrapped base. */
        bootstrap: perPlatform(packageSet).optional(),
        packages: z.record(z.string(), perPlatform(packageSet)).optional(),
        python: perPlatform(pythonSet).optional(),
        dynamic: z.record(z.string(), dynamicProject).optional(),
      }),
    )
    .default({}),
  /** tool → source → version → platform → file. */
  tools: z.record(z.string(), z.record(z.string(), z.record(z.string(), perPlatform(lockedFile)))).default({}),
});

export type Lock = z.infer<typeof lockSchema>;
export type PackageSet = z.infer<typeof packageSet>;
export type PythonSet = z.infer<typeof pythonSet>;
