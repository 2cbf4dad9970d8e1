/**
 * # dagger/src/registry/reference
 *
 * Names of registries, repositories, tags and digests, and the three answers to a question: found, absent, unknown. An unknown answer is never
 * taken for an absent one.
 */
import { FactoryError } from "../../pipeline/common/error.js";

/** A repository of a registry: `ghcr.io` and `acme/image-factory`. */
export type RepositoryName = {
  /** As people write it, with its port: `ghcr.io`, `localhost:5000`, `docker.io`. */
  registry: string;
  /** Path in the registry; Docker's own images have `library/` before them. */
  repository: string;
};

/** What an image is called by. With a digest the tag is only a comment. */
export type Reference = RepositoryName & { tag: string | null; digest: string | null };

/** Docker Hub by each of the names that people and configurations use for it. */
const dockerHub = new Set(["docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"]);

const hostPattern =
  /^(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])(?::\d{1,5})?$/;
// OCI distribution spec 1.1, "Pulling manifests": <name>, <reference>; OCI image spec 1.1, descriptor.md: digests.
const repositoryPattern = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const tagPattern = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
const digestPattern = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

export const isDigest = (text: string): boolean => digestPattern.test(text);
export const isTag = (text: string): boolean => tagPattern.test(text);

/** Docker's rule for the first part of a name: a host has a dot, a port, or is localhost (distribution/reference, normalize.go). */
const looksLikeHost = (part: string): boolean => /[.:[]/.test(part) || part === "localhost";

/**
 * Reads `host[:port]/name[:tag][@digest]` as Docker does: no host means Docker Hub. A missing tag stays null.
 * @throws FactoryError REFERENCE_INVALID
 */
export const parseReference = (text: string): Reference => {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text))
    throw invalid(text, "an image reference has no scheme", `write ${text.replace(/^[^:]*:\/\//, "")}`);
  const [named = "", digest = null, ...more] = text.split("@");
  if (more.length > 0) throw invalid(text, "more than one @", example);
  if (digest !== null && !isDigest(digest))
    throw invalid(text, `"${digest}" is no digest: sha256: and 64 digits from 0-9a-f`, "copy the digest whole, or leave @… away");
  const slash = named.lastIndexOf("/");
  const colon = named.indexOf(":", slash + 1);
  const tag = colon < 0 ? null : named.slice(colon + 1);
  if (tag !== null && !isTag(tag))
    throw invalid(
      text,
      `"${tag}" is no tag: up to 128 of A-Z a-z 0-9 . _ -, no . or - first`,
      "correct what follows the last colon",
    );
  return { ...parseRepository(colon < 0 ? named : named.slice(0, colon), text), tag, digest };
};

/**
 * Reads `host[:port]/name`.
 * @param text what messages call it, where it is a part of something longer
 * @throws FactoryError REFERENCE_INVALID
 */
export const parseRepository = (name: string, text: string = name): RepositoryName => {
  const slash = name.indexOf("/");
  const first = slash < 0 ? "" : name.slice(0, slash);
  const hasHost = first !== "" && looksLikeHost(first);
  const path = hasHost ? name.slice(slash + 1) : name;
  const registry = hasHost ? parseRegistry(first, text) : "docker.io";
  // Docker Hub's own images have no dots: `ghcr.io` alone is a registry whose repository was forgotten.
  if (!repositoryPattern.test(path) || (slash < 0 && path.includes(".")))
    throw invalid(text, repositoryProblem(path, slash < 0), example);
  // Together with the host a name has at most 255 characters in most registries (OCI distribution spec 1.1).
  if (registry.length + 1 + path.length > 255) throw invalid(text, "longer than 255 characters", "shorten the repository");
  return { registry, repository: registry === "docker.io" && !path.includes("/") ? `library/${path}` : path };
};

/** Reads `host[:port]`. @throws FactoryError REFERENCE_INVALID */
export const parseRegistry = (host: string, text: string = host): string => {
  const port = /:(\d+)$/.exec(host)?.[1];
  if (!hostPattern.test(host) || (port !== undefined && (Number(port) < 1 || Number(port) > 65_535)))
    throw invalid(text, `"${host}" is no host:port`, "for example: ghcr.io, or registry.example.com:5000");
  return canonicalHost(host);
};

/** One name for one registry: lower case, and Docker Hub by the name it goes by. */
export const canonicalHost = (host: string): string => {
  const lower = host.toLowerCase();
  return dockerHub.has(lower) ? "docker.io" : lower;
};

/** Where the registry's API answers; Docker Hub's is not at the name it goes by. */
export const apiHost = (registry: string): string => (registry === "docker.io" ? "registry-1.docker.io" : registry);

/** `registry/repository[:tag][@digest]`, whole. */
export const referenceText = ({ registry, repository, tag = null, digest = null }: RepositoryName & Partial<Reference>): string =>
  `${registry}/${repository}${tag === null ? "" : `:${tag}`}${digest === null ? "" : `@${digest}`}`;

const example = "for example: ghcr.io/acme/image-factory:1.2";

const repositoryProblem = (path: string, alone: boolean): string => {
  if (path === "") return "no repository";
  if (alone && /[.:]/.test(path)) return `"${path}" is a host without a repository, or a name with odd characters`;
  if (path !== path.toLowerCase()) return `"${path}" has capitals: a repository is lower case`;
  return `"${path}" is no repository: a-z 0-9, with . _ - between them, parts apart by /`;
};

const invalid = (text: string, why: string, fix: string): FactoryError => {
  const named = text.replace(/@sha\d+:[^@]*$/, "");
  const [login, rest] = [named.slice(0, Math.max(0, named.lastIndexOf("@"))), named.slice(named.lastIndexOf("@"))];
  // Of what may be a password nothing is shown, neither whole nor in part.
  const told =
    login.includes(":") && rest.includes("/")
      ? {
          what: JSON.stringify(`…${rest}`),
          why: "user and password have no place in it",
          fix: "leave them out: a login is that of docker login, or FACTORY_REGISTRY_USER and FACTORY_REGISTRY_TOKEN",
        }
      : { what: JSON.stringify(text), why, fix };
  return new FactoryError("REFERENCE_INVALID", { ...told, what: `not an image reference: ${told.what}` });
};
