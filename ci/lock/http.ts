import { once } from "node:events";
import { readFile } from "node:fs/promises";
import * as http from "node:http";
import * as https from "node:https";
import type { Duplex } from "node:stream";
import { connect, rootCertificates, type TLSSocket } from "node:tls";
import { FactoryError } from "../../dagger/src/pipeline/error.js";

/**
 * A small HTTP client for the resolvers. Node's fetch knows neither HTTPS_PROXY nor the system's certificate bundle,
 * and the places that need a lock most (companies behind a proxy with their own CA) need both.
 */
export type Net = {
  /** Read: HTTP_PROXY, HTTPS_PROXY, NO_PROXY (either case), SSL_CERT_FILE. */
  env: Readonly<Record<string, string | undefined>>;
  signal?: AbortSignal;
};

export type Answer = {
  status: number;
  headers: http.IncomingHttpHeaders;
  url: string;
  body: http.IncomingMessage;
};

export type Ask = { method?: "GET" | "HEAD"; headers?: Readonly<Record<string, string>> };

const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const IDLE_MS = 60_000;
const BUNDLES = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem",
  "/etc/ssl/cert.pem",
];

const either = (env: Net["env"], name: string): string | undefined => env[name.toLowerCase()] || env[name] || undefined;

/** The proxy for a URL as curl reads the environment, or null. NO_PROXY entries match a host and everything below it. */
export function proxyFor(url: URL, env: Net["env"]): URL | null {
  const proxy = either(env, url.protocol === "https:" ? "HTTPS_PROXY" : "HTTP_PROXY") ?? either(env, "ALL_PROXY");
  if (proxy === undefined) return null;
  const host = url.hostname.replace(/^\[|\]$/g, "").toLowerCase();
  for (const entry of (either(env, "NO_PROXY") ?? "").split(/[\s,]+/)) {
    const [name = "", port] = entry
      .toLowerCase()
      .replace(/^\*?\./, "")
      .split(":", 2);
    if (entry === "*") return null;
    if (name === "" || (port !== undefined && port !== url.port)) continue;
    if (host === name || host.endsWith(`.${name}`)) return null;
  }
  return new URL(proxy.includes("://") ? proxy : `http://${proxy}`);
}

/** Host and path without user, password, query: what may stand in an error. */
export const shown = (url: string | URL): string => {
  const u = new URL(url);
  return `${u.protocol}//${u.host}${u.pathname}`;
};

const basic = (url: URL): string | undefined =>
  url.username === "" && url.password === ""
    ? undefined
    : `Basic ${Buffer.from(`${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`).toString("base64")}`;

async function trusted(env: Net["env"]): Promise<string[]> {
  for (const path of env["SSL_CERT_FILE"] === undefined ? BUNDLES : [env["SSL_CERT_FILE"]]) {
    const text = await readFile(path, "utf8").catch(() => null);
    // Node's own roots stay: a company's bundle often holds the company's CA only.
    if (text !== null) return [...rootCertificates, text];
  }
  return [...rootCertificates];
}

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
      throw net.signal?.aborted ? interrupted(cause) : unreachable(url, cause);
    });
    const location = answer.headers.location;
    if (!REDIRECTS.has(answer.status) || location === undefined) return answer;
    answer.body.resume();
    const next = new URL(location, url);
    if (next.host !== url.host)
      sent = Object.fromEntries(Object.entries(sent).filter(([k]) => k.toLowerCase() !== "authorization"));
    url = next;
  }
  throw unreachable(url, new Error("too many redirects"));
}

