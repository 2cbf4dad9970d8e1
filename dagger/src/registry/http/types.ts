import type { RetryPolicy, Clock } from "./retry.js";
import type { Env } from "./env.js";
import type { Body } from "./body.js";
import type { IncomingHttpHeaders } from "node:http";
import type { Incoming } from "./exchange.js";

/** What a request is about; for those who count. A blob's content moves in `blob` (down) and `upload` (up). */
type About = "token" | "manifest" | "blob" | "upload" | "tags" | "ping" | "packages";
/** One exchange that has ended; every try and every hop of a redirect counts. */

export type Exchanged = {
  about: About;
  method: string;
  /** Without user and query. */
  url: string;
  /** Null when no answer came. */
  status: number | null;
  /** Bytes of bodies, without headers. */
  up: number;
  down: number;
};
export type HttpOptions = {
  /** Reads HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE, NODE_EXTRA_CA_CERTS, FACTORY_CA_FILE, FACTORY_PLAIN_HTTP. */
  env: Env;
  observe?: ((exchanged: Exchanged) => void) | undefined;
  retryPolicy?: RetryPolicy | undefined;
  clock?: Clock | undefined;
  signal?: AbortSignal | undefined;
};
export type Call = {
  about: About;
  method: "GET" | "HEAD" | "PUT" | "POST" | "PATCH" | "DELETE";
  url: URL;
  headers?: Readonly<Record<string, string>>;
  body?: Body | null;
  /** Whether a try that broke or was answered "later" is followed by another. Default true. */
  retried?: boolean;
  /** Overrides the wait for an answer: some registries copy a whole blob before they answer. Milliseconds. */
  answerWithin?: number;
};

export type RegistryResponse = {
  status: number;
  headers: IncomingHttpHeaders;
  /** After redirects. */
  url: URL;
};
export type Whole = RegistryResponse & { body: Buffer };
export type Streaming = RegistryResponse & Pick<Incoming, "pieces" | "discard">;
export type Http = {
  /**
   * Any status is an answer; its body is read whole.
   * @throws FactoryError REGISTRY_UNREACHABLE, REGISTRY_FAILED (a body above the limit), INTERRUPTED
   */
  ask(call: Call, limit?: number): Promise<Whole>;
  /** Any status is an answer; its body is the caller's to read. @throws as `ask`; `pieces` throws Broken */
  open(call: Call): Promise<Streaming>;
  clock: Clock;
  retryPolicy: RetryPolicy;
  signal: AbortSignal | undefined;
  close(): void;
};
