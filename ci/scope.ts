import { readFileSync } from "node:fs";
import { wordOf } from "../dagger/src/pipeline/argument.js";
import type { World } from "./command.js";

/**
 * Who builds, as far as trust goes. A stage that others will stand on may only come from where a review stood before it:
 * protected: a protected branch, or a person at a machine of their own: reads and writes stage refs in the image's repository.
 * branch: any other branch: reads both, writes to a sibling repository that protected builds never read.
 * fork: a pull request from elsewhere: reads the image's repository, writes nothing.
 */
export type Scope = "protected" | "branch" | "fork";
const scopes: readonly Scope[] = ["protected", "branch", "fork"];

/** The suffix of the sibling repository. */
export const branchSuffix = "-branches";

/** @throws FactoryError USAGE */
export const scopeHere = (env: World["env"]): { scope: Scope; why: string } => scopeOf(env, () => readEvent(env));

/**
 * FACTORY_SCOPE, or what the CI says of itself: GitHub Actions (GITHUB_REF_PROTECTED, and the file of the event), GitLab CI
 * (CI_COMMIT_REF_PROTECTED, CI_MERGE_REQUEST_SOURCE_PROJECT_ID). Another CI that says nothing is a branch.
 * @param event the JSON that GITHUB_EVENT_PATH names; null where there is none
 * @throws FactoryError USAGE
 */
export const scopeOf = (env: World["env"], event: () => unknown): { scope: Scope; why: string } => {
  const said = env["FACTORY_SCOPE"];
  if (said !== undefined && said !== "") {
    const scope = wordOf(said, scopes, { what: `no scope ${said}`, known: "FACTORY_SCOPE is one of" });
    return { scope, why: "FACTORY_SCOPE" };
  }
  if (env["GITHUB_ACTIONS"] === "true") return onGitHub(env, event());
  if (env["GITLAB_CI"] === "true") return onGitLab(env);
  const ci = env["CI"];
  return ci === undefined || ci === "" || ci === "false"
    ? { scope: "protected", why: "no CI: whoever has the right to push decides" }
    : { scope: "branch", why: "a CI that does not say whether this ref is protected; set FACTORY_SCOPE=protected where it is" };
};

/**
 * Whose code is built is told by the event, not by the ref: `pull_request_target` and `workflow_run` run for a fork's code with the
 * ref, the token and the secrets of the protected branch. GITHUB_REF_PROTECTED counts for all other events only.
 */
const onGitHub = (env: World["env"], event: unknown): { scope: Scope; why: string } => {
  const name = env["GITHUB_EVENT_NAME"] ?? "";
  const why = `GitHub event ${name}`;
  const isPullRequest = name.startsWith("pull_request");
  if (isPullRequest || name === "workflow_run") {
    const { repository, branch } = headOf(event);
    // Where nobody knows whose code it is (the repository was deleted, the file cannot be read), the cautious answer.
    if (repository === null || repository !== env["GITHUB_REPOSITORY"])
      return { scope: "fork", why: `${why} from ${repository ?? "a repository that it does not name"}` };
    if (isPullRequest || branch !== env["GITHUB_REF_NAME"])
      return { scope: "branch", why: `${why} from a branch of the repository itself` };
  }
  return env["GITHUB_REF_PROTECTED"] === "true"
    ? { scope: "protected", why: "GITHUB_REF_PROTECTED" }
    : { scope: "branch", why: "a GitHub ref that is not protected" };
};

/** Whose code the event is about: `owner/name` and the branch; null for what it does not say. */
const headOf = (event: unknown): { repository: string | null; branch: string | null } => {
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

/** A fork's merge request runs in the fork's project, or (where members start it) in the target's own. */
const onGitLab = (env: World["env"]): { scope: Scope; why: string } => {
  const source = env["CI_MERGE_REQUEST_SOURCE_PROJECT_ID"];
  const target = env["CI_MERGE_REQUEST_PROJECT_ID"] ?? env["CI_PROJECT_ID"];
  if (source !== undefined && source !== target) return { scope: "fork", why: "a GitLab merge request from a fork" };
  return env["CI_COMMIT_REF_PROTECTED"] === "true" && source === undefined
    ? { scope: "protected", why: "CI_COMMIT_REF_PROTECTED" }
    : { scope: "branch", why: "a GitLab ref that is not protected" };
};