async function hop(target: URL, method: string, headers: Readonly<Record<string, string>>, net: Net): Promise<Answer> {
  const authorization = basic(target);
  const url = new URL(target);
  url.username = url.password = "";
  const secure = url.protocol === "https:";
  const proxy = proxyFor(url, net.env);
  const ca = secure || proxy?.protocol === "https:" ? await trusted(net.env) : [];
  const options: https.RequestOptions = {
    method,
    headers: {
      "user-agent": "image-factory",
      ...(authorization === undefined ? {} : { authorization }),
      ...headers,
    },
    timeout: IDLE_MS,
    agent: false,
    ...(net.signal === undefined ? {} : { signal: net.signal }),
    ...(secure ? { ca } : {}),
  };
  if (proxy === null) return respond(url, (secure ? https : http).request(url, options));
  const proxyAuthorization = basic(proxy);
  const toProxy = proxyAuthorization === undefined ? {} : { "proxy-authorization": proxyAuthorization };
  if (!secure) {
    const through = {
      ...options,
      path: url.href,
      headers: { ...options.headers, ...toProxy, host: url.host },
    };
    return respond(url, (proxy.protocol === "https:" ? https : http).request(proxy, { ...through, ca }));
  }
  const socket = await tunnel(proxy, url, toProxy, ca, net);
  return respond(url, https.request(url, { ...options, createConnection: () => socket }));
}

async function tunnel(proxy: URL, url: URL, headers: Record<string, string>, ca: string[], net: Net): Promise<TLSSocket> {
  const port = url.port === "" ? "443" : url.port;
  const host = url.hostname;
  const plain = await new Promise<Duplex>((resolve, reject) => {
    const request = (proxy.protocol === "https:" ? https : http).request(proxy, {
      method: "CONNECT",
      path: `${host}:${port}`,
      headers: { host: `${host}:${port}`, ...headers },
      agent: false,
      timeout: IDLE_MS,
      ca,
      ...(net.signal === undefined ? {} : { signal: net.signal }),
    });
    request.once("connect", (answer, socket) =>
      answer.statusCode === 200 ? resolve(socket) : reject(new Error(`the proxy ${proxy.host} answered ${answer.statusCode}`)),
    );
    request.once("timeout", () => request.destroy(new Error(`no answer from the proxy ${proxy.host}`)));
    request.once("error", reject);
    request.end();
  });
  const secured = connect({ socket: plain, servername: host, ca });
  // Stays for the socket's life: between two owners an error would have no listener and end the process.
  secured.on("error", () => undefined);
  await once(secured, "secureConnect");
  return secured;
}

const respond = (url: URL, request: http.ClientRequest): Promise<Answer> =>
  new Promise((resolve, reject) => {
    request.once("timeout", () => request.destroy(new Error(`no byte in ${IDLE_MS / 1000} s`)));
    request.once("error", reject);
    request.once("response", (body) => resolve({ status: body.statusCode ?? 0, headers: body.headers, url: url.href, body }));
    request.end();
  });

/** The whole body as text. @throws FactoryError MIRROR_UNREACHABLE when the connection breaks. */
export async function text(answer: Answer): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of chunks(answer)) parts.push(part);
  return Buffer.concat(parts).toString("utf8");
}

/** The body in parts, as it arrives. @throws FactoryError MIRROR_UNREACHABLE when the connection breaks. */
export async function* chunks(answer: Answer): AsyncGenerator<Buffer> {
  try {
    for await (const part of answer.body) yield part as Buffer;
  } catch (cause) {
    throw unreachable(new URL(answer.url), cause);
  }
}

export const unreachable = (url: string | URL, cause: unknown): FactoryError =>
  new FactoryError(
    "MIRROR_UNREACHABLE",
    {
      what: `cannot read ${shown(url)}`,
      why: reason(cause),
      fix: "check the network, HTTPS_PROXY and NO_PROXY, and SSL_CERT_FILE for a CA of your own; then run the same command again",
    },
    { cause },
  );

// A refused connection to a host with two addresses is an AggregateError without a message.
const reason = (cause: unknown): string => {
  if (cause instanceof AggregateError) return cause.errors.map(reason).join("; ");
  return cause instanceof Error ? cause.message || String((cause as NodeJS.ErrnoException).code ?? cause.name) : String(cause);
};

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
