import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findProgram } from "../../../ci/host/programs.js";
import { run } from "../../../ci/host/process.js";
import { makeCa, makeServerCertificate } from "./certificates.js";

export type RegistrySetup = {
  /** Basic authentication; without it everybody may do everything. */
  auth?: { user: string; password: string };
  /** A token service in front (token-registry.ts). */
  token?: { realm: string; service: string; issuer: string; certificate: string };
  /** TLS by a CA of our own. */
  tls?: boolean;
  /** Further names in the certificate. */
  names?: readonly string[];
  /** Whether manifests may be deleted; docker-registry's own default is no. */
  delete?: boolean;
  /** Maintenance: what is there can be read, and nothing is written. */
  readOnly?: boolean;
};

export type TestRegistry = {
  /** `127.0.0.1:PORT`. */
  host: string;
  /** `http://…` or `https://…`, without a slash at its end. */
  url: string;
  /** Path of the CA's certificate, with `tls`. */
  ca?: string;
  /** The digests of all manifests that a repository has, with a tag or without: what no API tells. */
  manifests(repository: string): Promise<string[]>;
  /** distribution's own garbage collection, as its operators run it; nobody may push meanwhile. */
  collectGarbage(): Promise<void>;
  stop(): Promise<void>;
};

/** Why no registry can be started here, or null. To be handed to `ctx.skip`. */
export const whyNoRegistry = async (): Promise<string | null> => {
  const missing: string[] = [];
  for (const program of ["docker-registry", "openssl", "perl"])
    if ((await findProgram(program, process.env)) === null) missing.push(program);
  return missing.length === 0 ? null : `no ${missing.join(", ")} on this machine`;
};

/** A real registry (distribution 2) with an empty storage, at a port of the system's choice. It ends with `stop`. */
export const startRegistry = async (setup: RegistrySetup = {}): Promise<TestRegistry> => {
  const folder = await mkdtemp(join(tmpdir(), "factory-registry-"));
  const stop = new AbortController();
  try {
    const tls = setup.tls === true ? await tlsFiles(folder, setup.names ?? []) : null;
    const config = {
      version: 0.1,
      log: { level: "info", accesslog: { disabled: true } },
      storage: {
        filesystem: { rootdirectory: join(folder, "data") },
        delete: { enabled: setup.delete === true },
        maintenance: { uploadpurging: { enabled: false }, readonly: { enabled: setup.readOnly === true } },
      },
      http: {
        addr: "127.0.0.1:0",
        secret: "of a test",
        ...(tls === null ? {} : { tls: { certificate: tls.certificate, key: tls.key } }),
      },
      ...(setup.auth === undefined ? {} : { auth: { htpasswd: { realm: "test", path: await htpasswd(folder, setup.auth) } } }),
      ...(setup.token === undefined
        ? {}
        : { auth: { token: { ...setup.token, certificate: undefined, rootcertbundle: setup.token.certificate } } }),
    };
    await writeFile(join(folder, "config.yml"), JSON.stringify(config));
    let served: Promise<unknown> = Promise.resolve();
    const host = await new Promise<string>((resolve, reject) => {
      const lines: string[] = [];
      const onLine = (line: string) => {
        lines.push(line);
        const heard = /listening on (127\.0\.0\.1:\d+)/.exec(line)?.[1];
        if (heard !== undefined) resolve(heard);
      };
      served = run("docker-registry", ["serve", join(folder, "config.yml")], { onLine, signal: stop.signal }).then(
        () => reject(new Error(`docker-registry ended:\n${lines.join("\n")}`)),
        reject,
      );
    });
    return {
      host,
      url: `${tls === null ? "http" : "https"}://${host}`,
      ...(tls === null ? {} : { ca: tls.ca }),
      async manifests(repository) {
        const revisions = join(folder, "data/docker/registry/v2/repositories", repository, "_manifests/revisions/sha256");
        const names = await readdir(revisions).catch(() => []);
        // A deleted one leaves its folder behind, without the link in it.
        const linked = await Promise.all(names.map(async (name) => (await readdir(join(revisions, name))).includes("link")));
        return names.filter((_, at) => linked[at]).map((name) => `sha256:${name}`);
      },
      async collectGarbage() {
        const done = await run("docker-registry", ["garbage-collect", join(folder, "config.yml")]);
        if (done.exitCode !== 0) throw new Error(done.stderr);
      },
      async stop() {
        stop.abort();
        await served;
        await rm(folder, { recursive: true, force: true });
      },
    };
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
};

const tlsFiles = async (folder: string, names: readonly string[]) => {
  const ca = await makeCa(folder);
  return { ...(await makeServerCertificate(folder, ca, names)), ca: ca.certificate };
};

/** docker-registry reads bcrypt only. perl's crypt makes it where libc is glibc with libxcrypt: Debian, Fedora and their relatives. */
const htpasswd = async (folder: string, { user, password }: { user: string; password: string }): Promise<string> => {
  const program = 'print crypt($ENV{PLAIN}, "\\$2y\\$05\\$" . "testtesttesttesttesteu")';
  const { stdout } = await run("perl", ["-e", program], { env: { PLAIN: password } });
  if (!stdout.startsWith("$2y$")) throw new Error("perl's crypt knows no bcrypt here");
  const file = join(folder, "htpasswd");
  await writeFile(file, `${user}:${stdout.trim()}\n`);
  return file;
};
