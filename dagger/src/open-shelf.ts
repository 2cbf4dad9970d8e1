import type { Secret } from "@dagger.io/dagger";
import { FactoryError } from "./pipeline/error.js";
import type { Plan } from "./pipeline/plan.js";
import type { Spec } from "./pipeline/spec.js";
import { refuseLoopback, type Shelf } from "./shelf.js";

export type ShelfAddress = {
  spec: Spec;
  plan: Plan;
  registry: string | undefined;
  repository: string | undefined;
  username: string | undefined;
  token: Secret | undefined;
};

/**
 * The repository of an image as a shelf.
 * @throws FactoryError USAGE for a registry on loopback, and for a token without a name or the other way round
 */
export const openShelf = async ({ spec, plan, registry, repository, username, token }: ShelfAddress): Promise<Shelf> => {
  const place = registry ?? spec.registry;
  const own = spec.images[plan.image]!.repository;
  refuseLoopback(place);
  if ((username === undefined) !== (token === undefined)) {
    throw new FactoryError("USAGE", {
      what: username === undefined ? "a token without a username" : "a username without a token",
      why: "a registry takes both, or neither",
      fix: "--username NAME --token env:TOKEN",
    });
  }
  throw new FactoryError("OUTPUT_FAILED", {
    what: `cannot publish ${place}/${repository ?? own}`,
    why: "this version of the module has no registry client yet",
    fix: "write the layout and push it: dagger call image export --path image, then skopeo copy oci:image docker://…",
  });
};
