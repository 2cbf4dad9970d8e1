import type { Command } from "../command.js";
import { table } from "./table.js";

/** Usage of one command, or the list of all. */
export const helpText = (commands: readonly Command[], one: Command | undefined): string => {
  if (one === undefined) {
    return `factory <command> [flags]\n\n${table(commands.map(({ name, about }) => [name, about]))}\n\nfactory <command> --help says more.\n`;
  }
  const flags = Object.entries(one.flags).map(([name, { type, about, default: value }]) => [
    `--${name}${type === "string" ? " …" : ""}`,
    about + (value === undefined ? "" : ` (default: ${value})`),
  ]);
  const usage = ["factory", one.name, ...one.positional.map((word) => `<${word}>`), flags.length > 0 ? "[flags]" : ""]
    .join(" ")
    .trim();
  return `${usage}\n${one.about}\n\n${table(flags)}\n`;
};
