/**
 * # ci/cli
 *
 * How a command line becomes a command: flags, words of Task, help, output. A word that means nothing to a command is refused with a
 * suggestion.
 */
import { parseArgs } from "node:util";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import { suggestion } from "../../dagger/src/pipeline/common/suggest.js";
import type { World } from "../host/world.js";

type FlagSpec = { type: "string" | "boolean"; about: string; default?: string; many?: boolean };
type FlagValue<F extends FlagSpec> = F["type"] extends "boolean"
  ? boolean
  : F extends { many: true }
    ? readonly string[]
    : F extends { default: string }
      ? string
      : string | undefined;
export type Flags<S extends Record<string, FlagSpec>> = { [K in keyof S]: FlagValue<S[K]> };

export type Command = {
  name: string;
  /** One sentence, which help, the Taskfile and the docs show. */
  about: string;
  /** What its own help adds to that. */
  more?: string;
  flags: Readonly<Record<string, FlagSpec>>;
  positional: readonly string[];
  /** Returns the exit code. @throws FactoryError USAGE for flags that do not exist */
  run(argv: readonly string[], world: World): Promise<number>;
};

/**
 * A command as a value. A flag comes from the command line, or from the environment as FACTORY_<FLAG> (the Taskfile hands
 * `IMAGE=…` over so); a mistyped one fails and says what was meant.
 */
export const command = <S extends Record<string, FlagSpec>>(spec: {
  name: string;
  about: string;
  more?: string;
  flags: S;
  positional?: readonly string[];
  run(flags: Flags<S>, world: World, positionals: readonly string[]): Promise<number>;
}): Command => ({
  name: spec.name,
  about: spec.about,
  ...(spec.more === undefined ? {} : { more: spec.more }),
  flags: spec.flags,
  positional: spec.positional ?? [],
  async run(argv, world) {
    const { values, positionals } = parse(spec.name, spec.flags, argv, (spec.positional ?? []).length);
    const flags = Object.fromEntries(
      Object.entries(spec.flags).map(([name, flag]) => [name, valueOf(name, flag, values[name], world.env)]),
    );
    const { registry, secret } = flags;
    // Whatever a command opens finds its registry where any other setting is.
    const env = {
      ...world.env,
      ...(typeof registry === "string" ? { FACTORY_REGISTRY: registry } : {}),
      ...(Array.isArray(secret) ? { FACTORY_SECRET: secret.join("\n") } : {}),
    };
    return spec.run(flags as Flags<S>, { ...world, env }, positionals);
  },
});

const parse = (name: string, flags: Record<string, FlagSpec>, argv: readonly string[], positionals: number) => {
  try {
    const options = Object.fromEntries(
      Object.entries(flags).map(([key, { type, many }]) => [key, { type, multiple: many === true }]),
    );
    const parsed = parseArgs({ args: [...argv], options, strict: true, allowPositionals: positionals > 0 });
    const unread = parsed.positionals.slice(positionals);
    if (unread.length > 0) throw new Error(`cannot make anything of ${unread.join(" ")}`);
    return { values: parsed.values as Record<string, string | boolean | string[] | undefined>, positionals: parsed.positionals };
  } catch (error) {
    const message = error instanceof Error ? error.message.split(".")[0]! : String(error);
    const unknown = /Unknown option '--?([^']+)'/.exec(message)?.[1];
    throw new FactoryError("USAGE", {
      what: `${name}: ${message}`,
      why: `flags: ${Object.keys(flags)
        .map((flag) => `--${flag}`)
        .join(" ")}`,
      fix: unknown === undefined ? `./task ${name} -- --help` : suggestion(unknown, Object.keys(flags)),
    });
  }
};

const no = new Set(["", "0", "false", "no", "off"]);

/** Whether a variable of the environment turns on what it names. */
export const isOn = (text: string | undefined): boolean => text !== undefined && !no.has(text.toLowerCase());

const valueOf = (name: string, flag: FlagSpec, given: string | boolean | string[] | undefined, env: World["env"]) => {
  const fromEnv = env[`FACTORY_${name.toUpperCase().replaceAll("-", "_")}`];
  const kept = fromEnv === undefined || fromEnv === "" ? undefined : fromEnv;
  if (flag.type === "boolean") return given === undefined ? isOn(kept) : given === true;
  if (flag.many === true) return given ?? kept?.split(/\s+/).filter((word) => word !== "") ?? [];
  return given ?? kept ?? flag.default;
};
