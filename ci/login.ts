import { homedir } from "node:os";
import { environmentCredentials, findCredentials, type FoundCredentials } from "../dagger/src/registry/credentials.js";
import type { RepositoryName } from "../dagger/src/registry/reference.js";
import type { World } from "./command.js";
import { run } from "./io/process.js";

/** The login for the registry that is published to: of the environment, else of Docker, Podman and their helpers. Looked for once, when it is asked for. */
export const loginFor = (name: RepositoryName, world: World): (() => Promise<FoundCredentials>) => {
  let login: Promise<FoundCredentials> | null = null;
  return () => (login ??= find(name, world));
};

const find = async (name: RepositoryName, { env, signal }: World): Promise<FoundCredentials> =>
  environmentCredentials(env) ??
  findCredentials(name, {
    env,
    home: env["HOME"] ?? homedir(),
    runHelper: (program, args, input) => run(program, args, { input, signal }),
  });
