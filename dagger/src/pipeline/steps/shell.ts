import type { Download } from "./step.js";

/** What the commands read beside the file system. Engines attach it; nothing of it ends in a layer. */

export type Mount =
  | { mount: "cache"; id: string; target: string }
  | { mount: "download"; name: string; file: Download; target: string }
  | { mount: "context"; source: string; target: string }
  | { mount: "network" };
/**
 * What a step does, as commands of a POSIX shell: the same text for BuildKit, Dagger and any Dockerfile, so that it can
 * stand in a key. Each element is one whole statement; a list of words is one command whose words may be wrapped.
 */

export type Script = { statements: readonly (string | readonly string[])[]; mounts: readonly Mount[] };
/** The secret that carries the host's CA bundle to steps that talk to a network; absent where no one gave one. */

export const hostCa = { id: "host-ca", target: "/run/secrets/host-ca.crt" } as const;
/** Where a step finds the files of the context that it reads. */

export const inputsFolder = "/run/inputs";
/** Where a compile step leaves its binary for the stage to take. */

export const outputFolder = "/output";
/** A word as the shell reads it back unchanged. */

export const quote = (word: string): string =>
  /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
/** A mapping's entries in the one order in which they always stand: that of images.yaml means nothing. */

export const byName = <T>(record: Readonly<Record<string, T>>): [string, T][] =>
  Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1));
const caVariables = [
  "SSL_CERT_FILE",
  "CURL_CA_BUNDLE",
  "PIP_CERT",
  "REQUESTS_CA_BUNDLE",
  "NODE_EXTRA_CA_CERTS",
  "GIT_SSL_CAINFO",
];
/** For the tools that talk to a network: each reads the CA bundle from a variable of its own. */

export const hostCaExports = [
  [`ca=${hostCa.target};`, "if [ -s $ca ]; then", "export", ...caVariables.map((name) => `${name}=$ca`), "; fi"],
];
