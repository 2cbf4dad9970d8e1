import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { createSecureContext, rootCertificates, type SecureContext } from "node:tls";
import { FactoryError } from "../../pipeline/common/error.js";
import { caBundles } from "../../pipeline/common/ca-bundles.js";
import type { Env } from "./env.js";

/** Where Docker and Podman look for the CA of one registry. */
const perHost = ["/etc/docker/certs.d", "/etc/containers/certs.d"];

/**
 * Certificates to trust, as PEM texts: Node's own, the system's bundle (SSL_CERT_FILE in its place), and added to them
 * FACTORY_CA_FILE, NODE_EXTRA_CA_CERTS and what Docker keeps for the host in /etc/docker/certs.d.
 * @param host `host:port` of a registry
 * @throws FactoryError INPUT_MISSING when FACTORY_CA_FILE cannot be read
 */
const trustedCertificates = async (env: Env, host: string | null): Promise<string[]> => {
  const found = new Set(rootCertificates);
  // Node's own roots stay: a company's bundle often holds the company's CA only. What stands twice is parsed once.
  const add = (text: string | null): boolean => {
    const certificates = text?.match(pem) ?? [];
    for (const one of certificates) found.add(one.replaceAll("\r", ""));
    return certificates.length > 0;
  };
  for (const path of env["SSL_CERT_FILE"] ? [env["SSL_CERT_FILE"]] : caBundles) if (add(await readText(path))) break;
  if (env["NODE_EXTRA_CA_CERTS"]) add(await readText(env["NODE_EXTRA_CA_CERTS"]));
  const own = env["FACTORY_CA_FILE"];
  if (own !== undefined && own !== "" && !add(await readText(own))) throw unreadable(own);
  for (const folder of host === null ? [] : perHost) {
    const at = join(folder, host ?? "");
    const names = await readdir(at).catch(() => []);
    for (const name of names.filter((one) => one.endsWith(".crt"))) add(await readText(join(at, name)));
  }
  return [...found];
};

const pem = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** Reading hundreds of certificates takes tens of milliseconds: one context serves every connection to a host. */
export const secureContext = async (env: Env, host: string | null): Promise<SecureContext> =>
  createSecureContext({ ca: await trustedCertificates(env, host) });

const readText = (path: string): Promise<string | null> => readFile(path, "utf8").catch(() => null);

const unreadable = (path: string): FactoryError =>
  new FactoryError("INPUT_MISSING", {
    what: `cannot read FACTORY_CA_FILE=${path}`,
    why: "no readable file with a certificate in PEM form",
    fix: "name a file with the certificate of your CA (-----BEGIN CERTIFICATE-----), or unset FACTORY_CA_FILE",
  });
