/**
 * # ci/trust
 *
 * Who builds, as far as trust goes: protected, branch or fork. Trust is earned by a provider's word, FACTORY_SCOPE or an interactive terminal,
 * and by nothing else.
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { wordOf } from "../../dagger/src/pipeline/config/arguments.js";
import type { TrustLevel } from "../../dagger/src/pipeline/common/trust-level.js";
import { ciInSight } from "./ci-in-sight.js";
import type { RepositoryName } from "../../dagger/src/registry/reference/reference.js";
import type { World } from "../host/world.js";

/**
 * Who builds, as far as trust goes. What others will build on may only come from where a review stood before it:
 * protected: by a CI's word about a protected ref, by FACTORY_SCOPE, or a person at a terminal: reads and writes the image's repository.
 * branch: everything else: reads the image's repository, writes to a sibling repository that protected builds never read.
 * fork: code from elsewhere: reads the image's repository, writes nothing.
 */
const scopes: readonly TrustLevel[] = ["protected", "branch", "fork"];

/** The scope, and in words what it was concluded from. */
export type FoundTrust = { level: TrustLevel; why: string };

/** The sibling repository that branches write to, so that a registry's own rights can keep them out of the image's. */
export const siblingOf = (name: RepositoryName): RepositoryName => ({ ...name, repository: `${name.repository}-branches` });

/** What the scope is concluded from beside the environment. Each is asked only where it counts. */
export type BuildSurroundings = {
  /** The JSON that GITHUB_EVENT_PATH names; null where there is none. */
  event(): unknown;
  /** The commit that is checked out; null where git names none. */
  head(): string | null;
  /** Whether a person can be asked: standard input and standard error are a terminal. */
  interactive: boolean;
};

/** @param folder the project. @throws FactoryError USAGE */
export const trustHere = ({ env, interactive }: Pick<World, "env" | "interactive">, folder: string): FoundTrust =>
  trustOf(env, { event: () => readEvent(env), head: () => headOf(folder), interactive });

const howToSay = "set FACTORY_SCOPE=protected where only reviewed code is built";

/**
 * FACTORY_SCOPE, or what the CI says of itself: GitHub Actions (GITHUB_REF_PROTECTED, and the file of the event), GitLab CI
 * (CI_COMMIT_REF_PROTECTED, CI_MERGE_REQUEST_SOURCE_PROJECT_ID). What says nothing is a branch: a CI without a word about its ref, a
 * container that hands no variables on, a job of cron. Only an interactive terminal with no CI in sight counts as a person.
 * @throws FactoryError USAGE
 */
export const trustOf = (env: World["env"], around: BuildSurroundings): FoundTrust => {
  const said = env["FACTORY_SCOPE"];
  if (said !== undefined && said !== "") {
    const scope = wordOf(said, scopes, { what: `no scope ${said}`, known: "FACTORY_SCOPE is one of" });
    return { level: scope, why: "FACTORY_SCOPE" };
  }
  if (env["GITHUB_ACTIONS"] === "true") return atCommit(onGitHub(env, around.event()), "GITHUB_SHA", env, around);
  if (env["GITLAB_CI"] === "true") return atCommit(onGitLab(env), "CI_COMMIT_SHA", env, around);
  const fork = forkOf(env);
  if (fork !== null) return { level: "fork", why: fork };
  const ci = ciInSight(env);
  if (ci !== null) return { level: "branch", why: `${ci} does not say whether this ref is protected; ${howToSay}` };
  return around.interactive
    ? { level: "protected", why: "a person at a terminal, and no CI in sight" }
    : { level: "branch", why: `no terminal, and no CI that says whether this ref is protected; ${howToSay}` };
};

/**
 * A CI speaks about one commit. Where another one is checked out (a job of `issue_comment` or `workflow_dispatch` that checks out a pull
 * request), its word does not count, and nobody knows whose code it is.
 */
const atCommit = (found: FoundTrust, variable: string, env: World["env"], { head }: BuildSurroundings): FoundTrust => {
  if (found.level !== "protected") return found;
  const commit = env[variable];
  const here = head();
  if (commit !== undefined && commit !== "" && here === commit) return found;
  if (here === null)
    return { level: "branch", why: `git cannot say that ${variable} is checked out (git config safe.directory?); ${howToSay}` };
  return {
    level: "fork",
    why: `${here.slice(0, 12)} is checked out and not ${variable} (${commit?.slice(0, 12) ?? "not set"}): ${found.why} is not about it`,
  };
};

