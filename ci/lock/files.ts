import { createHash, type Hash } from "node:crypto";
import * as z from "zod";
import { FactoryError } from "../../dagger/src/pipeline/error.js";
import { architectureOf, type Platform } from "../../dagger/src/pipeline/stage.js";
import { shownUrl as shown } from "../../dagger/src/registry/proxy.js";
import { ask, chunks, text, unreachable, type Answer, type Net } from "./http.js";
import { wheelFit } from "./wheel.js";

export type ResolvedFile = { url: string; sha256: string };

/**
 * Downloads a file to learn its hash; nothing is kept.
 * @throws FactoryError VERSION_UNKNOWN (the server has no such file), MIRROR_UNREACHABLE, INTERRUPTED
 */
export async function resolveToolFile(file: { url: string }, net: Net): Promise<ResolvedFile> {
  const sha256 = createHash("sha256");
  await hashInto(await found(file.url, net, `no file at ${shown(file.url)}`), [sha256]);
  return { url: file.url, sha256: sha256.digest("hex") };
}

export type PypiRequest = { package: string; version: string; platform: Platform; python: string };

const simpleProject = z.object({
  files: z.array(
    z.object({
      filename: z.string(),
      url: z.string(),
      hashes: z.object({ sha256: z.string().optional() }),
      yanked: z.unknown(),
    }),
  ),
});

/**
 * The wheel of an exact version that pip would choose on the platform (glibc 2.34), with the hash that the index gives.
 * The index is PIP_INDEX_URL, UV_DEFAULT_INDEX or PyPI; the answer's `url` holds no credentials but is of that index.
 * @throws FactoryError VERSION_UNKNOWN (no such version, or no wheel that fits), MIRROR_UNREACHABLE, INTERRUPTED
 */
export async function resolvePypiFile(request: PypiRequest, net: Net): Promise<ResolvedFile & { filename: string }> {
  const index = (net.env["PIP_INDEX_URL"] ?? net.env["UV_DEFAULT_INDEX"] ?? "https://pypi.org/simple").replace(/\/+$/, "");
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
  return { filename: best.filename, url: best.url, sha256: best.sha256 };
}

type SimpleFile = { filename: string; url: string; sha256: string | null };

/** A page of a package index, in either form that indexes speak: JSON (PEP 691) or HTML (PEP 503). */
export function readSimple(page: string, from: string): SimpleFile[] {
  const absolute = (address: string) => {
    const url = new URL(address, from);
    url.username = url.password = url.hash = "";
    return url.href;
  };
  if (page.trimStart().startsWith("{"))
    return simpleProject.parse(JSON.parse(page)).files.map(({ filename, url, hashes }) => ({
      filename,
      url: absolute(url),
      sha256: hashes.sha256 ?? null,
    }));
  return [...page.matchAll(/<a\b[^>]*\bhref="([^"]+)"[^>]*>([^<]+)<\/a>/gi)].map(([, href = "", filename = ""]) => ({
    filename: filename.trim(),
    url: absolute(href.replaceAll("&amp;", "&")),
    sha256: /#.*\bsha256=([0-9a-f]{64})/.exec(href)?.[1] ?? null,
  }));
}

const versionOf = (filename: string): string | null => {
  const version = /^[^-]+-([^-]+)-.*\.whl$/.exec(filename)?.[1];
  return version === undefined ? null : normal(version);
};
const normal = (version: string): string =>
  version
    .toLowerCase()
    .replace(/^v/, "")
    .replace(/(\.0)+$/, "");

const npmVersion = z.object({
  dist: z.object({
    tarball: z.string(),
    integrity: z.string().optional(),
    shasum: z.string().optional(),
  }),
});

/**
 * The tarball of an npm package's exact version; downloaded, checked against the registry's integrity, and hashed.
 * The registry is npm_config_registry (or NPM_CONFIG_REGISTRY), else npm's.
 * @throws FactoryError VERSION_UNKNOWN, CHECKSUM_MISMATCH, MIRROR_UNREACHABLE, INTERRUPTED
 */
export async function resolveNpmFile(request: { package: string; version: string }, net: Net): Promise<ResolvedFile> {
  const setting = net.env["npm_config_registry"] ?? net.env["NPM_CONFIG_REGISTRY"] ?? "https://registry.npmjs.org";
  const registry = setting.replace(/\/+$/, "");
  const label = `${request.package} ${request.version}`;
  const path = `${request.package.replace("/", "%2f")}/${encodeURIComponent(request.version)}`;
  const answer = await found(`${registry}/${path}`, net, `${shown(registry)} has no ${label}`, {
    accept: "application/json",
  });
  const { dist } = npmVersion.parse(JSON.parse(await text(answer)));
  const [algorithm = "", wanted = ""] = (dist.integrity ?? "").split(/\s+/)[0]?.split(/-(.*)/s) ?? [];
  const sha256 = createHash("sha256");
  const integrity = algorithm === "sha512" ? createHash("sha512") : createHash("sha1");
  await hashInto(await found(dist.tarball, net, `no file at ${shown(dist.tarball)}`), [sha256, integrity]);
  const matches = algorithm === "sha512" ? integrity.digest("base64") === wanted : integrity.digest("hex") === dist.shasum;
  if (!matches)
    throw new FactoryError("CHECKSUM_MISMATCH", {
      what: `the file of ${label} is not what the registry says it is`,
      why: `${shown(dist.tarball)} does not match ${dist.integrity ?? dist.shasum ?? "any integrity of its metadata"}`,
      fix: "try again; if it stays so, do not use that registry",
    });
  return { url: dist.tarball, sha256: sha256.digest("hex") };
}

async function hashInto(answer: Answer, hashes: readonly Hash[]): Promise<void> {
  const promised = answer.headers["content-length"];
  let size = 0;
  for await (const part of chunks(answer)) {
    size += part.length;
    for (const hash of hashes) hash.update(part);
  }
  if (promised !== undefined && Number(promised) !== size)
    throw unreachable(answer.url, new Error(`${size} of ${promised} bytes arrived`));
}

async function found(url: string, net: Net, missing: string, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
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
