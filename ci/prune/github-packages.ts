import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import { jsonOf } from "../../dagger/src/pipeline/oci/guards.js";
import type { FoundCredentials } from "../../dagger/src/registry/auth/credentials.js";
import { openHttp } from "../../dagger/src/registry/http/http-client.js";
import { type HttpOptions, type Whole } from "../../dagger/src/registry/http/types.js";
import { nextLink } from "../../dagger/src/registry/api/listing.js";
import { absent, found, type Lookup, lookUp } from "../../dagger/src/registry/reference/lookup.js";
import { header } from "../../dagger/src/registry/api/manifests.js";
import { outsideUrl } from "../../dagger/src/registry/http/outside-url.js";
import { bareHost, isLoopback } from "../../dagger/src/registry/http/proxy.js";
import type { RepositoryName } from "../../dagger/src/registry/reference/reference.js";
import { withoutEnd } from "../../dagger/src/pipeline/common/without-end.js";

/**
 * GitHub's Packages API, as https://docs.github.com/en/rest/packages/packages (API version 2022-11-28) has it. ghcr.io refuses
 * DELETE of the distribution API (405 UNSUPPORTED), and lists no manifests without a tag; this does both.
 * A version of a container package is a manifest, named by its digest, with all tags that name it: they go together.
 *
 * - `GET /orgs/{org}/packages/container/{name}/versions`, `GET /users/{username}/…`: `id`, `name`, `created_at`, `metadata.container.tags`;
 *   pages of up to 100, the next one by the Link header. A token needs `read:packages`.
 * - `DELETE …/versions/{id}`: 204. A token needs `delete:packages` of somebody with admin rights on the package. A public version with
 *   more than 5,000 downloads cannot be deleted, nor (not documented, answered with 400) the last one that has a tag.
 */
type PackageVersion = {
  id: number;
  digest: string;
  tags: string[];
  /** Milliseconds since the Unix epoch. */
  created: number;
};

type Removed = { state: "deleted" } | { state: "absent" } | { state: "refused"; why: string };

export type Packages = {
  /** Absent where neither an organization nor a user has such a package, or the token may not see it: GitHub answers both with 404. */
  versions(): Promise<Lookup<PackageVersion[]>>;
  /** @throws FactoryError REGISTRY_DENIED, REGISTRY_UNREACHABLE, REGISTRY_FAILED */
  remove(id: number): Promise<Removed>;
};

export type PackagesOptions = HttpOptions & {
  /** `https://api.github.com`, without a slash at its end. */
  api: string;
  name: RepositoryName;
  credentials: () => Promise<FoundCredentials>;
};

/** The API that serves a registry: GitHub's own, or the one that FACTORY_PACKAGES_API names (GitHub Enterprise Server). Null for other registries. */
export const packagesApiOf = (registry: string, env: HttpOptions["env"]): string | null => {
  const named = withoutEnd(env["FACTORY_PACKAGES_API"] ?? "", "/");
  if (named === "") return registry === "ghcr.io" ? "https://api.github.com" : null;
  const url = URL.canParse(named) ? new URL(named) : null;
  if (url !== null && (url.protocol === "https:" || (url.protocol === "http:" && isLoopback(bareHost(url))))) return named;
  throw new FactoryError("USAGE", {
    what: "cannot read FACTORY_PACKAGES_API",
    why: `"${named}" is no https address, and a token is not sent in the clear`,
    fix: "for example: FACTORY_PACKAGES_API=https://github.example.com/api/v3",
  });
};

