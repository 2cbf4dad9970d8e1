/**
 * # dagger/src/registry/http
 *
 * Requests to a registry: connections, proxies, certificates, retries, limits. A login goes to the origin that it was given for and nowhere
 * else.
 */
import { FactoryError, interrupted } from "../../pipeline/common/error.js";
import { Broken } from "./broken.js";
import { type Connections, openConnections } from "./connections.js";
import { exchange, type Incoming } from "./exchange.js";
import { failureOf } from "./registry-errors.js";
import { outsideUrl } from "./outside-url.js";
import { shownUrl } from "./proxy.js";
import { type ExchangeOutcome, persistent, systemClock, type Timeouts, waitBefore } from "./retry.js";
import type { RegistryResponse, Call, Http, HttpOptions, Streaming } from "./types.js";

/** Manifests may have 4 MiB (OCI distribution spec 1.1, "Pushing Manifests"); nothing else that is read whole is larger. */
const wholeLimit = 4 << 20;
const refusalLimit = 64 << 10;
const redirects = new Set([301, 302, 303, 307, 308]);

export const openHttp = (options: HttpOptions): Http => {
  const { clock = systemClock, retryPolicy = persistent, signal } = options;
  const { timeouts } = retryPolicy;
  const connections = openConnections(options.env, timeouts.connect);
  /** Hosts that no connection could be made to: who asks a dozen questions does not wait a dozen times. */
  const dead = new Map<string, FactoryError>();

  /** Tries until an answer is final. `once` must leave nothing open when its answer is to be thrown away. */
  const withRetries = async <T extends RegistryResponse>(
    call: Call,
    once: () => Promise<T>,
    discard: (answer: T) => void,
  ): Promise<T> => {
    const gone = dead.get(call.url.origin);
    if (gone !== undefined) throw gone;
    for (let tried = 1; ; tried++) {
      const result = await once().catch((error: unknown) => {
        if (signal?.aborted) throw stoppedExchange(error);
        if (error instanceof Broken) return error;
        throw error;
      });
      const outcome: ExchangeOutcome =
        result instanceof Broken ? { broken: result } : { status: result.status, retryAfter: result.headers["retry-after"] };
      const wait = call.retried === false ? null : waitBefore(outcome, tried, retryPolicy, clock);
      if (wait === null) {
        if (!(result instanceof Broken)) return result;
        const failure = failureOf(call, result, tried);
        if (result.kind === "connect" && call.retried !== false) dead.set(call.url.origin, failure);
        throw failure;
      }
      if (!(result instanceof Broken)) discard(result);
      await clock.sleep(wait, signal).catch((error: unknown) => Promise.reject(signal?.aborted ? stoppedExchange(error) : error));
    }
  };

  return {
    clock,
    retryPolicy,
    signal,
    close: connections.close,
    open: (call) =>
      withRetries(
        call,
        () => followed(call, connections, timeouts, options),
        (answer) => answer.discard(),
      ),
    ask: (call, limit = wholeLimit) =>
      withRetries(
        call,
        async () => {
          const answer = await followed(call, connections, timeouts, options);
          // Of a refusal only its first words count.
          const body = answer.status < 400 ? await whole(answer, limit) : await begin(answer, refusalLimit);
          if (body === null) throw tooLarge(call, limit);
          return { status: answer.status, headers: answer.headers, url: answer.url, body };
        },
        () => undefined,
      ),
  };
};

const followed = async (
  call: Call,
  connections: Connections,
  timeouts: Timeouts,
  { observe, signal }: HttpOptions,
): Promise<Streaming> => {
  let { url, method } = call as { url: URL; method: string };
  let headers = { ...call.headers };
  let body = call.body ?? null;
  for (let hops = 0; ; hops++) {
    const count = { up: 0, down: 0 };
    const tell = (status: number | null) => observe?.({ about: call.about, method, url: shownUrl(url), status, ...count });
    const answer = await exchange(
      { method, url, headers, body },
      await connections.routeTo(url),
      { ...timeouts, answer: Math.max(timeouts.answer, call.answerWithin ?? 0) },
      { up: (bytes) => (count.up += bytes), down: (bytes) => (count.down += bytes) },
      signal,
    ).catch((error: unknown) => {
      tell(null);
      throw error;
    });
    const { status } = answer;
    const location = redirects.has(status) ? answer.headers.location : undefined;
    if (location === undefined) return { status, headers: answer.headers, url, ...told(answer, () => tell(status)) };
    answer.discard();
    tell(status);
    const next = outsideUrl(location, url);
    if (next === null) throw new Broken("redirect", "a redirect to what is not an http or https address");
    if (hops === 5) throw new Broken("redirect", `more than 5 redirects, the last to ${shownUrl(next)}`);
    if (url.protocol === "https:" && next.protocol !== "https:")
      throw new Broken("redirect", `a redirect from https to ${shownUrl(next)}`);
    // What is sent (an image, a refresh token) is for that host as the login is: only a question is asked elsewhere.
    if (next.origin !== url.origin && method !== "GET" && method !== "HEAD")
      throw new Broken("redirect", `a redirect of ${method} to ${shownUrl(next)}: what is sent is for ${url.host} alone`);
    // The login is for the registry and nobody else: storage hosts have their signature in the address, and refuse a second login.
    if (next.origin !== url.origin) headers = withoutAuthorization(headers);
    if (status === 303) [method, body] = [method === "HEAD" ? "HEAD" : "GET", null];
    url = next;
  }
};

/** Tells the observer once, when the body has been read or thrown away. */
const told = (answer: Incoming, tell: () => void): Pick<Incoming, "pieces" | "discard"> => {
  let open = true;
  const once = () => {
    if (open) tell();
    open = false;
  };
  return {
    async *pieces() {
      try {
        yield* answer.pieces();
      } finally {
        once();
      }
    },
    discard() {
      answer.discard();
      once();
    },
  };
};

const whole = async (answer: Streaming, limit: number): Promise<Buffer | null> => {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of answer.pieces()) {
    size += part.length;
    if (size > limit) return null;
    parts.push(part);
  }
  return Buffer.concat(parts);
};

const begin = async (answer: Streaming, limit: number): Promise<Buffer> => {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of answer.pieces()) {
    parts.push(part);
    size += part.length;
    if (size >= limit) break;
  }
  return Buffer.concat(parts);
};

const withoutAuthorization = (headers: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => name.toLowerCase() !== "authorization"));

export const stoppedExchange = (cause: unknown): FactoryError =>
  interrupted("the exchange with the registry was stopped on request", cause);

const tooLarge = (call: Call, limit: number): FactoryError =>
  new FactoryError("REGISTRY_FAILED", {
    what: `the answer to ${call.method} ${shownUrl(call.url)} is too large`,
    why: `more than ${limit} bytes for a ${call.about}`,
    fix: "check that the address is a registry's, and that the reference names an image",
  });
