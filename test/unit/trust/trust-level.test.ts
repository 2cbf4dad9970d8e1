import { describe, expect, test } from "vitest";
import { trustOf } from "../../../ci/trust/trust-level.js";

/** What each CI says of itself, and what may be written because of it. */
type Env = Record<string, string>;
/** The commit that is checked out. */
const head = "a".repeat(40);
const github = (event: string, env: Env = {}): Env => ({
  CI: "true",
  GITHUB_ACTIONS: "true",
  GITHUB_EVENT_NAME: event,
  GITHUB_REPOSITORY: "acme/toolbox",
  GITHUB_REF_NAME: "main",
  GITHUB_REF_PROTECTED: "true",
  GITHUB_SHA: head,
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
const gitlab = (env: Env): Env => ({ CI: "true", GITLAB_CI: "true", CI_PROJECT_ID: "7", CI_COMMIT_SHA: head, ...env });

const around = (event: unknown, interactive = false, commit: string | null = head) => ({
  event: () => event,
  head: () => commit,
  interactive,
});

describe("the scope of a build", () => {
  test.each<[string, Env, unknown, string]>([
    ["no terminal and no variable: a container, cron, a Tekton step", {}, null, "branch"],
    ["CI set to nothing", { CI: "" }, null, "branch"],
    ["CI=false", { CI: "false" }, null, "branch"],
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
    ...["issue_comment", "workflow_dispatch", "repository_dispatch", "push", "schedule", "release", "workflow_call"].map(
      (event): [string, Env, unknown, string] => [
        `GitHub: ${event} with another commit checked out`,
        github(event, { GITHUB_SHA: "b".repeat(40) }),
        {},
        "fork",
      ],
    ),
    ["GitHub: a ref that is protected, and no commit said", github("push", { GITHUB_SHA: "" }), {}, "fork"],
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
    [
      "GitLab: protected branch with another commit checked out",
      gitlab({ CI_COMMIT_REF_PROTECTED: "true", CI_COMMIT_SHA: "b".repeat(40) }),
      null,
      "fork",
    ],
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

    ["Azure Pipelines", { TF_BUILD: "True", BUILD_SOURCEBRANCH: "refs/heads/main" }, null, "branch"],
    ["Azure Pipelines: pull request of a fork", { TF_BUILD: "True", SYSTEM_PULLREQUEST_ISFORK: "True" }, null, "fork"],
    ["Azure Pipelines: pull request of a branch", { TF_BUILD: "True", SYSTEM_PULLREQUEST_ISFORK: "False" }, null, "branch"],
    ["TeamCity", { TEAMCITY_VERSION: "2025.1", BUILD_NUMBER: "7" }, null, "branch"],
    ["AWS CodeBuild", { CODEBUILD_BUILD_ARN: "arn:aws:codebuild:x", CODEBUILD_SRC_DIR: "/x" }, null, "branch"],
    ["Google Cloud Build", { BUILDER_OUTPUT: "/builder/outputs" }, null, "branch"],
    ["CircleCI", { CI: "true", CIRCLECI: "true", CIRCLE_BRANCH: "main" }, null, "branch"],
    ["CircleCI: pull request of a fork", { CI: "true", CIRCLECI: "true", CIRCLE_PR_REPONAME: "toolbox" }, null, "fork"],
    ["Jenkins", { JENKINS_URL: "https://ci", BUILD_ID: "7", BRANCH_NAME: "main" }, null, "branch"],
    ["Jenkins: change of a fork", { JENKINS_URL: "https://ci", BUILD_ID: "7", CHANGE_FORK: "mallory" }, null, "fork"],
    ["Buildkite", { CI: "true", BUILDKITE: "true", BUILDKITE_PULL_REQUEST: "false" }, null, "branch"],
    [
      "Buildkite: pull request of a fork",
      { BUILDKITE: "true", BUILDKITE_REPO: "git@x:acme/toolbox", BUILDKITE_PULL_REQUEST_REPO: "git@x:mallory/toolbox" },
      null,
      "fork",
    ],
    [
      "Travis CI: pull request of a fork",
      { TRAVIS: "true", TRAVIS_REPO_SLUG: "acme/toolbox", TRAVIS_PULL_REQUEST_SLUG: "mallory/toolbox" },
      null,
      "fork",
    ],
    ["Drone", { CI: "true", DRONE: "true", DRONE_BRANCH: "main" }, null, "branch"],
    ["Woodpecker", { CI: "woodpecker", CI_PIPELINE_EVENT: "push" }, null, "branch"],
    ["Bitbucket Pipelines", { CI: "true", BITBUCKET_COMMIT: head, BITBUCKET_BRANCH: "main" }, null, "branch"],
    ["Bamboo", { bamboo_planKey: "X" }, null, "branch"],
  ])("%s", (_, env, event, scope) => {
    // A terminal makes no difference where a CI is in sight: some give each job one.
    if (Object.keys(env).some((name) => !["CI", "FACTORY_SCOPE"].includes(name)))
      expect(trustOf(env, around(event, true)).level).toBe(scope);
    const found = trustOf(env, around(event));
    expect(found.level).toBe(scope);
    expect(found.why).not.toBe("");
  });

  test("one that does not exist is refused", () =>
    expect(() => trustOf({ FACTORY_SCOPE: "protectd" }, around(null))).toThrow(
      expect.objectContaining({
        code: "USAGE",
        explanation: expect.objectContaining({ fix: expect.stringContaining("protected") }),
      }),
    ));

  test("a person at a terminal with no CI in sight is trusted, and says so", () => {
    expect(trustOf({}, around(null, true))).toEqual({
      level: "protected",
      why: expect.stringContaining("a person at a terminal"),
    });
    expect(trustOf({ CI: "false" }, around(null, true)).level).toBe("protected");
    expect(trustOf({ CI: "1" }, around(null, true)).level).toBe("branch");
  });

  test("where git names no commit, a CI's word about a ref counts for nothing", () =>
    expect(trustOf(github("push"), around({}, true, null))).toEqual({
      level: "branch",
      why: expect.stringContaining("FACTORY_SCOPE=protected"),
    }));

  test("what is silent is a branch, and hears how to say otherwise", () => {
    for (const env of [{}, { CI: "true" }, { TEAMCITY_VERSION: "1" }])
      expect(trustOf(env, around(null)).why).toContain("set FACTORY_SCOPE=protected");
  });

  test("the event is read on GitHub only, and git is started for a word about a commit only", () => {
    const refuse = (): never => {
      throw new Error("nobody needs it");
    };
    expect(trustOf({ CI: "true" }, { event: refuse, head: refuse, interactive: true }).level).toBe("branch");
  });
});
