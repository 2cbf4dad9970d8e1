import { describe, expect, test } from "vitest";
import { scopeOf } from "../../ci/scope.js";

/** What each CI says of itself, and what may be written because of it. */
type Env = Record<string, string>;
const github = (event: string, env: Env = {}): Env => ({
  CI: "true",
  GITHUB_ACTIONS: "true",
  GITHUB_EVENT_NAME: event,
  GITHUB_REPOSITORY: "acme/toolbox",
  GITHUB_REF_NAME: "main",
  GITHUB_REF_PROTECTED: "true",
  ...env,
});
const unprotected = { GITHUB_REF_PROTECTED: "false", GITHUB_REF_NAME: "feature" };
const pullRequest = (repository: string | null) => ({
  pull_request: {
    head: { repo: repository === null ? null : { full_name: repository } },
    base: { repo: { full_name: "acme/toolbox" } },
  },
});
const workflowRun = (repository: string | null, branch = "main") => ({
  workflow_run: { head_branch: branch, head_repository: repository === null ? null : { full_name: repository } },
});
const gitlab = (env: Env): Env => ({ CI: "true", GITLAB_CI: "true", CI_PROJECT_ID: "7", ...env });

describe("the scope of a build", () => {
  test.each<[string, Env, unknown, string]>([
    ["a person's machine", {}, null, "protected"],
    ["CI set to nothing", { CI: "" }, null, "protected"],
    ["CI=false", { CI: "false" }, null, "protected"],
    ["a CI that nobody knows", { CI: "true" }, null, "branch"],
    ["what FACTORY_SCOPE says, in any CI", github("push", { FACTORY_SCOPE: "fork" }), null, "fork"],
    ["FACTORY_SCOPE in a CI that says nothing", { CI: "1", FACTORY_SCOPE: "protected" }, null, "protected"],
    ["FACTORY_SCOPE that is empty", { CI: "1", FACTORY_SCOPE: "" }, null, "branch"],

    ["GitHub: push to a protected branch", github("push"), {}, "protected"],
    ["GitHub: push to another branch", github("push", unprotected), {}, "branch"],
    ["GitHub: schedule on the protected branch", github("schedule"), {}, "protected"],
    ["GitHub: by hand, on another branch", github("workflow_dispatch", unprotected), {}, "branch"],
    ["GitHub: merge queue", github("merge_group", unprotected), {}, "branch"],
    ["GitHub: comment, which runs the default branch", github("issue_comment"), { issue: {} }, "protected"],
    ["GitHub: pull request of a branch", github("pull_request", unprotected), pullRequest("acme/toolbox"), "branch"],
    ["GitHub: pull request of a fork", github("pull_request", unprotected), pullRequest("mallory/toolbox"), "fork"],
    ["GitHub: pull request of a repository that is gone", github("pull_request", unprotected), pullRequest(null), "fork"],
    ["GitHub: pull request without its event", github("pull_request", unprotected), null, "fork"],
    ["GitHub: pull request whose event is something else", github("pull_request", unprotected), "x", "fork"],
    ["GitHub: review of a fork's pull request", github("pull_request_review"), pullRequest("mallory/toolbox"), "fork"],
    // With the token, the secrets and the ref of the protected branch.
    ["GitHub: pull_request_target of a fork", github("pull_request_target"), pullRequest("mallory/toolbox"), "fork"],
    ["GitHub: pull_request_target of a branch", github("pull_request_target"), pullRequest("acme/toolbox"), "branch"],
    ["GitHub: workflow_run after a fork's", github("workflow_run"), workflowRun("mallory/toolbox"), "fork"],
    ["GitHub: workflow_run after one nobody knows", github("workflow_run"), workflowRun(null), "fork"],
    ["GitHub: workflow_run after a branch's", github("workflow_run"), workflowRun("acme/toolbox", "feature"), "branch"],
    ["GitHub: workflow_run after the protected branch's", github("workflow_run"), workflowRun("acme/toolbox"), "protected"],

    ["GitLab: protected branch", gitlab({ CI_COMMIT_REF_PROTECTED: "true" }), null, "protected"],
    ["GitLab: another branch", gitlab({ CI_COMMIT_REF_PROTECTED: "false" }), null, "branch"],
    [
      "GitLab: merge request of a branch",
      gitlab({ CI_MERGE_REQUEST_SOURCE_PROJECT_ID: "7", CI_MERGE_REQUEST_PROJECT_ID: "7", CI_COMMIT_REF_PROTECTED: "true" }),
      null,
      "branch",
    ],
    [
      "GitLab: merge request of a fork, in the project",
      gitlab({ CI_MERGE_REQUEST_SOURCE_PROJECT_ID: "8", CI_MERGE_REQUEST_PROJECT_ID: "7", CI_COMMIT_REF_PROTECTED: "true" }),
      null,
      "fork",
    ],
    [
      "GitLab: merge request of a fork, in the fork",
      gitlab({ CI_PROJECT_ID: "8", CI_MERGE_REQUEST_SOURCE_PROJECT_ID: "8", CI_MERGE_REQUEST_PROJECT_ID: "7" }),
      null,
      "fork",
    ],
  ])("%s", (_, env, event, scope) => {
    const found = scopeOf(env, () => event);
    expect(found.scope).toBe(scope);
    expect(found.why).not.toBe("");
  });

  test("one that does not exist is refused", () =>
    expect(() => scopeOf({ FACTORY_SCOPE: "protectd" }, () => null)).toThrow(
      expect.objectContaining({
        code: "USAGE",
        explanation: expect.objectContaining({ fix: expect.stringContaining("protected") }),
      }),
    ));

  test("the event is read on GitHub only", () =>
    expect(
      scopeOf({ CI: "true" }, () => {
        throw new Error("nobody asked for it");
      }).scope,
    ).toBe("branch"));
});
