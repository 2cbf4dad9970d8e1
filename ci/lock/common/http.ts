import { FactoryError, interrupted } from "../../../dagger/src/pipeline/common/error.js";
import { type Connections, openConnections } from "../../../dagger/src/registry/http/connections.js";
import type { Env } from "../../../dagger/src/registry/http/env.js";
import { exchange, type Incoming } from "../../../dagger/src/registry/http/exchange.js";
import { basicOf, shownUrl } from "../../../dagger/src/registry/http/proxy.js";

/**
 * Requests of the resolvers, over the same connections as the registry's: proxies, the system's certificates and our own CA.
 */
export type Net = {
  /** Read: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY (either case), SSL_CERT_FILE, NODE_EXTRA_CA_CERTS, FACTORY_CA_FILE. */
  env: Env;
  signal?: AbortSignal;
};

export type LockResponse = Incoming & { url: string };

type Ask = { method?: "GET" | "HEAD"; headers?: Readonly<Record<string, string>> };

/** The most bytes that are read: of a page of an index, of a file, and of all answers of a run together. */
export type Limits = { page: number; file: number; run: number };
export const limits: Limits = { page: 64 * 2 ** 20, file: 4 * 2 ** 30, run: 32 * 2 ** 30 };

const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const TIMEOUTS = { connect: 15_000, answer: 60_000, idle: 60_000 };
const uncounted = { up: () => undefined, down: () => undefined };

/** Connections and the count of what came are kept as long as the Net that they belong to. */
type Opened = { connections: Connections; read: number };
const opened = new WeakMap<Net, Opened>();
const openedOf = (net: Net): Opened => {
  const known = opened.get(net) ?? { connections: openConnections(net.env, TIMEOUTS.connect), read: 0 };
  opened.set(net, known);
  return known;
};

/**
 * One request; redirects are followed, and credentials of the URL go to its own host only.
 * Any status is an answer: the caller knows what 404 means.
 * @throws FactoryError MIRROR_UNREACHABLE when no answer arrives, MIRROR_FAILED (a redirect that cannot be followed), INTERRUPTED when the signal fired
 */
export async function ask(address: string, net: Net, { method = "GET", headers = {} }: Ask = {}): Promise<LockResponse> {
  let url = urlOf(address);
  if (url === null) throw unreachable(address, new Error("it is not an http or https address"));
  let sent = { ...headers };
  for (let redirects = 0; redirects < 8; redirects++) {
    const at = url;
    const answer = await hop(at, method, sent, net).catch((cause: unknown) => {
      if (cause instanceof FactoryError) throw cause;
      throw net.signal?.aborted ? interrupted("the download was stopped on request", cause) : unreachable(at, cause);
    });
    const { location } = answer.headers;
    if (!REDIRECTS.has(answer.status) || location === undefined) return { ...answer, url: at.href };
    answer.discard();
    url = urlOf(location, at);
    if (url === null) throw badRedirect(at, "its Location is not an http or https address");
    if (at.protocol === "https:" && url.protocol === "http:") throw badRedirect(at, "it leads from https to http");
    if (url.host !== at.host)
      sent = Object.fromEntries(Object.entries(sent).filter(([k]) => k.toLowerCase() !== "authorization"));
  }
  throw unreachable(url, new Error("too many redirects"));
}

/** An address from outside, or null where it is none that can be asked. */
export const urlOf = (address: string, from?: string | URL): URL | null => {
  if (!URL.canParse(address, from?.toString())) return null;
  const url = new URL(address, from);
  return url.protocol === "http:" || url.protocol === "https:" ? url : null;
};

async function hop(target: URL, method: string, headers: Readonly<Record<string, string>>, net: Net): Promise<Incoming> {
  const authorization = basicOf(target);
  const url = new URL(target);
  url.username = url.password = "";
  const all = { ...(authorization === null ? {} : { authorization }), ...headers };
  const route = await openedOf(net).connections.routeTo(url);
  const counted = { ...uncounted, down: (bytes: number) => void (openedOf(net).read += bytes) };
  const answer = await exchange({ method, url, headers: all, body: null }, route, TIMEOUTS, counted, net.signal);
  return { ...answer, pieces: () => within(answer.pieces(), net, url) };
}

/** What all answers of a run bring together is limited, too. */
async function* within(pieces: AsyncGenerator<Buffer>, net: Net, url: URL): AsyncGenerator<Buffer> {
  for await (const piece of pieces) {
    if (openedOf(net).read > limits.run) throw tooLarge(url, limits.run, "all answers together are");
    yield piece;
  }
}

/** The whole body as text. @throws FactoryError MIRROR_UNREACHABLE when the connection breaks, MIRROR_FAILED above `limits.page` */
export async function text(answer: LockResponse): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of chunks(answer, limits.page)) parts.push(part);
  return Buffer.concat(parts).toString("utf8");
}

/**
 * The body in parts, as it arrives.
 * @throws FactoryError MIRROR_UNREACHABLE when the connection breaks, MIRROR_FAILED when there are more than `most` bytes
 */
export async function* chunks(answer: LockResponse, most: number): AsyncGenerator<Buffer> {
  if (Number(answer.headers["content-length"] ?? 0) > most) {
    answer.discard();
    throw tooLarge(answer.url, most, "it is");
  }
  let size = 0;
  try {
    for await (const piece of answer.pieces()) {
      size += piece.length;
      if (size > most) throw tooLarge(answer.url, most, "it is");
      yield piece;
    }
  } catch (cause) {
    throw cause instanceof FactoryError ? cause : unreachable(answer.url, cause);
  }
}

/** A URL as it may stand in an error, or the words that are none. */
export const shownAddress = (url: string | URL): string => {
  const known = typeof url === "string" ? urlOf(url) : url;
  return known === null ? JSON.stringify(String(url).replace(/\/\/[^/]*@/, "//")) : shownUrl(known);
};

export const unreachable = (url: string | URL, cause: unknown): FactoryError =>
  new FactoryError("MIRROR_UNREACHABLE", {
    what: `cannot read ${shownAddress(url)}`,
    why: cause instanceof Error ? cause.message : String(cause),
    fix: "check the network, HTTPS_PROXY and NO_PROXY, and FACTORY_CA_FILE for a CA of your own; then run the same command again",
    cause,
  });

const badRedirect = (from: URL, why: string): FactoryError =>
  new FactoryError("MIRROR_FAILED", {
    what: `the redirect of ${shownAddress(from)} cannot be followed`,
    why,
    fix: "see what answers there, or use another mirror, index or address",
  });

const tooLarge = (url: string | URL, most: number, whose: string): FactoryError =>
  new FactoryError("MIRROR_FAILED", {
    what: `the answer of ${shownAddress(url)} is too large`,
    why: `${whose} larger than ${most / 2 ** 20} MiB`,
    fix: "see what answers there, or use another mirror, index or address",
  });
