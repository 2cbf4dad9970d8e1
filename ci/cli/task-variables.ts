import { readFileSync } from "node:fs";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import { suggestion } from "../../dagger/src/pipeline/common/suggest.js";
import type { World } from "../host/world.js";

/**
 * What stands as NAME=… among the words that Task was given. The Taskfile hands over every name that it knows with its value, as one JSON
 * text (FACTORY_VARIABLES: an environment variable for each would take Task half a millisecond a piece). Task takes these values from the
 * environment too, and a job's IMAGE or STAGE is no argument: only what was typed counts.
 */
export type Typed = {
  /** Names that were typed, as far as that can be told; null where it cannot. */
  words: readonly string[] | null;
  /** The names that the Taskfile knows, with their values. */
  values: Readonly<Record<string, unknown>>;
};

/**
 * @param parent the process that started this one: Task, where there is something to read
 * @throws FactoryError USAGE for values that Task did not write
 */
export const readTyped = (env: World["env"], parent: number): Typed => {
  const text = env["FACTORY_VARIABLES"] ?? "";
  if (text === "") return { values: {}, words: [] };
  const values = valuesOf(text);
  const seen = fromSystem(parent);
  // Task fills templates in, and leaves the variable as an outer Task set it: what is on its own command line is what was typed.
  const exact = Object.fromEntries(seen?.filter(([name]) => Object.hasOwn(values, name)) ?? []);
  const words = fromScript(env["FACTORY_TYPED"], parent) ?? seen?.map(([name]) => name) ?? null;
  return { values: { ...values, ...exact }, words };
};

const valuesOf = (text: string): Record<string, unknown> => {
  try {
    const values: unknown = JSON.parse(text);
    if (typeof values === "object" && values !== null && !Array.isArray(values)) return values as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw new FactoryError("USAGE", {
    what: "cannot read FACTORY_VARIABLES",
    why: "it is not a JSON object",
    fix: "unset it: the Taskfile sets it, and a value of the environment is FACTORY_NAME=VALUE",
  });
};

/** What ./task saw: the process that it became, then names. One that an outer ./task handed on is of another process. */
const fromScript = (text: string | undefined, parent: number): string[] | null => {
  const [process, ...names] = (text ?? "").split("\n").filter((line) => line !== "");
  return process === String(parent) ? names : null;
};

/** The words of the running Task with their values, where the system has /proc; null elsewhere. */
const fromSystem = (parent: number): [name: string, value: string][] | null => {
  try {
    const [, ...words] = readFileSync(`/proc/${parent}/cmdline`, "utf8").split("\0");
    const end = words.indexOf("--");
    return words.slice(0, end < 0 ? words.length : end).flatMap((word) => {
      const [name, ...value] = word.split("=");
      return word.startsWith("-") || value.length === 0 ? [] : [[name!, value.join("=")]];
    });
  } catch {
    return null;
  }
};

/** The environment with what was typed as FACTORY_<FLAG>, also where it has that already: a word for one command counts more. */
export const withVariables = (env: World["env"], { words, values }: Typed): World["env"] => {
  const { FACTORY_VARIABLES: _values, FACTORY_TYPED: _words, ...rest } = env;
  // Where nobody knows what was typed, what the environment says in the same words is the environment's.
  const isTyped = (name: string, value: unknown) => (words === null ? String(value) !== env[name] : words.includes(name));
  const given = Object.entries(values).filter(([name, value]) => value !== null && value !== "" && isTyped(name, value));
  return { ...rest, ...Object.fromEntries(given.map(([name, value]) => [`FACTORY_${flagOf(name)}`, String(value)])) };
};

/** Names in the plural, whose flag may be given several times. */
const plurals: Readonly<Record<string, string>> = { TAGS: "TAG", BUILD_ARGS: "BUILD_ARG" };
const flagOf = (name: string): string => (Object.hasOwn(plurals, name) ? plurals[name]! : name);

/** @throws FactoryError USAGE for a word that was typed and that the command does not take: nothing would come of it */
export const refuseStray = (name: string, flags: Readonly<Record<string, unknown>>, { words, values }: Typed): void => {
  const known = Object.keys(values);
  const taken = known.filter((one) => Object.hasOwn(flags, flagOf(one).toLowerCase().replaceAll("_", "-")));
  for (const word of words ?? []) {
    if (taken.includes(word)) continue;
    const near = suggestion(word, taken);
    throw new FactoryError("USAGE", {
      what: known.includes(word) ? `${word}= means nothing to ${name}` : `${word}= is not known`,
      why: taken.length === 0 ? `${name} takes no such words` : `${name} takes ${taken.map((one) => `${one}=`).join(" ")}`,
      fix: near.startsWith("did you mean") ? near.replace("?", "=?") : "leave it out; flags stand behind --",
    });
  }
};
