import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { FactoryError } from "../../pipeline/common/error.js";
import {
  type Credentials,
  helperCredentials,
  helperFor,
  parseDockerConfig,
  serverNames,
  storedCredentials,
} from "./docker-config.js";
import type { Env } from "../http/env.js";
import type { RepositoryName } from "../reference/reference.js";

/**
 * Starts a credential helper with `input` on its standard input; a non-zero exit is an answer.
 * ci/ hands in ci/host/process.ts; inside a module nothing is started, and null says so.
 */
type RunHelper = (
  program: string,
  args: readonly string[],
  input: string,
) => Promise<{ exitCode: number; stdout: string; stderr: string }>;

export type CredentialPlaces = {
  env: Env;
  /** The user's home folder. */
  home: string;
  /** Where Podman keeps logins without a session: `/run/containers/<uid>`. */
  runtime?: string | undefined;
  runHelper: RunHelper | null;
};

/** A login and where it comes from, or none. */
export type FoundCredentials = {
  credentials: Credentials | null;
  /** In words, for messages: `~/.docker/config.json`, `docker-credential-pass`. Null when nothing was found. */
  source: string | null;
  /** What was passed over: worth saying once an anonymous request is refused. */
  notes: readonly string[];
};

/** Nobody asks, and no place was looked at. */
export const anonymous: FoundCredentials = { credentials: null, source: null, notes: [] };

/** A login that was handed in: a command's own settings, a module's argument. */
export const explicitCredentials = (username: string, password: string, source: string): FoundCredentials => ({
  credentials: { kind: "basic", username, password },
  source,
  notes: [],
});

/**
 * FACTORY_REGISTRY_USER and FACTORY_REGISTRY_TOKEN: the login for the registry that is published to, and for no other;
 * null where neither is set.
 * @throws FactoryError USAGE when only one is set
 */
export const environmentCredentials = (env: Env): FoundCredentials | null => {
  const [user, token] = [env["FACTORY_REGISTRY_USER"] ?? "", env["FACTORY_REGISTRY_TOKEN"] ?? ""];
  if (user === "" && token === "") return null;
  if (user !== "" && token !== "") return explicitCredentials(user, token, "FACTORY_REGISTRY_USER and FACTORY_REGISTRY_TOKEN");
  const [set, unset] =
    user === "" ? ["FACTORY_REGISTRY_TOKEN", "FACTORY_REGISTRY_USER"] : ["FACTORY_REGISTRY_USER", "FACTORY_REGISTRY_TOKEN"];
  throw new FactoryError("USAGE", {
    what: "half a login for the registry",
    why: `${set} is set and ${unset} is not`,
    fix: `set ${unset} too (on ghcr.io any user name does), or unset ${set}`,
  });
};

/**
 * The login that Docker, Podman and their relatives would use for a repository. The first file that knows the registry counts.
 * @throws FactoryError CREDENTIALS_INVALID when a file or a helper's answer cannot be read
 */
export const findCredentials = async (name: RepositoryName, places: CredentialPlaces): Promise<FoundCredentials> => {
  const notes: string[] = [];
  for (const place of configPlaces(places)) {
    const source = place.kind === "text" ? place.name : shown(place.file, places.home);
    const text =
      place.kind === "text"
        ? place.text
        : await readFile(place.file, "utf8").catch((error: NodeJS.ErrnoException) => {
            if (error.code !== "ENOENT" && error.code !== "ENOTDIR") notes.push(`${source} cannot be read: ${error.code}`);
            return null;
          });
    // `docker login` on an empty file writes a new one, and so an empty file means no login.
    if (text === null || text.trim() === "") continue;
    const config = parseDockerConfig(text, source);
    notes.push(...config.notes);
    const helper = helperFor(config, name.registry);
    if (helper !== null) {
      const kept = await askHelper(helper, name.registry, places.runHelper);
      if ("credentials" in kept) return { credentials: kept.credentials, source: helper, notes };
      if (kept.note !== null) notes.push(`${source} names ${helper}, ${kept.note}`);
    }
    const stored = storedCredentials(config, name);
    if (stored !== null) return { credentials: stored, source, notes };
  }
  return { credentials: null, source: null, notes };
};

/** Where logins are kept: a file, or a text that the environment holds. */
type ConfigPlace = { kind: "file"; file: string } | { kind: "text"; name: string; text: string };

/**
 * What was named goes before what is only usual: Podman's order, with Docker's own settings after Podman's.
 * DOCKER_AUTH_CONFIG is GitLab's and Docker's: the content of a config.json. Without a session Podman keeps its logins below /run.
 */
const configPlaces = ({ env, home, runtime }: CredentialPlaces): ConfigPlace[] => {
  const file = (path: string | undefined): ConfigPlace[] =>
    path === undefined || path === "" ? [] : [{ kind: "file", file: path }];
  const places = [
    ...file(env["REGISTRY_AUTH_FILE"]),
    { kind: "text", name: "DOCKER_AUTH_CONFIG", text: env["DOCKER_AUTH_CONFIG"] ?? "" } as const,
    ...file(env["DOCKER_CONFIG"] && join(env["DOCKER_CONFIG"], "config.json")),
    ...file(env["XDG_RUNTIME_DIR"] && join(env["XDG_RUNTIME_DIR"], "containers/auth.json")),
    ...file(runtime && join(runtime, "auth.json")),
    ...file(join(env["XDG_CONFIG_HOME"] || join(home, ".config"), "containers/auth.json")),
    ...file(join(home, ".docker/config.json")),
  ];
  const seen = new Set<string>();
  return places.filter((place) => place.kind === "text" || (!seen.has(place.file) && seen.add(place.file)));
};

const shown = (file: string, home: string): string => (file.startsWith(`${home}/`) ? `~${file.slice(home.length)}` : file);

/** docker/docker-credential-helpers, credentials/error.go: every helper says so in the same words, on standard output. */
const notFound = /credentials not found/i;

const askHelper = async (
  helper: string,
  registry: string,
  run: RunHelper | null,
): Promise<{ credentials: Credentials } | { note: string | null }> => {
  if (run === null) return { note: "which is not started here" };
  for (const server of serverNames(registry)) {
    const answer = await run(helper, ["get"], server).catch((error: unknown) => {
      // A config.json that was copied into a container often names a helper of another machine; an anonymous pull goes on.
      if (error instanceof FactoryError && error.code === "HOST_TOOL_MISSING") return null;
      throw error;
    });
    if (answer === null) return { note: "which is not on PATH" };
    if (answer.exitCode === 0) {
      const credentials = helperCredentials(answer.stdout, helper);
      if (credentials !== null) return { credentials };
      continue;
    }
    // What it printed may hold a secret: only its exit code is told on.
    if (!notFound.test(answer.stdout + answer.stderr)) return { note: `which failed with exit code ${answer.exitCode}` };
  }
  return { note: null };
};
