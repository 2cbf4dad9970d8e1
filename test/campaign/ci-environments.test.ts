import vendors from "ci-info/vendors.json" with { type: "json" };
import { expect, test } from "vitest";
import { trustOf } from "../../ci/trust/trust-level.js";
import { randomOf, rounds, tally } from "./rounds.js";

/** Words of providers about their refs; without the one that is due, nothing random may add up to "protected". */
const words = [
  "GITHUB_ACTIONS",
  "GITHUB_REF_PROTECTED",
  "GITHUB_SHA",
  "GITHUB_EVENT_NAME",
  "GITLAB_CI",
  "CI_COMMIT_REF_PROTECTED",
  "CI_COMMIT_SHA",
];
const others = [
  "CI",
  "BUILD_ID",
  "RUN_ID",
  "CI_NAME",
  "SYSTEM_PULLREQUEST_ISFORK",
  "CIRCLE_PR_REPONAME",
  "CHANGE_FORK",
  "TERM",
  "HOME",
  "STAGE",
];
const variables = [...new Set([...words, ...others, ...vendors.flatMap(({ env }) => (typeof env === "string" ? [env] : []))])];
const head = "a".repeat(40);
const values = ["true", "1", "false", "", head, "b".repeat(40), "push", "pull_request_target", "protected", "main"];
const trusted = [
  {},
  { GITHUB_ACTIONS: "true", GITHUB_REF_PROTECTED: "true", GITHUB_SHA: head, GITHUB_EVENT_NAME: "push" },
  { GITLAB_CI: "true", CI_COMMIT_REF_PROTECTED: "true", CI_COMMIT_SHA: head },
];

test("no environment of a CI is protected without its word about this commit, and a terminal changes nothing", () => {
  const random = randomOf("ci environments");
  const seen = tally();
  for (let round = 0; round < rounds({ short: 5_000, long: 500_000 }); round += 1) {
    const env: Record<string, string> = {
      ...random.oneOf<Record<string, string>>(trusted),
      ...Object.fromEntries(
        Array.from({ length: 1 + random.below(6) }, (): [string, string] => [
          random.oneOf(random.below(2) === 0 ? words : variables),
          random.oneOf(values),
        ]),
      ),
    };
    const { level: scope } = trustOf(env, { event: () => random.oneOf([null, {}, []]), head: () => head, interactive: false });
    const github = env["GITHUB_ACTIONS"] === "true" && env["GITHUB_REF_PROTECTED"] === "true" && env["GITHUB_SHA"] === head;
    const gitlab = env["GITLAB_CI"] === "true" && env["CI_COMMIT_REF_PROTECTED"] === "true" && env["CI_COMMIT_SHA"] === head;
    if (scope === "protected") expect(github || gitlab, JSON.stringify(env)).toBe(true);
    const atTerminal = trustOf(env, { event: () => null, head: () => head, interactive: true }).level;
    const named = vendors.find((vendor) => typeof vendor.env === "string" && !["", "false", undefined].includes(env[vendor.env]));
    if (named !== undefined && atTerminal === "protected") expect(github || gitlab, JSON.stringify(env)).toBe(true);
    seen.add(scope);
  }
  seen.print("ci environments");
});
