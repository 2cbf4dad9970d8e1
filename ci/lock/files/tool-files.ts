/**
 * # ci/lock/files
 *
 * Resolves tools that are downloaded: the address and the checksum of each file. A version that is locked once does not move.
 */
import { createHash, type Hash } from "node:crypto";
import { open } from "node:fs/promises";
import * as z from "zod";
import { FactoryError } from "../../../dagger/src/pipeline/common/error.js";
import { architectureOf, type Platform } from "../../../dagger/src/pipeline/common/stage.js";
import { readJson } from "../common/answer.js";
import {
  ask,
  type LockResponse,
  chunks,
  limits,
  type Net,
  shownAddress as shown,
  text,
  unreachable,
  urlOf,
} from "../common/http.js";
import { readSimple } from "../python/simple-index.js";
import { wheelFit } from "./wheel.js";
import { withoutEnd } from "../../../dagger/src/pipeline/common/without-end.js";

export { readSimple };

export type ResolvedFile = { url: string; sha256: string };

/**
 * Downloads a file to learn its hash.
 * @param into where the file is kept; by default nothing is
 * @throws FactoryError VERSION_UNKNOWN (the server has no such file), MIRROR_UNREACHABLE, MIRROR_FAILED (too large), INTERRUPTED
 */
export async function resolveToolFile(file: { url: string }, net: Net, into?: string): Promise<ResolvedFile> {
  const sha256 = createHash("sha256");
  await hashInto(await found(file.url, net, `no file at ${shown(file.url)}`), [sha256], into);
  return { url: file.url, sha256: sha256.digest("hex") };
}

export type PypiRequest = { package: string; version: string; platform: Platform; python: string };

/**
 * The wheel of an exact version that pip would choose on the platform (glibc 2.34), with the hash that the index gives.
 * The index is PIP_INDEX_URL, UV_DEFAULT_INDEX or PyPI; the answer's `url` holds no credentials but is of that index.
 * @param into where the wheel is kept, once it is downloaded and checked; by default it is not downloaded
 * @throws FactoryError VERSION_UNKNOWN (no such version, or no wheel that fits), CHECKSUM_MISMATCH, MIRROR_UNREACHABLE, MIRROR_FAILED, INTERRUPTED
 */
export async function resolvePypiFile(
  request: PypiRequest,
  net: Net,
  into?: string,
): Promise<ResolvedFile & { filename: string }> {
  const index = withoutEnd(net.env["PIP_INDEX_URL"] ?? net.env["UV_DEFAULT_INDEX"] ?? "https://pypi.org/simple", "/");
  const name = request.package.toLowerCase().replace(/[-_.]+/g, "-");
  const headers = { accept: "application/vnd.pypi.simple.v1+json, text/html;q=0.5" };
  const answer = await found(`${index}/${name}/`, net, `no package ${name} at ${shown(index)}`, headers);
  const page = await text(answer);
  const files = readSimple(page, answer.url).filter(({ filename }) => versionOf(filename) === normal(request.version));
  const target = {
    architecture: architectureOf(request.platform),
    python: request.python,
    glibc: "2.34",
  };
  const fitting = files
    .map((file) => ({ file, fit: wheelFit(file.filename, target) }))
    .filter(({ file, fit }) => fit !== null && file.sha256 !== null)
    .sort((a, b) => (b.fit ?? 0) - (a.fit ?? 0) || (a.file.filename < b.file.filename ? -1 : 1));
  const best = fitting[0]?.file;
  if (best === undefined || best.sha256 === null)
    throw unknown(
      files.length === 0
        ? `${name} has no version ${request.version} at ${shown(index)}`
        : `no wheel of ${name} ${request.version} fits ${request.platform} with Python ${request.python}`,
      files.map(({ filename }) => filename).join("\n") || "the index lists other versions only",
    );
  const { filename, url, sha256 } = best;
  if (into !== undefined) {
    const arrived = await resolveToolFile({ url: withLogin(url, index) }, net, into);
    if (arrived.sha256 !== sha256) throw mismatch(filename, `${shown(url)} does not have the sha256 that the index gives`);
  }
  return { filename, url, sha256 };
}

/** A file of the index's own host is asked for with the index's login. */
const withLogin = (address: string, index: string): string => {
  const [url, from] = [new URL(address), urlOf(index)];
  if (from?.host === url.host) [url.username, url.password] = [from.username, from.password];
  return url.href;
};

