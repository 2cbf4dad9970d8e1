import type { World } from "./command.js";

/**
 * The environment with what Task was given as IMAGE=…, STAGE=… and so on, which the Taskfile hands over as one JSON text
 * (FACTORY_VARIABLES: an environment variable for each would take Task half a millisecond a piece). Each becomes FACTORY_<NAME>,
 * unless the environment says that already. What was not given is absent.
 */
export const withVariables = ({ FACTORY_VARIABLES: text, ...env }: World["env"]): World["env"] => {
  if (text === undefined || text === "") return env;
  const given = Object.entries(JSON.parse(text) as Record<string, unknown>)
    .filter(([, value]) => value !== null && value !== "")
    .map(([name, value]) => [`FACTORY_${name}`, String(value)] as const)
    .filter(([name]) => (env[name] ?? "") === "");
  return { ...env, ...Object.fromEntries(given) };
};
