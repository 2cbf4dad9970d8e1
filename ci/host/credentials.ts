import { homedir } from "node:os";
import { findCredentials, type FoundCredentials } from "../../dagger/src/registry/auth/credentials.js";
import type { RepositoryName } from "../../dagger/src/registry/reference/reference.js";
import type { HostEnv } from "./programs.js";
import { run } from "./process.js";

/** The login that Docker or Podman would use on this machine. @throws FactoryError CREDENTIALS_INVALID, INTERRUPTED */
export const hostLogin = (name: RepositoryName, env: HostEnv, signal?: AbortSignal): Promise<FoundCredentials> =>
  findCredentials(name, {
    env,
    home: env["HOME"] ?? homedir(),
    runtime: process.getuid === undefined ? undefined : `/run/containers/${process.getuid()}`,
    runHelper: (program, args, input) => run(program, args, { input, env, ...(signal === undefined ? {} : { signal }) }),
  });
