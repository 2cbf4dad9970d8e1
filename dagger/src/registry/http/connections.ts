import * as http from "node:http";
import * as https from "node:https";
import * as net from "node:net";
import type { Duplex } from "node:stream";
import * as tls from "node:tls";
import { Broken } from "./broken.js";
import type { Env } from "./env.js";
import { bareHost, basicOf, isLoopback, proxyFor } from "./proxy.js";
import { secureContext } from "./trust.js";

/** How a host is reached: which kept connections, and what is written differently for a proxy. */
export type Route = {
  agent: http.Agent;
  /** The request line and headers of a plain http request that a proxy passes on; null everywhere else. */
  viaProxy: { headers: Record<string, string> } | null;
};

export type Connections = {
  routeTo(url: URL): Promise<Route>;
  /** Ends all kept connections. They do not hold the process up: this is for a program that goes on without them. */
  close(): void;
};

/**
 * Kept connections by host. Node's own agents know neither HTTPS_PROXY nor the system's certificate bundle, and the places
 * that need a registry of their own most (companies behind a proxy with their own CA) need both.
 * @param connectWithin milliseconds
 */
export const openConnections = (env: Env, connectWithin: number): Connections => {
  const routes = new Map<string, Promise<Route>>();
  const agents: http.Agent[] = [];
  const kept = <A extends http.Agent>(agent: A): A => {
    agents.push(agent);
    return agent;
  };
  const contexts = new Map<string, Promise<tls.SecureContext>>();
  const context = (host: string): Promise<tls.SecureContext> => {
    const known = contexts.get(host) ?? secureContext(env, host);
    contexts.set(host, known);
    return known;
  };

  const findRoute = async (url: URL): Promise<Route> => {
    // Go's programs (docker, skopeo, crane) never ask a proxy for this very machine either.
    const proxy = isLoopback(bareHost(url)) ? null : proxyFor(url, env);
    const secure = url.protocol === "https:";
    if (proxy !== null && proxy.protocol !== "http:" && proxy.protocol !== "https:")
      throw new Broken(
        "proxy",
        `the proxy ${proxy.protocol}//${proxy.host} is of a kind that is not spoken here; http:// and https:// are`,
      );
    if (proxy === null)
      return {
        agent: kept(
          secure
            ? new https.Agent({ keepAlive: true, secureContext: await context(url.host) })
            : new http.Agent({ keepAlive: true }),
        ),
        viaProxy: null,
      };
    const toProxy = proxy.protocol === "https:" ? { secureContext: await context(proxy.host) } : {};
    if (secure) return { agent: kept(new TunnelAgent(proxy, toProxy, await context(url.host), connectWithin)), viaProxy: null };
    const authorization = basicOf(proxy);
    return {
      agent: kept(new ProxyAgent(proxy, toProxy)),
      viaProxy: { headers: authorization === null ? {} : { "proxy-authorization": authorization } },
    };
  };

  return {
    routeTo(url) {
      const known = routes.get(url.origin) ?? findRoute(url);
      routes.set(url.origin, known);
      return known;
    },
    close() {
      for (const agent of agents) agent.destroy();
    },
  };
};

type Opened = (error: Error | null, socket?: Duplex) => void;

const portOf = (url: URL): number => Number(url.port || (url.protocol === "https:" ? 443 : 80));

/** A connection to the proxy itself. */
const reachProxy = (proxy: URL, options: tls.ConnectionOptions): net.Socket => {
  const at = { host: bareHost(proxy), port: portOf(proxy) };
  return proxy.protocol === "https:" ? tls.connect({ ...at, ...options, servername: at.host }) : net.connect(at);
};

/** Plain http through a proxy: every connection goes to the proxy, whatever host the request is for. */
class ProxyAgent extends http.Agent {
  readonly #proxy: URL;
  readonly #toProxy: tls.ConnectionOptions;

  constructor(proxy: URL, toProxy: tls.ConnectionOptions) {
    super({ keepAlive: true });
    this.#proxy = proxy;
    this.#toProxy = toProxy;
  }

  override createConnection(): Duplex {
    return reachProxy(this.#proxy, this.#toProxy);
  }
}

/** https through a proxy: a tunnel by CONNECT, and TLS with the registry itself inside it (RFC 9110, 9.3.6). */
class TunnelAgent extends https.Agent {
  readonly #proxy: URL;
  readonly #toProxy: tls.ConnectionOptions;
  readonly #context: tls.SecureContext;
  readonly #within: number;

  constructor(proxy: URL, toProxy: tls.ConnectionOptions, context: tls.SecureContext, within: number) {
    super({ keepAlive: true });
    this.#proxy = proxy;
    this.#toProxy = toProxy;
    this.#context = context;
    this.#within = within;
  }

  override createConnection(target: https.RequestOptions, tell: Opened): undefined {
    let told = false;
    const begun: Duplex[] = [];
    const opened: Opened = (error, socket) => {
      if (told) return;
      told = true;
      clearTimeout(timer);
      if (error !== null) for (const one of begun) one.destroy();
      tell(error, socket);
    };
    // A request that is given up has no socket to destroy yet: the tunnel ends by itself.
    const timer = setTimeout(() => {
      request.destroy();
      opened(new Broken("connect", `no tunnel through ${this.#proxy.host} for ${this.#within / 1000} s`));
    }, this.#within);
    const host = String(target.host);
    const authority = `${host.includes(":") ? `[${host}]` : host}:${target.port ?? 443}`;
    const authorization = basicOf(this.#proxy);
    const request = (this.#proxy.protocol === "https:" ? https : http).request({
      host: bareHost(this.#proxy),
      port: portOf(this.#proxy),
      method: "CONNECT",
      path: authority,
      headers: { host: authority, ...(authorization === null ? {} : { "proxy-authorization": authorization }) },
      agent: false,
      ...this.#toProxy,
    });
    request.once("connect", (answer, plain: net.Socket) => {
      if (answer.statusCode !== 200) {
        plain.destroy();
        opened(new Broken("proxy", `the proxy ${this.#proxy.host} answered ${answer.statusCode} to a tunnel to ${authority}`));
        return;
      }
      const secured = tls.connect({ socket: plain, servername: host, secureContext: this.#context });
      // Stays for the socket's life: between two owners an error would have no listener and end the process.
      begun.push(secured, plain);
      secured.on("error", (error) => opened(error));
      secured.once("secureConnect", () => opened(null, secured));
    });
    request.once("error", (error) => opened(error));
    request.end();
  }
}
