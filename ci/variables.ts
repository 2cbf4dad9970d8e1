import type { World } from "./command.js";

/**
 * The environment with what Task was given as IMAGE=…, STAGE=… and so on, which the Taskfile hands over as one JSON text
 * (FACTORY_VARIABLES: an environment variable for each would take Task half a millisecond a piece). Each becomes FACTORY_<NAME>, also
 * where the environment has that: what is typed for one command counts more than what is set for all. What was not given is absent.
 */
export const withVariables = ({ FACTORY_VARIABLES: text, ...env }: World["env"]): World["env"] => ({
  ...env,
  ...Object.fromEntries(given(text).map(([name, value]) => [`FACTORY_${name}`, String(value)])),
});

/** What Task was given that a command has no use for: a word in the wrong place, mostly. */
export const strayVariables = (text: string | undefined, flags: Readonly<Record<string, unknown>>): string[] =>
  given(text).flatMap(([name]) => (Object.hasOwn(flags, name.toLowerCase().replaceAll("_", "-")) ? [] : [name]));

const given = (text: string | undefined): [name: string, value: unknown][] =>
  text === undefined || text === ""
    ? []
    : Object.entries(JSON.parse(text) as Record<string, unknown>).filter(([, value]) => value !== null && value !== "");
