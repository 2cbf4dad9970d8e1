import { existsSync, readFileSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { resolve } from "node:path";
import { caBundles } from "../../dagger/src/pipeline/common/ca-bundles.js";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import type { Plan } from "../../dagger/src/pipeline/plan/types.js";
import { hostCa } from "../../dagger/src/pipeline/steps/shell.js";
import { type Grant, readGrants } from "./secret-grants.js";
import type { HostEnv } from "./programs.js";

/** The host's CA bundle, where it has one: no secret, and given to every step that uses the network. */
export const hostBundle = (env: HostEnv): Secret[] => {
  const bundle = [env["SSL_CERT_FILE"], ...caBundles].find((path) => path !== undefined && existsSync(path));
  return bundle === undefined ? [] : [{ id: hostCa.id, file: bundle }];
};

type Scope = "protected" | "branch" | "fork";

/** What of the declared secrets a run hands to its steps, and the ids of those that nobody granted. */
export type Gathered = { list: Secret[]; withheld: string[] };

/**
 * What RUN steps may read: the host's CA bundle, its package mirrors, and of what images.yaml declares only what was granted by
 * who runs the command (--secret) or by the machine (FACTORY_SECRETS). Nothing of it is written to a disk. A fork is given nothing.
 * @throws FactoryError USAGE, INPUT_MISSING for a grant of the command line that cannot be kept
 */
export const gatherSecrets = (declared: Plan["secrets"], env: HostEnv, scope: Scope): Gathered => {
  const list = hostBundle(env);
  const isFork = scope === "fork";
  const typed = readGrants(env["FACTORY_SECRET"], "--secret");
  const machine = readGrants(env["FACTORY_SECRETS"], "FACTORY_SECRETS");
  const unknown = [...typed.keys()].find((id) => !Object.hasOwn(declared, id));
  if (unknown !== undefined) throw undeclared(unknown, Object.keys(declared));
  const withheld: string[] = [];
  for (const [id, { as }] of Object.entries(declared)) {
    const asked = typed.get(id);
    const grant = asked ?? machine.get(id);
    const secret = isFork ? null : grant === undefined ? mirrorOf(id, as, env) : openGrant(grant, env, asked !== undefined);
    if (secret === null) withheld.push(id);
    else list.push(secret);
  }
  return { list, withheld };
};

/** What a person is told of secrets that no step gets. */
export const withheldNotes = (declared: Plan["secrets"], env: HostEnv, scope: Scope): string[] => {
  const { withheld } = gatherSecrets(declared, env, scope);
  const ids = withheld.join(", ");
  if (withheld.length === 0) return [];
  if (scope === "fork") return [`secrets that no step gets: ${ids}; a fork is given none`];
  return [`secrets that no step gets: ${ids}; to grant one: -- --secret id=${withheld[0]},env=VARIABLE (or src=FILE)`];
};

/** Settings of package managers that say where a host's mirrors are. They are the host's own, as its proxies are, unless a login stands in them. */
const mirrors = ["PIP_INDEX_URL", "GOPROXY", "NPM_CONFIG_REGISTRY"];

const mirrorOf = (id: string, as: string, env: HostEnv): Secret | null => {
  const name = mirrors.find((one) => as === `env:${one}`);
  const value = name === undefined ? undefined : env[name];
  if (name === undefined || value === undefined || value === "" || /[@?#]/.test(value)) return null;
  return { id, env: name, value, shown: true };
};

/** A shorter value cannot be told from ordinary text, so it could not be struck out of a log. */
const shortest = 4;
/** BuildKit takes no larger secret. */
const largest = 500 * 1024;

const openGrant = ({ id, from, name }: Grant, env: HostEnv, asked: boolean): Secret | null => {
  if (from === "env") {
    const value = env[name];
    if (value === undefined || value === "") {
      if (asked) throw absent(id, `the environment has no ${name}`);
      return null;
    }
    return { id, env: name, value: longEnough(id, value) };
  }
  const file = resolve(name.replace(/^~(?=\/)/, homedir()));
  const found = statSync(file, { throwIfNoEntry: false });
  if (found === undefined) {
    if (asked) throw absent(id, `there is no ${file}`);
    return null;
  }
  if (!found.isFile() || found.size > largest) throw absent(id, `${file} is no regular file of at most ${largest / 1024} KiB`);
  return { id, file, value: longEnough(id, readFileSync(file, "utf8")) };
};

const longEnough = (id: string, value: string): string => {
  if (value.trim().length >= shortest) return value;
  throw new FactoryError("USAGE", {
    what: `the secret ${id} is too short`,
    why: `a value of fewer than ${shortest} characters cannot be struck out of logs: it is in all text`,
    fix: "give a longer value, or pass what is no secret as a build argument or in images.yaml",
  });
};

const absent = (id: string, why: string): FactoryError =>
  new FactoryError("INPUT_MISSING", {
    what: `cannot give the secret ${id}`,
    why,
    fix: `set it, or leave out --secret id=${id},…: a step then runs without it`,
  });

const undeclared = (id: string, ids: readonly string[]): FactoryError =>
  new FactoryError("USAGE", {
    what: `images.yaml declares no secret ${id}`,
    why: ids.length === 0 ? "it declares none" : `it declares: ${ids.join(", ")}`,
    fix: "declare it under `secrets` in images.yaml, or leave it out",
  });

const proxyNames = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];

const proxiesOf = (env: HostEnv): [string, string][] =>
  proxyNames
    .flatMap((name) => [name, name.toLowerCase()])
    .flatMap((name): [string, string][] => {
      const value = env[name];
      return value === undefined || value === "" ? [] : [[name, value]];
    });

/** All of the host's proxies, for the environment of a process of this machine. */
export const proxies = (env: HostEnv): Record<string, string> => Object.fromEntries(proxiesOf(env));

/** Where a user and a password may stand in a proxy's address; in doubt there are some. */
const hasLogin = (value: string): boolean => value.includes("@");

/**
 * Proxies without a login, for Dockerfile's predefined arguments: they reach RUN steps and no cache key (Dockerfile reference,
 * "Predefined ARGs"), but stand in a client's argument list, in an engine's history and in provenance.
 */
export const openProxies = (env: HostEnv): Record<string, string> =>
  Object.fromEntries(proxiesOf(env).filter(([, value]) => !hasLogin(value)));

/** Proxies with a login: they go the way of secrets. `declared` is how a step knows them, `list` what an engine is given. */
export const secretProxies = (env: HostEnv): { declared: Plan["secrets"]; list: Secret[] } => {
  const found = proxiesOf(env).filter(([, value]) => hasLogin(value));
  // An upper-case and a lower-case name are two: an id is in lower case.
  const idOf = (name: string) =>
    `host-${name === name.toLowerCase() ? "lower" : "upper"}-${name.toLowerCase().replace("_", "-")}`;
  return {
    declared: Object.fromEntries(found.map(([name]) => [idOf(name), { as: `variable:${name}` }])),
    list: found.map(([name, value]) => ({ id: idOf(name), env: name, value })),
  };
};
/**
 * A value that a RUN step may read and that never ends in a layer, a log, a key or an argument list: a file of this machine (with
 * `value` where it is no public one), or a variable that the engine's client gets. `shown`: it is no secret to people.
 */

export type Secret =
  | { id: string; file: string; value?: string; shown?: true }
  | { id: string; env: string; value: string; shown?: true };
