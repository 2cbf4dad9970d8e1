import { type Fix, joinFixes } from "../../dagger/src/pipeline/common/fix.js";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import { openRepository } from "../../dagger/src/registry/client.js";
import { parseReference, type Reference } from "../../dagger/src/registry/reference/reference.js";
import { quick } from "../../dagger/src/registry/http/retry.js";
import { hostLogin } from "../host/credentials.js";
import type { Net } from "./common/http.js";

/**
 * The digest that a base reference stands for now (of the image index where there is one), with the login that Docker or
 * Podman has for it, if the registry wants one.
 * @throws FactoryError BASE_UNREACHABLE, CONFIG_INVALID (not a reference), INTERRUPTED
 */
export async function resolveBaseDigest(ref: string, net: Net): Promise<string> {
  const reference = readReference(ref);
  if (reference.digest !== null) return reference.digest;
  const { env, signal } = net;
  const credentials = () => hostLogin(reference, env, signal);
  const repository = openRepository({ ...reference, env, signal, credentials, retryPolicy: quick });
  const head = await repository.headManifest(reference.tag ?? "latest");
  if (head.state === "found") return head.value.digest;
  if (head.state === "absent") throw unreachable(ref, `${repository.name} has no ${reference.tag ?? "latest"}`, named);
  const { code, explanation } = head.error;
  throw unreachable(
    ref,
    explanation.why,
    code === "REGISTRY_DENIED" ? joinFixes(explanation.fix, `\nor ${named}`) : network,
    head.error,
  );
}

const readReference = (ref: string): Reference => {
  try {
    return parseReference(ref);
  } catch (error) {
    if (!(error instanceof FactoryError)) throw error;
    const { what, why } = error.explanation;
    throw new FactoryError("CONFIG_INVALID", { what, why, fix: "correct `base` in images.yaml", cause: error });
  }
};

const named = "correct the name and tag of `base` in images.yaml, or write its digest (`…@sha256:…`)";
const network =
  "check the network and HTTPS_PROXY, or use a base that is bootstrapped from a package mirror (`bootstrap: debian`)";

const unreachable = (ref: string, why: string, fix: Fix, cause?: Error): FactoryError =>
  new FactoryError("BASE_UNREACHABLE", { what: `cannot read the base image ${ref}`, why, fix, cause });