/**
 * Whose code is built is told by the event, not by the ref: `pull_request_target` and `workflow_run` run for a fork's code with the
 * ref, the token and the secrets of the protected branch. GITHUB_REF_PROTECTED counts for all other events only.
 */
const onGitHub = (env: World["env"], event: unknown): FoundTrust => {
  const name = env["GITHUB_EVENT_NAME"] ?? "";
  const why = `GitHub event ${name}`;
  const isPullRequest = name.startsWith("pull_request");
  if (isPullRequest || name === "workflow_run") {
    const { repository, branch } = originOf(event);
    // Where nobody knows whose code it is (the repository was deleted, the file cannot be read), the cautious answer.
    if (repository === null || repository !== env["GITHUB_REPOSITORY"])
      return { level: "fork", why: `${why} from ${repository ?? "a repository that it does not name"}` };
    if (isPullRequest || branch !== env["GITHUB_REF_NAME"])
      return { level: "branch", why: `${why} from a branch of the repository itself` };
  }
  return env["GITHUB_REF_PROTECTED"] === "true"
    ? { level: "protected", why: "GITHUB_REF_PROTECTED" }
    : { level: "branch", why: "a GitHub ref that is not protected" };
};

/** Whose code the event is about: `owner/name` and the branch; null for what it does not say. */
const originOf = (event: unknown): { repository: string | null; branch: string | null } => {
  type Named = { full_name?: unknown } | null;
  const { pull_request: request, workflow_run: run } = (event ?? {}) as {
    pull_request?: { head?: { repo?: Named } };
    workflow_run?: { head_repository?: Named; head_branch?: unknown };
  };
  const repository = request?.head?.repo?.full_name ?? run?.head_repository?.full_name;
  const branch = run?.head_branch;
  return {
    repository: typeof repository === "string" ? repository : null,
    branch: typeof branch === "string" ? branch : null,
  };
};

const readEvent = (env: World["env"]): unknown => {
  try {
    return JSON.parse(readFileSync(env["GITHUB_EVENT_PATH"] ?? "", "utf8"));
  } catch {
    return null;
  }
};

const headOf = (folder: string): string | null => {
  try {
    const words = ["rev-parse", "--verify", "HEAD"];
    return execFileSync("git", words, { cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  } catch {
    return null;
  }
};

/** A fork's merge request runs in the fork's project, or (where members start it) in the target's own. */
const onGitLab = (env: World["env"]): FoundTrust => {
  const source = env["CI_MERGE_REQUEST_SOURCE_PROJECT_ID"];
  const target = env["CI_MERGE_REQUEST_PROJECT_ID"] ?? env["CI_PROJECT_ID"];
  if (source !== undefined && source !== target) return { level: "fork", why: "a GitLab merge request from a fork" };
  return env["CI_COMMIT_REF_PROTECTED"] === "true" && source === undefined
    ? { level: "protected", why: "CI_COMMIT_REF_PROTECTED" }
    : { level: "branch", why: "a GitLab ref that is not protected" };
};

/** What says that the code is a fork's, where a CI says nothing about protected refs; null where nothing does. */
const forkOf = (env: World["env"]): string | null => {
  const value = (name: string) => env[name] ?? "";
  const differs = (name: string, from: string) => value(name) !== "" && value(name) !== value(from);
  if (value("SYSTEM_PULLREQUEST_ISFORK").toLowerCase() === "true")
    return "SYSTEM_PULLREQUEST_ISFORK: an Azure Pipelines pull request from a fork";
  if (value("CIRCLE_PR_REPONAME") !== "") return "CIRCLE_PR_REPONAME: a CircleCI pull request from a fork";
  if (value("CHANGE_FORK") !== "") return "CHANGE_FORK: a Jenkins change from a fork";
  if (differs("BUILDKITE_PULL_REQUEST_REPO", "BUILDKITE_REPO"))
    return "BUILDKITE_PULL_REQUEST_REPO: a Buildkite pull request from another repository";
  if (differs("TRAVIS_PULL_REQUEST_SLUG", "TRAVIS_REPO_SLUG"))
    return "TRAVIS_PULL_REQUEST_SLUG: a Travis CI pull request from a fork";
  return null;
};
