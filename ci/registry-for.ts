import { openRegistry, type Registry } from "../dagger/src/registry/client.js";
import { environmentCredentials } from "../dagger/src/registry/credentials.js";
import type { RepositoryName } from "../dagger/src/registry/reference.js";
import { brief, type Patience } from "../dagger/src/registry/retry.js";
import type { World } from "./command.js";
import { hostLogin } from "./io/logins.js";

/** Bytes of bodies, and requests, since the remote was opened. */
export type Traffic = { requests: number; up: number; down: number; layers: number };

export type RegistryUse = {
  /** Whether it is the registry that is published to. */
  isHome: boolean;
  patience: Patience;
  world: Pick<World, "env" | "signal">;
  /** Counted up with each exchange. */
  traffic: Traffic;
};

/** Milliseconds. A question that can go unanswered is not waited for as long as an upload. */
const shortTimeouts = { connect: 5_000, answer: 15_000, idle: 30_000 };

/**
 * The client of a repository's registry, with the logins of this machine.
 * @throws FactoryError REFERENCE_INVALID, USAGE
 */
export const registryFor = (name: RepositoryName, { isHome, patience, world, traffic }: RegistryUse): Registry =>
  openRegistry({
    registry: name.registry,
    env: world.env,
    signal: world.signal,
    patience,
    ...(patience === brief ? { timeouts: shortTimeouts } : {}),
    credentials: async () =>
      // The login of the environment is for the registry that is published to, and for no other.
      (isHome ? environmentCredentials(world.env) : null) ?? hostLogin(name, world.env, world.signal),
    observe: ({ about, method, up, down }) => {
      traffic.requests += 1;
      traffic.up += up;
      traffic.down += down;
      if (about === "blob" && method === "GET") traffic.layers += 1;
    },
  });
