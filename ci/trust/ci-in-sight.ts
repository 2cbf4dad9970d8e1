import vendors from "ci-info/vendors.json" with { type: "json" };
import type { World } from "../host/world.js";

type Condition = string | { env: string; includes: string } | { any: string[] } | Record<string, string>;

/** Variables that several CIs set, beside those of the table (as ci-info's own `isCI` reads them). */
const general = [
  "CI",
  "CONTINUOUS_INTEGRATION",
  "BUILD_ID",
  "BUILD_NUMBER",
  "CI_APP_ID",
  "CI_BUILD_ID",
  "CI_BUILD_NUMBER",
  "CI_NAME",
  "RUN_ID",
];

/**
 * The CI that an environment belongs to, by its name or by the variable that gives it away; null where there is no sign of one.
 * The table of names and variables is the package ci-info's.
 */
export const ciInSight = (env: World["env"]): string | null => {
  const named = vendors.find(({ env: conditions }) => [conditions].flat().every((one) => holds(one as Condition, env)));
  if (named !== undefined) return named.name;
  const variable = general.find((name) => isSet(env[name]));
  return variable === undefined ? null : `a CI (${variable} is set)`;
};

const isSet = (value: string | undefined): boolean => value !== undefined && value !== "" && value !== "false";

const holds = (condition: Condition, env: World["env"]): boolean => {
  if (typeof condition === "string") return isSet(env[condition]);
  if ("any" in condition && Array.isArray(condition.any)) return condition.any.some((name) => isSet(env[name]));
  if ("includes" in condition && "env" in condition) return env[condition.env]?.includes(condition.includes) === true;
  return Object.entries(condition).every(([name, value]) => env[name] === value);
};
