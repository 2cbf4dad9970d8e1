import type { Secret } from "@dagger.io/dagger";
import type { Store } from "../build/ports.js";
import { type RegistryCache, registryStageCache } from "../build/registry-stage-cache.js";
import type { BesideImage } from "../distribution/beside-image.js";
import { FactoryError } from "../pipeline/common/error.js";
import { anonymous, explicitCredentials } from "../registry/auth/credentials.js";
import { openRepository, type Repository } from "../registry/client.js";
import { isLoopback } from "../registry/http/proxy.js";
import { parseRepository, type RepositoryName } from "../registry/reference/reference.js";

/** Where an image goes, and who sends it there. */
export type Address = {
  /** `registry/repository`. */
  name: string;
  username: string | undefined;
  token: Secret | undefined;
  /** Without TLS. */
  plainHttp: boolean;
  /** A file with further certificate authorities that the registry's certificate may be of. */
  caFile: string | null;
};

/**
 * The repository of an address. The token goes into the request's header and nowhere else.
 * @throws FactoryError USAGE for a registry on loopback, and for a token without a name or the other way round; REFERENCE_INVALID
 */
export const openHome = async (address: Address): Promise<Repository> => {
  const { registry, repository } = parseRepository(address.name);
  refuseLoopback(registry);
  const login = await loginOf(address);
  const env = {
    ...process.env,
    ...(address.plainHttp ? { FACTORY_PLAIN_HTTP: registry } : {}),
    ...(address.caFile === null ? {} : { FACTORY_CA_FILE: address.caFile }),
  };
  return openRepository({ registry, repository, access: "push", env, credentials: async () => login });
};

const loginOf = async ({ username, token }: Address) => {
  const [user, secret] = [username ?? null, token ?? null];
  if (user !== null && secret !== null) return explicitCredentials(user, await secret.plaintext(), "--username and --token");
  if (user === null && secret === null) return anonymous;
  throw new FactoryError("USAGE", {
    what: user === null ? "a token without a username" : "a username without a token",
    why: "a registry takes both, or neither",
    fix: "--username NAME --token env:TOKEN",
  });
};

/** Inside a module loopback is the container of the function, whatever listens on the caller's machine. @throws FactoryError USAGE */
const refuseLoopback = (registry: RepositoryName["registry"]): void => {
  if (!isLoopback(registry.replace(/:\d+$/, "").replace(/^\[|\]$/g, ""))) return;
  throw new FactoryError("USAGE", {
    what: `${registry} cannot be reached from a function`,
    why: "a function runs in a container of the engine, and loopback is that container's own",
    fix: "name the registry by an address that the engine's machine knows (its host name or network address), or publish from here with the command line of image-factory",
  });
};

/** Whether executed stages are neither looked up nor kept in the repository, looked up, or both. */
export const cacheModes = ["off", "read", "write"] as const;
export type CacheMode = (typeof cacheModes)[number];

/** The executed stages in an image's own repository. A stage that the registry does not take is executed again next time. */
export function repositoryCache(store: Store, home: Repository, beside: BesideImage, mode: CacheMode): RegistryCache {
  return registryStageCache({
    store,
    signal: new AbortController().signal,
    now: Date.now,
    unanswered: "fail",
    read: [{ repository: home, trust: store.trust }],
    keepIn: mode === "write" ? home : null,
    repository: () => home,
    async unread(_, pulled) {
      try {
        await beside.unread(home, pulled.error);
        return { state: "absent" };
      } catch {
        return { ...pulled, error: unanswered(home, pulled.why) };
      }
    },
    unstored(error) {
      throw error;
    },
    unkept: beside.unkept,
    fetching: () => undefined,
    replaced: () => undefined,
  });
}

function unanswered({ name }: Repository, why: string): FactoryError {
  return new FactoryError("REGISTRY_UNREACHABLE", {
    what: `cannot tell which stages ${name} has`,
    why,
    fix: "fix the connection or the login, or go on without what is there: --cache off",
  });
}
