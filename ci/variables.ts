import type { World } from "./command.js";

/** What Task was given that a command has no use for: a word in the wrong place, mostly. */
export const strayVariables = (text: string | undefined, flags: Readonly<Record<string, unknown>>): string[] =>
  Object.entries(text === undefined || text === "" ? {} : (JSON.parse(text) as Record<string, unknown>))
    .filter(([name, value]) => value !== null && value !== "" && !Object.hasOwn(flags, name.toLowerCase().replaceAll("_", "-")))
    .map(([name]) => name);

/**
 * The environment with what Task was given as IMAGE=…, STAGE=… and so on, which the Taskfile hands over as one JSON text
 * (FACTORY_VARIABLES: an environment variable for each would take Task half a millisecond a piece). Each becomes FACTORY_<NAME>, also
 * where the environment has that: what is typed for one command counts more than what is set for all. What was not given is absent.
 */
export const withVariables = ({ FACTORY_VARIABLES: text, ...env }: World["env"]): World["env"] => {
  if (text === undefined || text === "") return env;
  const given = Object.entries(JSON.parse(text) as Record<string, unknown>)
    .filter(([, value]) => value !== null && value !== "")
    .map(([name, value]) => [`FACTORY_${name}`, String(value)]);
  return { ...env, ...Object.fromEntries(given) };
};
