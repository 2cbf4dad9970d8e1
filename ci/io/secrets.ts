import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Plan } from "../../dagger/src/pipeline/plan.js";
import { hostCa } from "../../dagger/src/pipeline/script.js";
import type { Secret } from "../engines/engine.js";
import type { HostEnv } from "./host.js";

const bundles = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/** The files that RUN steps may read as secrets: the host's CA bundle, and what images.yaml declares and this machine has. */
export const gatherSecrets = (declared: Plan["secrets"], env: HostEnv, root: string): { list: Secret[]; remove(): void } => {
  const list: Secret[] = [];
  const bundle = [env["SSL_CERT_FILE"], ...bundles].find((path) => path !== undefined && existsSync(path));
  if (bundle !== undefined) list.push({ id: hostCa.id, file: bundle });
  let folder: string | null = null;
  for (const [id, { from }] of Object.entries(declared)) {
    if (from.startsWith("file:")) {
      const file = resolve(root, from.slice("file:".length).replace(/^~(?=\/)/, homedir()));
      if (existsSync(file)) list.push({ id, file });
      continue;
    }
    const value = env[from.slice("env:".length)];
    if (value === undefined || value === "") continue;
    folder ??= mkdtempSync(join(tmpdir(), "factory-secrets-"));
    const file = join(folder, id);
    writeFileSync(file, value, { mode: 0o600 });
    list.push({ id, file });
  }
  return { list, remove: () => folder !== null && rmSync(folder, { recursive: true, force: true }) };
};

const proxyNames = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];

/** Dockerfile's predefined arguments: they reach RUN steps and no cache key (Dockerfile reference, "Predefined ARGs"). */
export const proxies = (env: HostEnv): Record<string, string> =>
  Object.fromEntries(
    proxyNames
      .flatMap((name) => [name, name.toLowerCase()])
      .flatMap((name) => {
        const value = env[name];
        return value === undefined || value === "" ? [] : [[name, value] as const];
      }),
  );
