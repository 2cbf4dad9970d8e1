import { writeFile } from "node:fs/promises";
import { isIP } from "node:net";
import { join } from "node:path";
import { run } from "../../../ci/host/process.js";

/** Paths of PEM files. */
export type Certificate = { certificate: string; key: string };

const openssl = async (args: readonly string[]): Promise<void> => {
  const done = await run("openssl", args);
  if (done.exitCode !== 0) throw new Error(`openssl ${args[0]}: ${done.stderr}`);
};

/** A CA of our own, as a company has one: in no system's bundle. */
export const makeCa = async (folder: string): Promise<Certificate> => {
  const made = { certificate: join(folder, "ca.pem"), key: join(folder, "ca.key") };
  await openssl([
    "req",
    "-x509",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:prime256v1",
    "-nodes",
    "-days",
    "2",
    "-subj",
    "/CN=test CA",
    "-keyout",
    made.key,
    "-out",
    made.certificate,
  ]);
  return made;
};

/** A server's certificate for loopback and `names`, signed by that CA. */
export const makeServerCertificate = async (
  folder: string,
  ca: Certificate,
  names: readonly string[] = [],
): Promise<Certificate> => {
  const made = { certificate: join(folder, "server.pem"), key: join(folder, "server.key") };
  const [request, extensions] = [join(folder, "server.csr"), join(folder, "server.ext")];
  await writeFile(
    extensions,
    `subjectAltName=${["127.0.0.1", "localhost", ...names].map((name) => `${isIP(name) > 0 ? "IP" : "DNS"}:${name}`).join(",")}\n`,
  );
  await openssl([
    "req",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:prime256v1",
    "-nodes",
    "-subj",
    "/CN=test registry",
    "-keyout",
    made.key,
    "-out",
    request,
  ]);
  await openssl([
    "x509",
    "-req",
    "-in",
    request,
    "-CA",
    ca.certificate,
    "-CAkey",
    ca.key,
    "-CAcreateserial",
    "-days",
    "2",
    "-extfile",
    extensions,
    "-out",
    made.certificate,
  ]);
  return made;
};
