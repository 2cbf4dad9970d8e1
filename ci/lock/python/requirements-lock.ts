/**
 * # ci/lock/python
 *
 * Resolves Python requirements by asking uv, and dynamic metadata by asking the build backend. No version is chosen here.
 */
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parse } from "smol-toml";
import * as z from "zod";
import { FactoryError } from "../../../dagger/src/pipeline/common/error.js";
import type { PythonSet } from "../../../dagger/src/pipeline/config/lock.js";
import type { Platform } from "../../../dagger/src/pipeline/common/stage.js";
import { run } from "../../host/process.js";
import { misshapen, readAnswer } from "../common/answer.js";
import type { Net } from "../common/http.js";
import { limited, metLimit } from "../common/limited.js";
import { findUv } from "./uv.js";

export type PythonRequest = {
  /** Requirements of all projects of the image together (PEP 508). */
  requires: readonly string[];
  /** The image's Python: "3.11". */
  pythonVersion: string;
  platforms: readonly Platform[];
  /** What is locked already: its versions are kept where they still fit. */
  held?: Partial<Record<Platform, PythonSet>>;
  /** builder/host-tools.txt. */
  hostTools: string;
  /** An existing folder for temporary files; the caller removes it. */
  work: string;
  /** The user's cache folder. */
  cache: string;
  net: Net;
};

/** glibc 2.34 is what UBI 9 has; Debian 12 (2.36) runs everything made for it. */
const UV_PLATFORM = {
  "linux/amd64": "x86_64-manylinux_2_34",
  "linux/arm64": "aarch64-manylinux_2_34",
} satisfies Record<Platform, string>;

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const hashes = z.object({ hashes: z.object({ sha256: sha256.optional() }) });
/** The part of PEP 751's pylock.toml that is read; uv has left out the wheels that do not fit the platform. */
const pylock = z.object({
  packages: z
    .array(
      z.object({
        name: z.string().regex(/^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?$/),
        version: z
          .string()
          .regex(/^[A-Za-z0-9.!+_-]+$/)
          .optional(),
        wheels: z.array(hashes).default([]),
        sdist: hashes.optional(),
        vcs: z.unknown().optional(),
        directory: z.unknown().optional(),
        archive: z.unknown().optional(),
      }),
    )
    .default([]),
});

/**
 * The closure of Python requirements, one resolution a platform: pins with the sha256 of every wheel that the platform can
 * install, or of the source distribution where there is no such wheel.
 * @throws FactoryError CONFIG_INVALID (no solution, or a direct reference), MIRROR_UNREACHABLE, HOST_TOOL_MISSING, CHECKSUM_MISMATCH, INTERRUPTED
 */
export async function resolvePython(request: PythonRequest): Promise<Partial<Record<Platform, PythonSet>>> {
  const requested = [...new Set(request.requires.map((one) => one.trim()))].sort();
  if (requested.length === 0)
    return Object.fromEntries(request.platforms.map((platform) => [platform, { requested, packages: [] }]));
  const uv = await findUv(request.hostTools, request.cache, request.net);
  const input = join(request.work, "requirements.in");
  await mkdir(request.work, { recursive: true });
  await writeFile(input, `${requested.join("\n")}\n`);
  const sets: Partial<Record<Platform, PythonSet>> = {};
  for (const platform of request.platforms) sets[platform] = { requested, packages: await compile(uv, input, platform, request) };
  return sets;
}

async function compile(uv: string, input: string, platform: Platform, request: PythonRequest): Promise<PythonSet["packages"]> {
  const how = ["--quiet", "--no-config", "--no-header", "--no-annotate", "--no-python-downloads"];
  const target = ["--python-version", request.pythonVersion, "--python-platform", UV_PLATFORM[platform]];
  const output = join(request.work, "pylock.toml");
  const held = request.held?.[platform]?.packages ?? [];
  await rm(output, { force: true });
  if (held.length > 0) await writeFile(output, heldText(held));
  const args = ["pip", "compile", input, ...how, "--generate-hashes", "--format", "pylock.toml", "-o", output, ...target];
  const done = await run(...limited(uv, args), {
    cwd: request.work,
    env: {
      ...indexSettings(request.net.env),
      UV_CACHE_DIR: join(request.cache, "uv"),
      NO_COLOR: "1",
    },
    ...(request.net.signal === undefined ? {} : { signal: request.net.signal }),
  });
  if (metLimit(done))
    throw misshapen(
      "the Python package index",
      `uv was ended by a signal, as it is when an answer is too large\n${done.stderr.trim().slice(0, 300)}`,
    );
  if (done.exitCode !== 0) throw compileFailed(platform, request.pythonVersion, done.stderr.trim());
  return readPylock(await readFile(output, "utf8"));
}

