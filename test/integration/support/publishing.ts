import { execFileSync } from "node:child_process";
import { delimiter } from "node:path";
import { clientOf } from "./client.js";
import { type Ended, type Env, factory, type Running, startFactory } from "./factory.js";
import { type FaultyProxy, type Logged, startFaultyProxy } from "./faulty-proxy.js";
import { type RegistrySetup, startRegistry, type TestRegistry } from "./registry.js";
import { openToolbox, type Toolbox } from "./toolbox.js";
import type { Descriptor, ImageIndex, Manifest } from "../../../dagger/src/pipeline/oci/manifest.js";
import type { Repository } from "../../../dagger/src/registry/client.js";
import { known } from "../../../dagger/src/registry/reference/lookup.js";

/** What `publish --json` prints, as far as tests read it. */
type Published = {
  name: string;
  digest: string;
  published: "now" | "before";
  tags: { name: string; outcome: "moved" | "there" | "kept"; why: string | null }[];
  traffic: { requests: number; up: number; down: number };
  record: { platforms: { stages: { stage: string; action: string }[] }[] } | null;
};

/** A project, a registry, and between them a proxy that sees every request and can spoil it. */
export type Publishing = {
  box: Toolbox;
  registry: TestRegistry;
  front: FaultyProxy;
  /** Runs a command as on a machine with this state folder. `team` is the namespace in the registry. */
  run(project: string, state: string, words: readonly string[], env?: Env, prefix?: readonly string[]): Promise<Ended>;
  start(project: string, state: string, words: readonly string[], env?: Env): Running;
  /** `publish --json` that must go well. */
  publish(project: string, state: string, words?: readonly string[], env?: Env): Promise<Published & { stderr: string }>;
  /** The image's repository (or `small-branches`), asked without the proxy. */
  repository(name?: string): Repository;
  close(): Promise<void>;
};

/** No engine has this name, so that a test never starts one: what must be executed ends with ENGINE_MISSING. */
const noEngine = { FACTORY_BUILDKIT: "none" };

/** @param before called with each request before it is looked at */
export const openPublishing = async (
  setup: RegistrySetup = {},
  before?: Parameters<typeof startFaultyProxy>[1],
): Promise<Publishing> => {
  const box = await openToolbox();
  const registry = await startRegistry({ delete: true, ...setup });
  const front = await startFaultyProxy(registry.host, before);
  const envOf = (state: string, env: Env): Env => ({
    FACTORY_STATE: state,
    FACTORY_REGISTRY: `${front.host}/team`,
    // A test says itself what a build counts as: without a terminal it would be a branch.
    FACTORY_SCOPE: "protected",
    // No login of the machine that the test runs on.
    HOME: box.root,
    ...noEngine,
    ...env,
  });
  const run: Publishing["run"] = (project, state, words, env = {}, prefix = []) =>
    factory(project, words, envOf(state, env), prefix);
  return {
    box,
    registry,
    front,
    run,
    start: (project, state, words, env = {}) => startFactory(project, words, envOf(state, env)),
    async publish(project, state, words = [], env = {}) {
      const { code, stdout, stderr } = await run(project, state, ["publish", "--json", ...words], env);
      if (code !== 0) throw new Error(`publish ended with ${code}\n${stderr}`);
      return { ...(JSON.parse(stdout) as Published), stderr };
    },
    repository: (name = "small") => clientOf(registry.host).repository(`team/${name}`),
    async close() {
      await front.stop();
      await registry.stop();
      await box.close();
    },
  };
};

/** Requests in short: `GET manifests/key-…`, with keys, digests and uploads cut to their begin. */
export const short = (log: readonly Logged[]): string[] =>
  log.map(({ method, path }) => {
    const what = path
      .replace(/^\/v2\/team\/[^/]+\/|\?.*$/g, "")
      .replace(/sha256:[0-9a-f]{64}/, "sha256:…")
      .replace(/-[0-9a-f]{24}/, "-…")
      .replace(/uploads\/.+/, "uploads/…");
    return `${method} ${what}`;
  });

/** Everything that a tag reaches is there: manifests that are what their digest says, and blobs of the size they should have. */
export const wholeOf = async (repository: Repository, reference: string): Promise<{ digest: string; blobs: Descriptor[] }> => {
  const manifest = known(await repository.manifest(reference));
  if (manifest === null) throw new Error(`${reference} is not there`);
  const value = JSON.parse(manifest.bytes.toString()) as Partial<Manifest & ImageIndex>;
  const blobs = [...(value.config === undefined ? [] : [value.config]), ...(value.layers ?? [])];
  for (const { digest, size } of blobs) {
    const head = known(await repository.headBlob(digest));
    if (head?.size !== size) throw new Error(`${reference}: ${digest} has ${head?.size} bytes, where ${size} were named`);
  }
  for (const below of value.manifests ?? []) blobs.push(...(await wholeOf(repository, below.digest)).blobs);
  return { digest: manifest.digest, blobs };
};

/** All tags of a repository, each of which must be whole: tag → digest. */
export const wholeTags = async (repository: Repository): Promise<Record<string, string>> => {
  const tags = known(await repository.tags()) ?? [];
  const all: Record<string, string> = {};
  for (const tag of [...tags].sort()) all[tag] = (await wholeOf(repository, tag)).digest;
  return all;
};

/** A git repository of a project's files. Each commit is an hour later than the one before, unless it has a date. */
export const gitOf = (project: string) => {
  let date = Date.parse("2020-01-02T00:00:00Z");
  const git = (...words: string[]): string =>
    execFileSync("git", ["-C", project, "-c", "user.name=test", "-c", "user.email=test@localhost", ...words], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
      env: { ...process.env, GIT_COMMITTER_DATE: new Date(date).toISOString(), GIT_CONFIG_GLOBAL: "/dev/null" },
    }).trim();
  git("init", "--quiet", "--initial-branch=main");
  return {
    git,
    commit: (message: string, at = date + 3_600_000): string => {
      date = at;
      git("add", "--all");
      git("commit", "--quiet", "--allow-empty", "--message", message);
      return git("rev-parse", "HEAD");
    },
  };
};

/** A PATH of these folders only. */
export const pathOf = (...folders: readonly string[]): Env => ({ PATH: folders.join(delimiter) });
