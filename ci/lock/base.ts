import { createHash } from "node:crypto";
import { FactoryError } from "../../dagger/src/pipeline/error.js";
import { ask, chunks, shown, text, type Answer, type Net } from "./http.js";

const ACCEPT = [
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
].join(", ");

type Reference = { registry: string; repository: string; tag: string; digest: string | null };

/** Reads an image reference as Docker does: no registry means Docker Hub, no tag means latest. */
export function parseReference(ref: string): Reference {
  const [named = "", digest] = ref.split("@", 2);
  const slash = named.indexOf("/");
  const first = slash < 0 ? "" : named.slice(0, slash);
  const hasRegistry = first.includes(".") || first.includes(":") || first === "localhost";
  const path = hasRegistry ? named.slice(slash + 1) : named;
  const [, repository = "", tag] = /^(.*?)(?::([\w][\w.-]{0,127}))?$/.exec(path) ?? [];
  if (!/^[a-z0-9]+(?:[._/-]+[a-z0-9]+)*$/.test(repository) || (digest !== undefined && !/^sha256:[0-9a-f]{64}$/.test(digest)))
    throw new FactoryError("CONFIG_INVALID", {
      what: `not an image reference: ${ref}`,
      why: "expected registry/repository:tag, lower case",
      fix: "correct `base` in images.yaml",
    });
  const registry = hasRegistry && first !== "docker.io" ? first : "registry-1.docker.io";
  const official = registry === "registry-1.docker.io" && !repository.includes("/");
  return {
    registry,
    repository: official ? `library/${repository}` : repository,
    tag: tag ?? "latest",
    digest: digest ?? null,
  };
}

/** Only a registry on this very machine is spoken to in the clear. */
const isLoopback = (registry: string): boolean => /^(localhost|127(\.\d+){3}|\[::1\])(:\d+)?$/.test(registry);

/**
 * The digest that a base reference stands for now (of the image index where there is one), as an anonymous caller sees it.
 * @throws FactoryError BASE_UNREACHABLE, CONFIG_INVALID (not a reference), INTERRUPTED
 */
export async function resolveBaseDigest(ref: string, net: Net): Promise<string> {
  const { registry, repository, tag, digest } = parseReference(ref);
  if (digest !== null) return digest;
  const url = `${isLoopback(registry) ? "http" : "https"}://${registry}/v2/${repository}/manifests/${tag}`;
  try {
    const manifest = await manifestDigest(url, net);
    if ("digest" in manifest) return manifest.digest;
    throw unreachable(ref, `${shown(url)} answered ${manifest.status}`, manifest.status);
  } catch (error) {
    if (error instanceof FactoryError && error.code === "MIRROR_UNREACHABLE")
      throw unreachable(ref, error.explanation.why, 0, error);
    throw error;
  }
}

async function manifestDigest(url: string, net: Net): Promise<{ digest: string } | { status: number }> {
  const headers: Record<string, string> = { accept: ACCEPT };
  let answer = await head(url, net, headers);
  const challenge = answer.headers["www-authenticate"];
  if (answer.status === 401 && challenge !== undefined && /^bearer /i.test(challenge)) {
    const token = await anonymousToken(challenge, net);
    if (token === null) return { status: 401 };
    headers["authorization"] = `Bearer ${token}`;
    answer = await head(url, net, headers);
  }
  if (answer.status !== 200) return { status: answer.status };
  const told = String(answer.headers["docker-content-digest"] ?? "");
  if (/^sha256:[0-9a-f]{64}$/.test(told)) return { digest: told };
  // The header is optional in the specification: the digest is the hash of the bytes in any case.
  const whole = await ask(url, net, { headers });
  const hash = createHash("sha256");
  for await (const part of chunks(whole)) hash.update(part);
  return whole.status === 200 ? { digest: `sha256:${hash.digest("hex")}` } : { status: whole.status };
}

async function head(url: string, net: Net, headers: Readonly<Record<string, string>>): Promise<Answer> {
  const answer = await ask(url, net, { method: "HEAD", headers });
  answer.body.resume();
  return answer;
}

async function anonymousToken(challenge: string, net: Net): Promise<string | null> {
  const fields = Object.fromEntries([...challenge.matchAll(/(\w+)="([^"]*)"/g)].map(([, key = "", value = ""]) => [key, value]));
  if (fields["realm"] === undefined) return null;
  const url = new URL(fields["realm"]);
  for (const key of ["service", "scope"]) if (fields[key] !== undefined) url.searchParams.set(key, fields[key]);
  const answer = await ask(url.href, net);
  const body = await text(answer);
  if (answer.status !== 200) return null;
  const { token, access_token: accessToken } = JSON.parse(body) as {
    token?: string;
    access_token?: string;
  };
  return token ?? accessToken ?? null;
}

const unreachable = (ref: string, why: string, status: number, cause?: Error): FactoryError =>
  new FactoryError(
    "BASE_UNREACHABLE",
    {
      what: `cannot read the base image ${ref}`,
      why,
      fix:
        status === 404 || status === 401 || status === 403
          ? "correct the name and tag of `base` in images.yaml; an image that needs a login is not read yet: write its digest (`…@sha256:…`)"
          : "check the network and HTTPS_PROXY, or use a base that is bootstrapped from a package mirror (`bootstrap: debian`)",
    },
    cause === undefined ? undefined : { cause },
  );
