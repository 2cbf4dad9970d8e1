import { BlockList, isIP } from "node:net";
import { FactoryError } from "../../pipeline/common/error.js";
import type { Env } from "./env.js";

const named = (env: Env, name: string): string | undefined =>
  [name.toLowerCase(), name].find((one) => env[one] !== undefined && env[one] !== "");
const either = (env: Env, name: string): string | undefined => env[named(env, name) ?? name] || undefined;

/** A host of a URL without the brackets of IPv6. */
export const bareHost = (url: URL): string => url.hostname.replace(/^\[|\]$/g, "").toLowerCase();

/** This very machine. */
export const isLoopback = (host: string): boolean =>
  host === "localhost" || host.endsWith(".localhost") || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));

/**
 * The proxy for a URL as curl reads the environment (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY, either case), or null.
 * NO_PROXY entries match a host and everything below it; `*` matches all, `10.0.0.0/8` the addresses of a network.
 * @throws FactoryError USAGE for a proxy that is no address; its value is not shown, because it may hold a password
 */
export const proxyFor = (url: URL, env: Env): URL | null => {
  const variable = named(env, url.protocol === "https:" ? "HTTPS_PROXY" : "HTTP_PROXY") ?? named(env, "ALL_PROXY");
  if (variable === undefined) return null;
  const proxy = env[variable] ?? "";
  const host = bareHost(url);
  const port = url.port === "" ? (url.protocol === "https:" ? "443" : "80") : url.port;
  const entries = (either(env, "NO_PROXY") ?? "").split(/[\s,]+/).filter(Boolean);
  if (entries.some((entry) => passesBy(entry.toLowerCase(), host, port))) return null;
  const address = proxy.includes("://") ? proxy : `http://${proxy}`;
  if (!URL.canParse(address) || new URL(address).hostname === "" || hidesHost(address)) throw unreadable(variable);
  return new URL(address);
};

/** A # or ? in a password ends the host for a URL's reader: what follows it is then taken for something else. */
const hidesHost = (address: string): boolean => {
  const { search, hash, pathname } = new URL(address);
  return `${pathname}${search}${hash}`.includes("@");
};

const unreadable = (variable: string): FactoryError =>
  new FactoryError("USAGE", {
    what: `cannot read the proxy in ${variable}`,
    why: "it is not an address of the form http://user:password@host:port (it is not shown, because it may hold a password)",
    fix: "write special characters of user and password in percent encoding: # is %23, % is %25, / is %2F, ? is %3F, @ is %40, a space is %20",
  });

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
    : `Basic ${Buffer.from(`${percentDecoded(url.username)}:${percentDecoded(url.password)}`).toString("base64")}`;

/** A % that begins no encoded character stands for itself. */
const percentDecoded = (text: string): string => {
  try {
    return decodeURIComponent(text);
  } catch {
    return text.replace(/(?:%[0-9a-f]{2})+/gi, (run) => Buffer.from(run.replaceAll("%", ""), "hex").toString("utf8"));
  }
};

/** Host and path without user, password, query: what may stand in an error. Queries hold upload states and signatures of storage hosts. */
export const shownUrl = (url: string | URL): string => {
  const { protocol, host, pathname } = new URL(url);
  return `${protocol}//${host}${pathname}`;
};
