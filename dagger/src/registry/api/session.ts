/**
 * # dagger/src/registry/api
 *
 * The operations of the OCI distribution specification: manifests, blobs, uploads, lists. What arrives is hashed before it is believed.
 */
import { openAuth } from "../auth/tokens.js";
import { repositoryScope, type Scope } from "../auth/challenge.js";
import type { FoundCredentials } from "../auth/credentials.js";
import { FactoryError } from "../../pipeline/common/error.js";
import { type Login, refusal } from "../http/registry-errors.js";
import { openHttp } from "../http/http-client.js";
import { type RegistryResponse, type Call, type Http, type HttpOptions, type Streaming, type Whole } from "../http/types.js";
import { plainHttpHosts } from "../http/plain-http.js";
import { bareHost, isLoopback, shownUrl } from "../http/proxy.js";
import { apiHost, parseRegistry } from "../reference/reference.js";

export type RegistryOptions = HttpOptions & {
  /** `host[:port]` as people write it. */
  registry: string;
  /** Asked at most once, and only when the registry wants a login. */
  credentials: () => Promise<FoundCredentials>;
};

/** A request to the registry's API: where it goes, what right it needs, and what it does in words (`push to …`). */
type Request = Omit<Call, "url"> & {
  /** Below the host (`/v2/…`), or an address that the registry gave. */
  to: string | URL;
  scopes: readonly Scope[];
  doing: string;
};

/** Requests that log in when they are asked to. */
export type Session = {
  registry: string;
  http: Http;
  /** @throws FactoryError REGISTRY_DENIED when no login can be had; as Http.ask */
  ask(request: Request, limit?: number): Promise<Whole>;
  open(request: Request): Promise<Streaming>;
  /** What an answer that is not the one hoped for means. */
  refusal(doing: string, answer: Whole): FactoryError;
  login: Login;
};

/** @throws FactoryError REFERENCE_INVALID, USAGE (FACTORY_PLAIN_HTTP) */
export const openSession = (options: RegistryOptions): Session => {
  const registry = parseRegistry(options.registry);
  const http = openHttp(options);
  const plain = new Set(plainHttpHosts(options.env));
  const host = apiHost(registry);
  const loopback = isLoopback(bareHost(new URL(`http://${host}`)));
  let origin = new URL(`${loopback || plain.has(registry) ? "http" : "https"}://${host}`);
  /** A registry on this very machine mostly has no TLS, and says so itself when it has. */
  let settled = !loopback || plain.has(registry);
  const auth = openAuth({
    http,
    registry,
    credentials: options.credentials,
    // Of this machine's own services a registry elsewhere may name none.
    mayBePlain: (url) => (loopback && isLoopback(bareHost(url))) || plain.has(url.host),
  });

  const addressOf = (to: string | URL): URL => {
    const url = new URL(to, origin);
    // A registry behind a proxy that ends TLS often gives its addresses with http: they mean itself.
    if (url.host === origin.host && url.protocol === "http:") url.protocol = origin.protocol;
    return url;
  };

  const authorized = async <T extends RegistryResponse>(
    request: Request,
    send: (call: Call) => Promise<T>,
    discard: (answer: T) => void,
  ): Promise<T> => {
    const { to, scopes, doing, ...rest } = request;
    const url = addressOf(to);
    if (origin.protocol === "https:" && url.protocol !== "https:")
      throw new FactoryError("REGISTRY_FAILED", {
        what: `cannot ${doing}`,
        why: `${origin.host} names an address without TLS for it: ${shownUrl(url)}`,
        fix: "correct the registry's or its proxy's own address; nothing is sent in the clear for a registry with TLS",
      });
    // Storage hosts that a registry sends us to get no login.
    if (url.origin !== origin.origin) return send({ ...rest, url });
    const signed = (authorization: string | null): Call => ({
      ...rest,
      url,
      headers: authorization === null ? (rest.headers ?? {}) : { ...rest.headers, authorization },
    });
    const permit = await auth.permit(scopes, doing);
    if (permit.state === "refused") throw permit.error;
    const answer = await send(signed(permit.authorization));
    if (answer.status !== 401 || answer.url.origin !== origin.origin) return answer;
    discard(answer);
    const renewed = await auth.renew(answer, scopes, permit.authorization, doing);
    if (renewed.state === "refused") throw renewed.error;
    return send(signed(renewed.authorization));
  };

  let settling: Promise<void> | null = null;
  const settle = async (): Promise<void> => {
    const words = await http.ask({ about: "ping", method: "GET", url: new URL("/v2/", origin) });
    settled = true;
    // Go's and nginx's words for a plain request at a TLS port. The first answer itself has none when it is one to HEAD.
    if (words.status === 400 && /\bHTTPS\b/.test(words.body.toString("latin1"))) origin = new URL(`https://${host}`);
  };
  const inTheRightWay = async <T extends RegistryResponse>(send: () => Promise<T>, discard: (answer: T) => void): Promise<T> => {
    const asked = origin;
    const answer = await send();
    if (answer.status === 400 && !settled) await (settling ??= settle());
    settled = true;
    if (origin === asked) return answer;
    discard(answer);
    return send();
  };

  const nothing = () => undefined;
  return {
    registry,
    http,
    ask: (request, limit) => inTheRightWay(() => authorized(request, (call) => http.ask(call, limit), nothing), nothing),
    open: (request) => {
      const discard = (answer: Streaming) => answer.discard();
      return inTheRightWay(() => authorized(request, http.open, discard), discard);
    },
    refusal: (doing, answer) => refusal(doing, answer, auth.login),
    login: auth.login,
  };
};

/** A repository in a session, and the rights that reading and writing it need. */
export type Endpoint = {
  session: Session;
  repository: string;
  name: string;
  base: string;
  read: readonly Scope[];
  write: readonly Scope[];
};

/** @param access `push` asks for one token that serves reading and writing, where `pull` would need a second one at the first write */
export const placeOf = (session: Session, repository: string, access: "pull" | "push"): Endpoint => {
  const write = [repositoryScope(repository, "pull", "push")];
  return {
    session,
    repository,
    name: `${session.registry}/${repository}`,
    base: `/v2/${repository}`,
    read: access === "push" ? write : [repositoryScope(repository, "pull")],
    write,
  };
};
