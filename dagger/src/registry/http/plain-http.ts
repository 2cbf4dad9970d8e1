import { FactoryError } from "../../pipeline/common/error.js";
import type { Env } from "./env.js";

/**
 * FACTORY_PLAIN_HTTP: the `host:port` of registries that are spoken to without TLS. Loopback needs no entry.
 * @throws FactoryError USAGE
 */
export const plainHttpHosts = (env: Env): string[] => {
  const listed = (env["FACTORY_PLAIN_HTTP"] ?? "").split(",").map((host) => host.trim().toLowerCase());
  const hosts = [...new Set(listed.filter(Boolean))];
  const odd = hosts.find((host) => !/^[a-z0-9.-]+(:\d+)?$|^\[[0-9a-f:]+\](:\d+)?$/.test(host));
  if (odd === undefined) return hosts;
  throw new FactoryError("USAGE", {
    what: "cannot read FACTORY_PLAIN_HTTP",
    why: `"${odd}" is no host:port`,
    fix: "list hosts with ports, for example FACTORY_PLAIN_HTTP=registry.local:5000",
  });
};
