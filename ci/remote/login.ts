import type { TrustLevel } from "../../dagger/src/pipeline/common/trust-level.js";
import { environmentCredentials, type FoundCredentials } from "../../dagger/src/registry/auth/credentials.js";
import { parseRepository, type RepositoryName } from "../../dagger/src/registry/reference/reference.js";
import type { World } from "../host/world.js";
import { hostLogin } from "../host/credentials.js";

/**
 * The login for a repository: of the environment where it is for this registry, else of Docker, Podman and their helpers. Looked for once, when
 * a registry wants one.
 */
export const loginFor = (
  name: RepositoryName,
  trust: TrustLevel,
  world: Pick<World, "env" | "signal">,
): (() => Promise<FoundCredentials>) => {
  let login: Promise<FoundCredentials> | null = null;
  return () => (login ??= find(name, trust, world));
};

/**
 * FACTORY_REGISTRY_TOKEN belongs to the registry that the environment names (FACTORY_REGISTRY). images.yaml is a file of the code that is
 * built, and a pull request may change it: what it names alone gets no token. A fork's build gets none at all.
 */
const find = async (
  name: RepositoryName,
  trust: TrustLevel,
  { env, signal }: Pick<World, "env" | "signal">,
): Promise<FoundCredentials> => {
  const login = environmentCredentials(env);
  const withheld = login === null ? null : whyWithheld(name, trust, env["FACTORY_REGISTRY"] ?? "");
  if (login !== null && withheld === null) return login;
  const found = await hostLogin(name, env, signal);
  return withheld === null
    ? found
    : { ...found, notes: [...found.notes, `FACTORY_REGISTRY_TOKEN is not sent to ${name.registry}: ${withheld}`] };
};

/** Why the login of the environment is not for this registry; null where it is. @param named FACTORY_REGISTRY */
const whyWithheld = ({ registry }: RepositoryName, trust: TrustLevel, named: string): string | null => {
  if (trust === "fork") return "this is a build of a fork";
  if (named === "")
    return `only images.yaml names that registry; set FACTORY_REGISTRY (REGISTRY=…) to the one that the token is for`;
  return parseRepository(`${named}/x`).registry === registry ? null : `it is for the registry of FACTORY_REGISTRY, ${named}`;
};
