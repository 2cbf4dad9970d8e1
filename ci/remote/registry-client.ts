import { openRegistry, type Registry } from "../../dagger/src/registry/client.js";
import type { RepositoryName } from "../../dagger/src/registry/reference/reference.js";
import type { RetryPolicy } from "../../dagger/src/registry/http/retry.js";
import type { World } from "../host/world.js";
import type { TrustLevel } from "../../dagger/src/pipeline/common/trust-level.js";
import { loginFor } from "./login.js";

/** Bytes of bodies, and requests, since the remote was opened. */
export type Traffic = { requests: number; up: number; down: number; layers: number };

export type RegistryUse = {
  trust: TrustLevel;
  retryPolicy: RetryPolicy;
  world: Pick<World, "env" | "signal">;
  /** Counted up with each exchange. */
  traffic: Traffic;
};

/**
 * The client of a repository's registry, with the logins of this machine.
 * @throws FactoryError REFERENCE_INVALID, USAGE
 */
export const registryFor = (name: RepositoryName, { trust, retryPolicy, world, traffic }: RegistryUse): Registry =>
  openRegistry({
    registry: name.registry,
    env: world.env,
    signal: world.signal,
    retryPolicy,
    credentials: loginFor(name, trust, world),
    observe: ({ about, method, up, down }) => {
      traffic.requests += 1;
      traffic.up += up;
      traffic.down += down;
      if (about === "blob" && method === "GET") traffic.layers += 1;
    },
  });
