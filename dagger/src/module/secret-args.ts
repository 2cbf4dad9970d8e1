import type { Secret } from "@dagger.io/dagger";
import { FactoryError } from "../pipeline/common/error.js";
import type { Plan } from "../pipeline/plan/types.js";
import { hostCa } from "../pipeline/steps/shell.js";

/**
 * The secrets that were handed to a function, by the ids under which steps know them: a secret belongs to the declaration that names the
 * same place (`from: env:NAME` and `--secrets env:NAME`) or whose id is the secret's own name.
 * @throws FactoryError USAGE for one that images.yaml does not declare (it would be given away for nothing), and for two that are one
 */
export const secretsOf = async (
  declared: Plan["secrets"],
  given: readonly Secret[],
  ca: Secret | undefined,
): Promise<ReadonlyMap<string, Secret>> => {
  const found = new Map<string, Secret>(ca === undefined ? [] : [[hostCa.id, ca]]);
  for (const secret of given) {
    const [uri, name] = await Promise.all([secret.uri(), secret.name()]);
    const place = addressOf(uri);
    const known = Object.entries(declared).find(([id, { from, as }]) => id === name || (place !== "" && (from ?? as) === place));
    if (known === undefined) {
      const ids = Object.entries(declared).map(([id, { from }]) => (from === undefined ? id : `${id} (${from})`));
      throw new FactoryError("USAGE", {
        what: `images.yaml declares no secret ${place || name || "of that kind"}`,
        why: ids.length === 0 ? "it declares none" : `it declares: ${ids.join(", ")}`,
        fix: "declare it under `secrets` in images.yaml, or leave it out",
      });
    }
    if (found.has(known[0])) throw twice(known[0], place || name);
    found.set(known[0], secret);
  }
  return found;
};

/** To an engine secrets of one value are one secret, whatever they are called, unless their addresses carry keys of their own. */
const twice = (id: string, place: string): FactoryError =>
  new FactoryError("USAGE", {
    what: `two of the secrets are ${place} (${id})`,
    why: "it was given twice, or another one has the same value: to the engine those are one",
    fix: "give each a key of its own: --secrets env:ONE?cacheKey=ONE --secrets env:TWO?cacheKey=TWO",
  });

/** `env://NAME?cacheKey=x` as images.yaml writes it: `env:NAME`. */
const addressOf = (uri: string): string => uri.replace(/\?.*$/, "").replace("://", ":");
