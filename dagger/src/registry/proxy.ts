import { BlockList, isIP } from "node:net";
import type { Env } from "./env.js";

const either = (env: Env, name: string): string | undefined => env[name.toLowerCase()] || env[name] || undefined;

/** A host of a URL without the brackets of IPv6. */
export const bareHost = (url: URL): string => url.hostname.replace(/^\[|\]$/g, "").toLowerCase();

/** This very machine. */
export const isLoopback = (host: string): boolean =>
  host === "localhost" || host.endsWith(".localhost") || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));

/**
 * The proxy for a URL as curl reads the environment (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY, either case), or null.
 * NO_PROXY entries match a host and everything below it; `*` matches all, `10.0.0.0/8` the addresses of a network.
 */
export const proxyFor = (url: URL, env: Env): URL | null => {
  const proxy = either(env, url.protocol === "https:" ? "HTTPS_PROXY" : "HTTP_PROXY") ?? either(env, "ALL_PROXY");
  if (proxy === undefined) return null;
  const host = bareHost(url);
  const port = url.port === "" ? (url.protocol === "https:" ? "443" : "80") : url.port;
  const entries = (either(env, "NO_PROXY") ?? "").split(/[\s,]+/).filter(Boolean);
  if (entries.some((entry) => passesBy(entry.toLowerCase(), host, port))) return null;
  return new URL(proxy.includes("://") ? proxy : `http://${proxy}`);
};

const passesBy = (entry: string, host: string, port: string): boolean => {
  if (entry === "*") return true;
  const network = /^([0-9a-f.:]+)\/(\d{1,3})$/.exec(entry);
  if (network !== null) return inNetwork(host, network[1] ?? "", Number(network[2]));
  const [, name = "", onlyPort] = /^\[?(.*?)\]?(?::(\d+))?$/.exec(isIP(entry) === 6 ? `[${entry}]` : entry) ?? [];
  if (onlyPort !== undefined && onlyPort !== port) return false;
  const bare = name.replace(/^\*?\./, "");
  return bare !== "" && (host === bare || host.endsWith(`.${bare}`));
};

const inNetwork = (host: string, network: string, prefix: number): boolean => {
  const family = isIP(host);
  if (family === 0 || isIP(network) !== family || prefix > (family === 4 ? 32 : 128)) return false;
  const list = new BlockList();
  list.addSubnet(network, prefix, family === 4 ? "ipv4" : "ipv6");
  return list.check(host, family === 4 ? "ipv4" : "ipv6");
};

/** The Authorization of a URL's user and password, or null. */
export const basicOf = (url: URL): string | null =>
  url.username === "" && url.password === ""
    ? null
    : `Basic ${Buffer.from(`${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`).toString("base64")}`;

/** Host and path without user, password, query: what may stand in an error. Queries hold upload states and signatures of storage hosts. */
export const shownUrl = (url: string | URL): string => {
  const { protocol, host, pathname } = new URL(url);
  return `${protocol}//${host}${pathname}`;
};
