import { FactoryError } from "../../dagger/src/pipeline/common/error.js";

/** Who runs a command says where the value of a declared secret is. images.yaml cannot: it is one of the files that are built. */
export type Grant = { id: string; from: "env" | "file"; name: string };

/**
 * Grants in the words of docker: `id=npm-token,env=NPM_TOKEN` or `id=pip-conf,src=PATH`. Several are told apart by line feeds or blanks.
 * @throws FactoryError USAGE
 */
export const readGrants = (text: string | undefined, where: string): ReadonlyMap<string, Grant> => {
  const words = (text ?? "").split(/\n|\s+(?=(?:type|id|env|src|source)=)/).map((word) => word.trim());
  return new Map(words.filter((word) => word !== "").map((word) => [grantOf(word, where).id, grantOf(word, where)]));
};

const grantOf = (word: string, where: string): Grant => {
  const fields = new Map<string, string>();
  for (const field of word.split(",")) {
    const [, key, value] = /^(type|id|env|src|source)=(.+)$/s.exec(field) ?? [];
    const known = key === "source" ? "src" : key;
    // What stands there may be a value that was typed by mistake: it is not repeated.
    if (known === undefined || value === undefined || fields.has(known)) throw unreadable(where);
    fields.set(known, value);
  }
  const [id, type, env, src] = ["id", "type", "env", "src"].map((key) => fields.get(key));
  if (id === undefined || (env !== undefined && src !== undefined)) throw unreadable(where);
  if (type !== undefined && type !== "env" && type !== "file") throw unreadable(where);
  if (env !== undefined && type !== "file") return { id, from: "env", name: env };
  if (src !== undefined) return { id, from: type ?? "file", name: src };
  throw unreadable(where);
};

const unreadable = (where: string): FactoryError =>
  new FactoryError("USAGE", {
    what: `cannot read ${where}`,
    why: "it says which value a declared secret has: id=NAME,env=VARIABLE or id=NAME,src=FILE, with no comma in either",
    fix: "for example: -- --secret id=npm-token,env=NPM_TOKEN",
  });
