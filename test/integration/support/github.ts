import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Repository } from "../../../dagger/src/registry/client.js";
import { known } from "../../../dagger/src/registry/reference/lookup.js";
import type { TestRegistry } from "./registry.js";

/** A request that came in, and how it was answered. */
type GithubRequest = { method: string; path: string; status: number; authorization: string | null };

export type TestGithub = {
  /** `http://127.0.0.1:port`: what FACTORY_PACKAGES_API names. */
  api: string;
  log: GithubRequest[];
  /** When each version was made, by digest; the others at `created`. Milliseconds since the Unix epoch. */
  ages: Map<string, number>;
  /** Digests that more than 5,000 people have downloaded. */
  popular: Set<string>;
  stop(): Promise<void>;
};

export type GithubSetup = {
  registry: TestRegistry;
  repository: Repository;
  /** What the owner is; the other kind's paths answer 404. */
  owner: "orgs" | "users";
  token: string;
  /** Milliseconds since the Unix epoch. */
  created: () => number;
  /** Versions on a page at most, below the 100 that are documented: so that a few versions make several pages. */
  page?: number;
};

/**
 * OUR READING of GitHub's documentation of the Packages API, over the content of a real registry; it is not GitHub, and proves nothing about it.
 *
 * From https://docs.github.com/en/rest/packages/packages (2022-11-28): the paths for organizations and users, `id`, `name`, `created_at`,
 * `metadata.container.tags`, 204 for a deletion, 401/403/404, public versions with more than 5,000 downloads. From "Using pagination in the REST
 * API": `per_page`, `page`, the Link header. Not documented, as users report it (actions/delete-package-versions issue 231, kairos-io/kairos issue 4723):
 * 400 "You cannot delete the last tagged version of a package. You must delete the package instead." A version's `name` is the manifest's digest
 * (seen in vlaurin/action-ghcr-prune issue 27); deleting a version takes all its tags with it (numberly/vault-db-injector pull request 78).
 */
export const startGithub = async (setup: GithubSetup): Promise<TestGithub> => {
  const { registry, repository, page = 100 } = setup;
  const [owner = "", ...rest] = repository.repository.split("/");
  const base = `/${setup.owner}/${owner}/packages/container/${encodeURIComponent(rest.join("/"))}/versions`;
  const log: GithubRequest[] = [];
  const ages = new Map<string, number>();
  const popular = new Set<string>();
  const ids = new Map<string, number>();

  const versions = async () => {
    const digests = await registry.manifests(repository.repository);
    const tags = new Map<string, string[]>();
    for (const tag of known(await repository.tags()) ?? []) {
      const head = known(await repository.headManifest(tag));
      if (head !== null) tags.set(head.digest, [...(tags.get(head.digest) ?? []), tag]);
    }
    for (const digest of digests) if (!ids.has(digest)) ids.set(digest, 1000 + ids.size);
    return digests
      .map((digest) => ({
        id: ids.get(digest)!,
        name: digest,
        url: `${api}${base}/${ids.get(digest)!}`,
        package_html_url: `https://github.com/${setup.owner}/${owner}/packages/container/package/${rest.join("/")}`,
        created_at: new Date(ages.get(digest) ?? setup.created()).toISOString().replace(/\.\d+/, ""),
        updated_at: new Date(setup.created()).toISOString().replace(/\.\d+/, ""),
        metadata: { package_type: "container", container: { tags: tags.get(digest) ?? [] } },
      }))
      .sort((a, b) => b.id - a.id);
  };

  type Reply = { status: number; body?: unknown; headers?: Record<string, string> };
  const message = (status: number, text: string): Reply => ({
    status,
    body: { message: text, documentation_url: "https://docs.github.com/rest/packages/packages", status: String(status) },
  });

  const answer = async (request: IncomingMessage, url: URL): Promise<Reply> => {
    const { authorization, accept, "x-github-api-version": version } = request.headers;
    if (authorization !== `Bearer ${setup.token}`) return message(401, "Bad credentials");
    if (accept !== "application/vnd.github+json" || version !== "2022-11-28") return message(400, "Invalid request.");
    const all = await versions();
    if (request.method === "GET" && url.pathname === base && all.length > 0) {
      const size = Math.min(page, Number(url.searchParams.get("per_page") ?? 30));
      const at = Number(url.searchParams.get("page") ?? 1);
      const last = Math.ceil(all.length / size);
      const to = (number: number, rel: string) => `<${api}${base}?per_page=${size}&page=${number}>; rel="${rel}"`;
      const links = [
        ...(at > 1 ? [to(at - 1, "prev")] : []),
        ...(at < last ? [to(at + 1, "next"), to(last, "last")] : []),
        ...(at > 1 ? [to(1, "first")] : []),
      ];
      return {
        status: 200,
        body: all.slice((at - 1) * size, at * size),
        ...(links.length === 0 ? {} : { headers: { link: links.join(", ") } }),
      };
    }
    const id = url.pathname.startsWith(`${base}/`) ? Number(url.pathname.slice(base.length + 1)) : Number.NaN;
    const found = all.find((one) => one.id === id);
    if (request.method !== "DELETE" || found === undefined) return message(404, "Not Found");
    if (popular.has(found.name))
      return message(
        400,
        "Publicly visible package versions with more than 5000 downloads cannot be deleted. Contact GitHub support for further assistance.",
      );
    const tagged = all.filter(({ metadata }) => metadata.container.tags.length > 0);
    if (tagged.length === 1 && tagged[0] === found)
      return message(400, "You cannot delete the last tagged version of a package. You must delete the package instead.");
    await repository.deleteManifest(found.name);
    return { status: 204 };
  };

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? "/", api);
    const { status, body, headers = {} } = await answer(request, url);
    log.push({
      method: request.method ?? "",
      path: url.pathname + url.search,
      status,
      authorization: request.headers.authorization ?? null,
    });
    response.writeHead(status, { "content-type": "application/json; charset=utf-8", ...headers });
    response.end(body === undefined ? "" : JSON.stringify(body));
  };

  const server = createServer((request, response) => void handle(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const api = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    api,
    log,
    ages,
    popular,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
};
