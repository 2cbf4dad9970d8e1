import { environmentCredentials, type FoundCredentials } from "../dagger/src/registry/credentials.js";
import type { RepositoryName } from "../dagger/src/registry/reference.js";
import type { World } from "./command.js";
import { hostLogin } from "./io/logins.js";

/** The login for the registry that is published to: of the environment, else of Docker, Podman and their helpers. Looked for once, when it is asked for. */
export const loginFor = (name: RepositoryName, world: World): (() => Promise<FoundCredentials>) => {
  let login: Promise<FoundCredentials> | null = null;
  return () => (login ??= find(name, world));
};

const find = async (name: RepositoryName, { env, signal }: World): Promise<FoundCredentials> =>
  environmentCredentials(env) ?? hostLogin(name, env, signal);
