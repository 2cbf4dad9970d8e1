import type { Call, Value } from "./query.js";
import type { Session } from "./session.js";

/** A chain as a text that a person can read: one field a line, objects that it refers to before it and by a name. */
export const programOf = (chain: readonly Call[], session: Session): string => {
  const names = new Map<string, string>();
  const blocks: string[] = [];
  const counts = new Map<string, number>();

  const nameOf = (id: string, chain: readonly Call[]): string => {
    const known = names.get(id);
    if (known !== undefined) return known;
    const text = written(chain);
    const kind = kindOf(chain);
    const count = (counts.get(kind) ?? 0) + 1;
    counts.set(kind, count);
    const name = `${kind}${count}`;
    names.set(id, name);
    blocks.push(`${name} = ${text}`);
    return name;
  };
  const shown = (value: Value): string => {
    const chain = session.chainOf(value);
    if (chain !== null && typeof value === "string") return nameOf(value, chain);
    if (typeof value === "string" && value.includes("\n"))
      return `"""\n${value
        .split("\n")
        .map((line) => `      ${line}`)
        .join("\n")}"""`;
    if (Array.isArray(value)) return `[${value.map(shown).join(", ")}]`;
    if (value !== null && typeof value === "object" && "word" in value) return String(value.word);
    return JSON.stringify(value);
  };
  const written = (calls: readonly Call[]): string =>
    calls
      .map(({ field, args }) => {
        const words = Object.entries(args).map(([name, value]) => `${name}: ${shown(value)}`);
        return `${field}(${words.join(", ")})`;
      })
      .join("\n  .");

  const last = written(chain);
  return `${[...blocks, `result = ${last}`].join("\n\n")}\n`;
};

const kinds: Readonly<Record<string, string>> = {
  http: "download",
  cacheVolume: "cache",
  secret: "secret",
  setSecret: "secret",
  file: "file",
  directory: "directory",
  workdir: "directory",
  withDirectory: "directory",
  withFile: "directory",
};

const kindOf = (chain: readonly Call[]): string => kinds[chain.at(-1)?.field ?? ""] ?? "object";
