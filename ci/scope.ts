import { FactoryError } from "../dagger/src/pipeline/error.js";
import { suggestion } from "../dagger/src/pipeline/suggest.js";
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

/**
 * FACTORY_SCOPE, or what the CI says of itself: GitHub Actions (GITHUB_REF_PROTECTED, GITHUB_EVENT_NAME), GitLab CI
 * (CI_COMMIT_REF_PROTECTED, CI_MERGE_REQUEST_SOURCE_PROJECT_ID). Another CI that says nothing is a branch.
 * @throws FactoryError USAGE
 */
export const scopeOf = (env: World["env"]): { scope: Scope; why: string } => {
  const said = env["FACTORY_SCOPE"];
  if (said !== undefined && said !== "") {
    const scope = scopes.find((known) => known === said);
    if (scope !== undefined) return { scope, why: "FACTORY_SCOPE" };
    throw new FactoryError("USAGE", {
      what: `no scope ${said}`,
      why: `FACTORY_SCOPE is one of: ${scopes.join(", ")}`,
      fix: suggestion(said, scopes),
    });
  }
  if (env["GITHUB_ACTIONS"] === "true") {
    const event = env["GITHUB_EVENT_NAME"] ?? "";
    // A pull request's token may only read where it comes from a fork; one from a branch of the repository is a branch.
    if (event.startsWith("pull_request")) return { scope: isForkOnGitHub(env) ? "fork" : "branch", why: `GitHub event ${event}` };
    return env["GITHUB_REF_PROTECTED"] === "true"
      ? { scope: "protected", why: "GITHUB_REF_PROTECTED" }
      : { scope: "branch", why: "GitHub ref that is not protected" };
  }
  if (env["GITLAB_CI"] === "true") {
    const source = env["CI_MERGE_REQUEST_SOURCE_PROJECT_ID"];
    if (source !== undefined && source !== env["CI_PROJECT_ID"])
      return { scope: "fork", why: "GitLab merge request from a fork" };
    return env["CI_COMMIT_REF_PROTECTED"] === "true"
      ? { scope: "protected", why: "CI_COMMIT_REF_PROTECTED" }
      : { scope: "branch", why: "GitLab ref that is not protected" };
  }
  const ci = env["CI"];
  return ci === undefined || ci === "" || ci === "false"
    ? { scope: "protected", why: "no CI: whoever has the right to push decides" }
    : { scope: "branch", why: "a CI that does not say whether this ref is protected; set FACTORY_SCOPE=protected where it is" };
};

/** Without the event's file the head repository is not known: then the cautious answer. */
const isForkOnGitHub = (env: World["env"]): boolean => {
  const head = env["FACTORY_HEAD_REPOSITORY"];
  return head === undefined || head !== env["GITHUB_REPOSITORY"];
};
