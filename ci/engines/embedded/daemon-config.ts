import { FactoryError } from "../../../dagger/src/pipeline/common/error.js";
import { plainHttpHosts } from "../../../dagger/src/registry/http/plain-http.js";

/** What the daemon's configuration depends on; everything else in it is fixed. */
export type DaemonSetup = {
  /** Absolute path of runc. */
  runc: string;
  /** A short folder for sockets. */
  sockets: string;
  /** Size with a unit, as BuildKit reads it: "20GB". */
  disk: string;
  /** `host:port` of registries without TLS; loopback addresses need no entry: BuildKit takes them for plain http at any port. */
  plainHttp: readonly string[];
  rootless: boolean;
};

const defaultDisk = "20GB";

/** buildkitd.toml. The local sources of old builds go first: they are sent again in a moment. */
export const daemonConfig = (setup: DaemonSetup): string =>
  [
    "[otel]",
    `socketPath = ${quoted(`${setup.sockets}/otel`)}`,
    "[cdi]",
    "disabled = true",
    "[history]",
    "maxEntries = 20",
    "[worker.containerd]",
    "enabled = false",
    "[worker.oci]",
    "enabled = true",
    // overlayfs where the state folder's file system can carry it, copies where it cannot (a state folder inside a container).
    'snapshotter = "auto"',
    // RUN steps share the host's network: they reach the package mirrors and proxies that the host reaches.
    'networkMode = "host"',
    `binary = ${quoted(setup.runc)}`,
    ...(setup.rootless ? ["rootless = true", "noProcessSandbox = true"] : []),
    "gc = true",
    "[[worker.oci.gcpolicy]]",
    'filters = ["type==source.local"]',
    'keepDuration = "48h"',
    'maxUsedSpace = "2GB"',
    "[[worker.oci.gcpolicy]]",
    "all = true",
    `maxUsedSpace = ${quoted(setup.disk)}`,
    ...setup.plainHttp.flatMap((host) => [`[registry.${quoted(host)}]`, "http = true"]),
    "",
  ].join("\n");

/** TOML's basic string takes the escapes of JSON. */
const quoted = (text: string): string => JSON.stringify(text);

/**
 * FACTORY_ENGINE_DISK and FACTORY_PLAIN_HTTP.
 * @throws FactoryError USAGE
 */
export const settingsOf = (env: Readonly<Record<string, string | undefined>>): Pick<DaemonSetup, "disk" | "plainHttp"> => {
  const disk = env["FACTORY_ENGINE_DISK"] ?? defaultDisk;
  if (!/^\d+(\.\d+)?\s?[KMGT]?B?$/i.test(disk)) {
    throw new FactoryError("USAGE", {
      what: "cannot read FACTORY_ENGINE_DISK",
      why: `"${disk}" is no size`,
      fix: "give a number with a unit, for example FACTORY_ENGINE_DISK=40GB",
    });
  }
  return { disk, plainHttp: plainHttpHosts(env) };
};
