import { FactoryError } from "../../pipeline/common/error.js";
import { canonicalHost, type RepositoryName } from "../reference/reference.js";
import { withoutEnd } from "../../pipeline/common/without-end.js";

/** How a registry is told who asks. */
export type Credentials =
  | { kind: "basic"; username: string; password: string }
  /** A refresh token, exchanged for bearer tokens (Docker's `identitytoken`). */
  | { kind: "identity"; token: string }
  /** A bearer token, sent as it is (Docker's `registrytoken`). */
  | { kind: "bearer"; token: string };

/** What Docker's config.json and Podman's auth.json say about logins. */
export type DockerConfig = {
  /** By the name under `auths`, normalised: no scheme, no `/v1/`. Entries without a secret are not here. */
  auths: ReadonlyMap<string, Credentials>;
  /** Suffix of a program docker-credential-…, by registry. */
  credHelpers: ReadonlyMap<string, string>;
  credsStore: string | null;
  /** What could not be read and was passed over: which entry, and why. Nothing of its content. */
  notes: readonly string[];
};

/**
 * @param file how messages call it
 * @throws FactoryError CREDENTIALS_INVALID for what is no JSON mapping; the message holds nothing of the file's content
 */
export const parseDockerConfig = (text: string, file: string): DockerConfig => {
  const root = record(parseJson(text, file), file, "the file");
  const notes: string[] = [];
  /** An entry that cannot be read says nothing about the others. */
  const passingOver = <T>(read: () => T, otherwise: T): T => {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof FactoryError)) throw error;
      notes.push(`${file}: ${error.explanation.why}`);
      return otherwise;
    }
  };
  const entriesOf = (name: string): [string, unknown][] =>
    passingOver(() => Object.entries(record(root[name] ?? {}, file, name)), []);
  const auths = new Map<string, Credentials>();
  for (const [name, value] of entriesOf("auths")) {
    const found = passingOver(() => credentialsOf(record(value ?? {}, file, `auths["${name}"]`), file, name), null);
    if (found !== null) auths.set(normalised(name), found);
  }
  const credHelpers = new Map<string, string>();
  for (const [name, value] of entriesOf("credHelpers")) {
    const helper = value === "" ? null : passingOver(() => helperName(value, file, `credHelpers["${name}"]`), null);
    if (helper !== null) credHelpers.set(normalised(name), helper);
  }
  const store = root["credsStore"] ?? "";
  const credsStore = store === "" ? null : passingOver(() => helperName(store, file, "credsStore"), null);
  return { auths, credHelpers, credsStore, notes };
};

/** The stored login for a repository: Podman's auth.json may hold one for a path below the registry, and the longest path wins. */
export const storedCredentials = (config: DockerConfig, { registry, repository }: RepositoryName): Credentials | null => {
  const parts = repository.split("/");
  for (let n = parts.length; n >= 0; n--) {
    const found = config.auths.get([registry, ...parts.slice(0, n)].join("/"));
    if (found !== undefined) return found;
  }
  return null;
};

/** The program that keeps a registry's login, or null. `credHelpers` goes before `credsStore`, as in Docker. */
export const helperFor = (config: DockerConfig, registry: string): string | null => {
  const name = config.credHelpers.get(registry) ?? config.credsStore;
  return name === null ? null : `docker-credential-${name}`;
};

/** What a credential helper is asked for: Docker writes Docker Hub's logins under this address, all others under their host. */
export const serverNames = (registry: string): string[] =>
  registry === "docker.io" ? ["https://index.docker.io/v1/"] : [registry, `https://${registry}`];

/** The answer of `docker-credential-… get`. @throws FactoryError CREDENTIALS_INVALID, without the answer's words */
export const helperCredentials = (stdout: string, helper: string): Credentials | null => {
  const answer = record(parseJson(stdout, helper), helper, "its answer");
  const [username, secret] = [answer["Username"], answer["Secret"]];
  if (typeof username !== "string" || typeof secret !== "string") throw invalid(helper, "its answer has no Username and Secret");
  if (secret === "") return null;
  return username === "<token>" ? { kind: "identity", token: secret } : { kind: "basic", username, password: secret };
};

/** `https://index.docker.io/v1/` and `docker.io` are one; what follows the host stays, without the API's version. */
const normalised = (name: string): string => {
  const [host = "", ...path] = withoutEnd(name.replace(/^https?:\/\//i, ""), "/")
    .replace(/\/v[12]$/, "")
    .split("/");
  return [canonicalHost(host), ...path].join("/");
};

const credentialsOf = (entry: Record<string, unknown>, file: string, name: string): Credentials | null => {
  const field = (key: string): string => {
    const value = entry[key] ?? "";
    if (typeof value !== "string") throw invalid(file, `auths["${name}"].${key} is no text`);
    return value;
  };
  if (field("registrytoken") !== "") return { kind: "bearer", token: field("registrytoken") };
  if (field("identitytoken") !== "") return { kind: "identity", token: field("identitytoken") };
  if (field("auth") === "") {
    const [username, password] = [field("username"), field("password")];
    return username === "" || password === "" ? null : { kind: "basic", username, password };
  }
  const decoded = withoutEnd(Buffer.from(field("auth"), "base64").toString("utf8"), "\0");
  const colon = decoded.indexOf(":");
  if (colon < 1) throw invalid(file, `auths["${name}"].auth is not the base64 of user:password`);
  return { kind: "basic", username: decoded.slice(0, colon), password: decoded.slice(colon + 1) };
};

const helperName = (value: unknown, file: string, where: string): string => {
  // The name becomes a part of a program's name: nothing that could lead to another folder.
  if (typeof value === "string" && /^[\w][\w.-]*$/.test(value)) return value;
  throw invalid(file, `${where} is not the name of a credential helper`);
};

const parseJson = (text: string, file: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    // The parser's own message quotes the text, and the text holds secrets.
    throw invalid(file, "it is not JSON");
  }
};

const record = (value: unknown, file: string, where: string): Record<string, unknown> => {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw invalid(file, `${where} is no mapping`);
};

const invalid = (file: string, why: string): FactoryError =>
  new FactoryError("CREDENTIALS_INVALID", {
    what: `cannot read the login in ${file}`,
    why,
    fix: file.startsWith("docker-credential-")
      ? `try it: echo ghcr.io | ${file} get`
      : "correct the file, or log in again: docker login REGISTRY",
  });
