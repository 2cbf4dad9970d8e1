import type { Command } from "./command.js";
import { table } from "../../dagger/src/pipeline/common/format.js";

/** All commands. */
export const overview = (commands: readonly Command[]): string =>
  `factory <command> [flags]\n\n${table(commands.map(({ name, about }) => [name, about]))}\n\n./task <command> -- --help says more.\n`;

/** Usage of one command. */
export const usage = (one: Command): string => {
  const flags = Object.entries(one.flags).map(([name, { type, about, default: value }]) => [
    `--${name}${type === "string" ? " …" : ""}`,
    about + (value === undefined ? "" : ` (default: ${value})`),
  ]);
  const words = ["factory", one.name, ...one.positional.map((word) => `<${word}>`), flags.length > 0 ? "[flags]" : ""];
  return `${words.join(" ").trim()}\n${one.about}${one.more === undefined ? "" : `: ${one.more}`}\n\n${table(flags)}\n`;
};