const versionOf = (filename: string): string | null => {
  const version = /^[^-]+-([^-]+)-.*\.whl$/.exec(filename)?.[1];
  return version === undefined ? null : normal(version);
};
const normal = (version: string): string => withoutEnd(version.toLowerCase().replace(/^v/, ""), ".0");

const npmVersion = z.object({
  dist: z.object({
    tarball: z.url({ protocol: /^https?$/ }),
    integrity: z.string().optional(),
    shasum: z.string().optional(),
  }),
});

/**
 * The tarball of an npm package's exact version; downloaded, checked against the registry's integrity, and hashed.
 * The registry is npm_config_registry (or NPM_CONFIG_REGISTRY), else npm's.
 * @param into where the tarball is kept; by default it is not
 * @throws FactoryError VERSION_UNKNOWN, CHECKSUM_MISMATCH, MIRROR_UNREACHABLE, MIRROR_FAILED, INTERRUPTED
 */
export async function resolveNpmFile(
  request: { package: string; version: string },
  net: Net,
  into?: string,
): Promise<ResolvedFile> {
  const setting = net.env["npm_config_registry"] ?? net.env["NPM_CONFIG_REGISTRY"] ?? "https://registry.npmjs.org";
  const registry = withoutEnd(setting, "/");
  const label = `${request.package} ${request.version}`;
  const path = `${request.package.replace("/", "%2f")}/${encodeURIComponent(request.version)}`;
  const answer = await found(`${registry}/${path}`, net, `${shown(registry)} has no ${label}`, {
    accept: "application/json",
  });
  const { dist } = readJson(shown(answer.url), await text(answer), npmVersion);
  const [algorithm, wanted] = integrityOf(dist);
  const sha256 = createHash("sha256");
  const integrity = createHash(algorithm);
  await hashInto(await found(dist.tarball, net, `no file at ${shown(dist.tarball)}`), [sha256, integrity], into);
  if (integrity.digest("hex") !== wanted)
    throw mismatch(
      label,
      `${shown(dist.tarball)} does not match ${dist.integrity ?? dist.shasum ?? "any integrity of its metadata"}`,
    );
  const url = new URL(dist.tarball);
  url.username = url.password = url.hash = "";
  return { url: url.href, sha256: sha256.digest("hex") };
}

/** The strongest hash that a registry gives of a tarball, in hexadecimal digits; empty where it gives none that is known. */
const integrityOf = (dist: { integrity?: string | undefined; shasum?: string | undefined }): readonly [string, string] => {
  const given = (dist.integrity ?? "").split(/\s+/);
  for (const algorithm of ["sha512", "sha384", "sha256", "sha1"]) {
    const one = given.find((text) => text.startsWith(`${algorithm}-`));
    if (one !== undefined) return [algorithm, Buffer.from(one.slice(algorithm.length + 1), "base64").toString("hex")];
  }
  return ["sha1", dist.shasum?.toLowerCase() ?? ""];
};

async function hashInto(answer: LockResponse, hashes: readonly Hash[], into?: string): Promise<void> {
  const promised = answer.headers["content-length"];
  let size = 0;
  const kept = into === undefined ? null : await open(into, "w");
  try {
    for await (const part of chunks(answer, limits.file)) {
      size += part.length;
      for (const hash of hashes) hash.update(part);
      await kept?.writeFile(part);
    }
  } finally {
    await kept?.close();
  }
  if (promised !== undefined && Number(promised) !== size)
    throw unreachable(answer.url, new Error(`${size} of ${promised} bytes arrived`));
}

async function found(
  url: string,
  net: Net,
  missing: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<LockResponse> {
  const answer = await ask(url, net, { headers });
  if (answer.status === 200) return answer;
  answer.discard();
  if (answer.status === 404 || answer.status === 410) throw unknown(missing, `${shown(answer.url)} answered ${answer.status}`);
  throw unreachable(answer.url, new Error(`it answered ${answer.status}`));
}

const unknown = (what: string, why: string): FactoryError =>
  new FactoryError("VERSION_UNKNOWN", {
    what,
    why,
    fix: "correct the version or the address of the tool in images.yaml",
  });

const mismatch = (label: string, why: string): FactoryError =>
  new FactoryError("CHECKSUM_MISMATCH", {
    what: `the file of ${label} is not what the registry says it is`,
    why,
    fix: "try again; if it stays so, do not use that registry",
  });
