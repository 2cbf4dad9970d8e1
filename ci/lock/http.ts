import { FactoryError } from "../../dagger/src/pipeline/error.js";
import { type Connections, openConnections } from "../../dagger/src/registry/connections.js";
import type { Env } from "../../dagger/src/registry/env.js";
import { exchange, type Incoming } from "../../dagger/src/registry/exchange.js";
import { basicOf, shownUrl } from "../../dagger/src/registry/proxy.js";

/**
 * Requests of the resolvers, over the same connections as the registry's: proxies, the system's certificates and our own CA.
 */
export type Net = {
  /** Read: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY (either case), SSL_CERT_FILE, NODE_EXTRA_CA_CERTS, FACTORY_CA_FILE. */
  env: Env;
  signal?: AbortSignal;
};

export type Answer = Incoming & { url: string };

type Ask = { method?: "GET" | "HEAD"; headers?: Readonly<Record<string, string>> };

const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const TIMEOUTS = { connect: 15_000, answer: 60_000, idle: 60_000 };
const uncounted = { up: () => undefined, down: () => undefined };

/** Connections are kept as long as the Net that they were opened for. */
const opened = new WeakMap<Net, Connections>();
const connectionsOf = (net: Net): Connections => {
  const known = opened.get(net) ?? openConnections(net.env, TIMEOUTS.connect);
  opened.set(net, known);
  return known;
};

/**
 * One request; redirects are followed, and credentials of the URL go to its own host only.
 * Any status is an answer: the caller knows what 404 means.
 * @throws FactoryError MIRROR_UNREACHABLE when no answer arrives, INTERRUPTED when the signal fired
 */
export async function ask(address: string, net: Net, { method = "GET", headers = {} }: Ask = {}): Promise<Answer> {
  let url = new URL(address);
  let sent = { ...headers };
  for (let redirects = 0; redirects < 8; redirects++) {
    const answer = await hop(url, method, sent, net).catch((cause: unknown) => {
      if (cause instanceof FactoryError) throw cause;
      throw net.signal?.aborted ? interrupted(cause) : unreachable(url, cause);
    });
    const { location } = answer.headers;
    if (!REDIRECTS.has(answer.status) || location === undefined) return { ...answer, url: url.href };
    answer.discard();
    const next = new URL(location, url);
    if (next.host !== url.host)
      sent = Object.fromEntries(Object.entries(sent).filter(([k]) => k.toLowerCase() !== "authorization"));
    url = next;
  }
  throw unreachable(url, new Error("too many redirects"));
}

async function hop(target: URL, method: string, headers: Readonly<Record<string, string>>, net: Net): Promise<Incoming> {
  const authorization = basicOf(target);
  const url = new URL(target);
  url.username = url.password = "";
  const all = { ...(authorization === null ? {} : { authorization }), ...headers };
  const route = await connectionsOf(net).routeTo(url);
  return exchange({ method, url, headers: all, body: null }, route, TIMEOUTS, uncounted, net.signal);
}

/** The whole body as text. @throws FactoryError MIRROR_UNREACHABLE when the connection breaks. */
export async function text(answer: Answer): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of chunks(answer)) parts.push(part);
  return Buffer.concat(parts).toString("utf8");
}

/** The body in parts, as it arrives. @throws FactoryError MIRROR_UNREACHABLE when the connection breaks. */
export async function* chunks(answer: Answer): AsyncGenerator<Buffer> {
  try {
    yield* answer.pieces();
  } catch (cause) {
    throw unreachable(new URL(answer.url), cause);
  }
}

export const unreachable = (url: string | URL, cause: unknown): FactoryError =>
  new FactoryError(
    "MIRROR_UNREACHABLE",
    {
      what: `cannot read ${shownUrl(url)}`,
      why: cause instanceof Error ? cause.message : String(cause),
      fix: "check the network, HTTPS_PROXY and NO_PROXY, and FACTORY_CA_FILE for a CA of your own; then run the same command again",
    },
    { cause },
  );

const interrupted = (cause: unknown): FactoryError =>
  new FactoryError(
    "INTERRUPTED",
    {
      what: "interrupted",
      why: "the download was stopped on request",
      fix: "run the same command again",
    },
    { cause },
  );