/** What uv finds where it writes: versions that it keeps while they fit. */
const heldText = (packages: PythonSet["packages"]): string =>
  [
    'lock-version = "1.0"\ncreated-by = "image-factory"\n',
    ...packages.map(({ pin }) => {
      const [name = "", version = ""] = pin.split("==");
      return `[[packages]]\nname = ${JSON.stringify(name)}\nversion = ${JSON.stringify(version)}\n`;
    }),
  ].join("\n");

/** pylock.toml → pins with hashes. @throws FactoryError CONFIG_INVALID for a package that no index serves, MIRROR_FAILED (of another form) */
export function readPylock(text: string): PythonSet["packages"] {
  const { packages } = readAnswer("uv", () => pylock.parse(parse(text)));
  return packages.map(({ name, version, wheels, sdist, vcs, directory, archive }) => {
    const files = wheels.length > 0 ? wheels : sdist === undefined ? [] : [sdist];
    const [first, ...rest] = files.flatMap((file) => file.hashes.sha256 ?? []).sort();
    if (version === undefined || first === undefined || (vcs ?? directory ?? archive) !== undefined) throw notFromIndex(name);
    return { pin: `${name}==${version}`, sha256: [first, ...rest] };
  });
}

/** uv does not read pip's settings; a company sets those. What is set for uv itself comes first. */
function indexSettings(env: Net["env"]): Record<string, string | undefined> {
  const ownIndex = env["UV_DEFAULT_INDEX"] ?? env["UV_INDEX_URL"];
  const ownExtra = env["UV_INDEX"] ?? env["UV_EXTRA_INDEX_URL"];
  const certificate = env["SSL_CERT_FILE"] ?? env["PIP_CERT"] ?? env["REQUESTS_CA_BUNDLE"];
  return {
    UV_DEFAULT_INDEX: ownIndex ?? env["PIP_INDEX_URL"],
    UV_INDEX: ownExtra ?? env["PIP_EXTRA_INDEX_URL"],
    ...(certificate === undefined ? { UV_SYSTEM_CERTS: "1" } : { SSL_CERT_FILE: certificate }),
  };
}

/** uv's words for an index that does not answer, or that denies; one that does not have a project answers 404. */
const UNREACHABLE =
  /Failed to fetch|error sending request|dns error|timed out|Connection refused|tls handshake|status code \(?5|\b40[13] (?:Unauthorized|Forbidden)/i;
/** And for one whose answers are of another form. */
const MISSHAPEN = /Received some unexpected|`Content-Type`|Failed to extract|Invalid zip|Failed to read metadata|hash mismatch/i;

const compileFailed = (platform: Platform, version: string, why: string): FactoryError => {
  if (!/404 Not Found/.test(why) && UNREACHABLE.test(why))
    return new FactoryError("MIRROR_UNREACHABLE", {
      what: "cannot read the Python package index",
      why,
      fix: "check the network, PIP_INDEX_URL (or UV_DEFAULT_INDEX) and its login, HTTPS_PROXY and SSL_CERT_FILE; then run the same command again",
    });
  if (MISSHAPEN.test(why)) return misshapen("the Python package index", why);
  return new FactoryError("CONFIG_INVALID", {
    what: `the Python requirements have no solution on ${platform} with Python ${version}`,
    why,
    fix: "change the requirements in the projects' pyproject.toml",
  });
};

const notFromIndex = (name: string): FactoryError =>
  new FactoryError("CONFIG_INVALID", {
    what: `the Python requirement ${name} cannot be locked`,
    why: "it is a direct reference (a URL, a repository or a folder), or no index gives a hash for it",
    fix: `require ${name} by version from a package index, or bake its sources in with the application stage`,
  });