/** Asks nothing before the first call. */
export const openPackages = (options: PackagesOptions): Packages => {
  const { api, name } = options;
  const http = openHttp(options);
  const [owner = "", ...path] = name.repository.split("/");
  const shown = `${name.registry}/${name.repository}`;
  const below = (kind: "orgs" | "users") =>
    `${api}/${kind}/${encodeURIComponent(owner)}/packages/container/${encodeURIComponent(path.join("/"))}/versions`;
  /** Settled by the first listing: the same paths, under what the owner is. */
  let base: string | null = null;

  const ask = async (method: "GET" | "DELETE", to: string, doing: string): Promise<Whole> => {
    const { credentials, source } = await options.credentials();
    if (credentials?.kind !== "basic") throw noToken(doing, name.registry, source);
    const headers = {
      accept: "application/vnd.github+json",
      "x-github-api-version": "2022-11-28",
      authorization: `Bearer ${credentials.password}`,
    };
    const answer = await http.ask({ about: "packages", method, url: new URL(to), headers });
    if (answer.status === 401 || answer.status === 403 || answer.status === 429) throw refused(answer, doing, source);
    return answer;
  };

  const list = async (first: string, doing: string): Promise<PackageVersion[] | null> => {
    const versions: PackageVersion[] = [];
    for (let next: string | null = `${first}?per_page=100`; next !== null;) {
      const answer: Whole = await ask("GET", next, doing);
      if (answer.status === 404 && versions.length === 0) return null;
      if (answer.status !== 200) throw failed(answer, doing);
      versions.push(...versionsIn(answer, doing));
      const link = nextLink(header(answer, "link"));
      const url: URL | null = link === null ? null : outsideUrl(link, answer.url);
      // The token is for this API and nobody else.
      if (link !== null && url?.origin !== answer.url.origin) throw failed(answer, doing);
      next = url?.href ?? null;
    }
    // A version that is made while pages are read moves the others on: one may come twice.
    return [...new Map(versions.map((version) => [version.id, version])).values()];
  };

  return {
    versions: () =>
      lookUp(async () => {
        for (const kind of ["orgs", "users"] as const) {
          const versions = await list(below(kind), `list the versions of ${shown}`);
          if (versions === null) continue;
          base = below(kind);
          return found(versions);
        }
        return absent;
      }),
    remove: async (id) => {
      const doing = `delete a version of ${shown}`;
      const answer = await ask("DELETE", `${base ?? below("orgs")}/${id}`, doing);
      if (answer.status === 204 || answer.status === 200) return { state: "deleted" };
      if (answer.status === 404) return { state: "absent" };
      if (answer.status === 400 || answer.status === 422) return { state: "refused", why: messageOf(answer) };
      throw failed(answer, doing);
    },
  };
};

type Raw = { id?: unknown; name?: unknown; created_at?: unknown; metadata?: { container?: { tags?: unknown } } };

const versionsIn = (answer: Whole, doing: string): PackageVersion[] => {
  const list = jsonOf(answer.body);
  if (!Array.isArray(list)) throw failed(answer, doing);
  return (list as Raw[]).map(({ id, name, created_at: made, metadata }) => {
    const created = Date.parse(String(made));
    const tags = metadata?.container?.tags ?? [];
    if (typeof id !== "number" || typeof name !== "string" || Number.isNaN(created) || !Array.isArray(tags))
      throw failed(answer, doing);
    return { id, digest: name, created, tags: tags.map(String) };
  });
};

/** The API's own words: `{ "message": …, "documentation_url": … }`. */
const messageOf = (answer: Whole): string => {
  const { message } = (jsonOf(answer.body) ?? {}) as { message?: unknown };
  return typeof message === "string" ? message.replaceAll(/[\p{C}\s]+/gu, " ").slice(0, 300) : `it answered ${answer.status}`;
};

const rightsFix =
  "take a token (classic) with read:packages and delete:packages of somebody with the role admin on the package; in GitHub Actions " +
  "`permissions: packages: write`, and in the package's settings the role Admin for this repository (Manage Actions access)";

const noToken = (doing: string, registry: string, source: string | null): FactoryError =>
  new FactoryError("REGISTRY_DENIED", {
    what: `not allowed to ${doing}`,
    why:
      source === null
        ? `no login for ${registry} was found`
        : `the login from ${source} is no user and token, which GitHub's Packages API needs`,
    fix: `docker login ${registry} with a token, or set FACTORY_REGISTRY_USER and FACTORY_REGISTRY_TOKEN; ${rightsFix}`,
  });

/** A limit is told by 429 or 403 with one of these headers (GitHub, "Rate limits for the REST API"). */
const refused = (answer: Whole, doing: string, source: string | null): FactoryError => {
  const wait = header(answer, "retry-after");
  if (answer.status === 429 || wait !== "" || header(answer, "x-ratelimit-remaining") === "0") {
    return new FactoryError("REGISTRY_UNREACHABLE", {
      what: `${answer.url.host} does not let us ${doing} now`,
      why: `${messageOf(answer)}${wait === "" ? "" : ` (Retry-After ${wait})`}`,
      fix: "run the same command again later; what was deleted stays deleted, the rest is as it was",
    });
  }
  return new FactoryError("REGISTRY_DENIED", {
    what: `not allowed to ${doing}`,
    why: `it answered ${answer.status}: ${messageOf(answer)}${source === null ? "" : `\nthe login is from ${source}`}`,
    fix: rightsFix,
  });
};

const failed = (answer: Whole, doing: string): FactoryError =>
  new FactoryError("REGISTRY_FAILED", {
    what: `cannot ${doing}`,
    why: `${answer.url.host} answered ${answer.status}${answer.status === 200 ? " with something else than a list of versions" : `: ${messageOf(answer)}`}`,
    fix: "check that FACTORY_PACKAGES_API is GitHub's REST API, and https://www.githubstatus.com",
  });
