/**
 * # dagger/src/registry/auth
 *
 * Logins and tokens for a registry. Where a login comes from is decided here, and never by a file that is built.
 */
import type { FactoryError } from "../../pipeline/common/error.js";
import { bytesBody } from "../http/body.js";
import { type Challenge, covers, mergeScopes, parseChallenges, parseScopes, type Scope, scopeTexts } from "./challenge.js";
import type { FoundCredentials } from "./credentials.js";
import { denied, type Login, refusal } from "../http/registry-errors.js";
import type { RegistryResponse, Http, Whole } from "../http/types.js";
import { outsideUrl } from "../http/outside-url.js";
import { shownUrl } from "../http/proxy.js";

/** What goes into the Authorization header, or why nothing can. */
type Permit = { state: "permitted"; authorization: string | null } | { state: "refused"; error: FactoryError };

/** Answers a registry's challenges and keeps its tokens. One for a registry: all its repositories share it. */
export type Auth = {
  login: Login;
  /** For a request that has not been refused yet. A registry whose way is not known yet is asked without a login first. */
  permit(scopes: readonly Scope[], doing: string): Promise<Permit>;
  /** After a 401. @param sent what the refused request carried */
  renew(answer: RegistryResponse, scopes: readonly Scope[], sent: string | null, doing: string): Promise<Permit>;
};

export type AuthOptions = {
  http: Http;
  registry: string;
  /** Asked once, at the first 401: starting a credential helper takes time, and most look-ups need none. */
  credentials: () => Promise<FoundCredentials>;
  /** Whether a token service may be asked at this address without TLS. */
  mayBePlain(url: URL): boolean;
};

type Asker = { kind: "anonymous" } | { kind: "basic"; authorization: string } | { kind: "identity" | "bearer"; token: string };
type Token = { scopes: Scope[]; value: Promise<string | FactoryError>; expires: number };
type TokenService = { kind: "bearer"; realm: URL; service: string | undefined };
type Way = { kind: "none" } | { kind: "basic" } | TokenService;

/** A token service that does not say so means a minute (distribution, "Token Response Fields"). */
const defaultLife = 60;
/** A token that ends within this time is not begun with; milliseconds. */
const margin = 10_000;

export const openAuth = (options: AuthOptions): Auth => {
  const { http, registry, mayBePlain } = options;
  const secrets = new Set<string>();
  const login: Login = {
    registry,
    source: null,
    notes: [],
    asked: false,
    hide: (text) =>
      [...secrets].filter((secret) => secret.length > 3).reduce((hidden, secret) => hidden.replaceAll(secret, "…"), text),
  };
  let asker: Promise<Asker> | null = null;
  const askerOf = (): Promise<Asker> =>
    (asker ??= options.credentials().then(({ credentials, source, notes }) => {
      Object.assign(login, { source, notes, asked: true });
      if (credentials === null) return { kind: "anonymous" };
      if (credentials.kind !== "basic") {
        secrets.add(credentials.token);
        return credentials;
      }
      const header = Buffer.from(`${credentials.username}:${credentials.password}`).toString("base64");
      secrets.add(credentials.password).add(header);
      return { kind: "basic", authorization: `Basic ${header}` };
    }));

  let way: Way = { kind: "none" };
  const tokens = new Set<Token>();

  const permitted = (authorization: string | null): Permit => ({ state: "permitted", authorization });
  const refused = (error: FactoryError): Permit => ({ state: "refused", error });

  /** The token for these scopes: a kept one that serves, or a new one. Several requests that need one wait for the same. */
  const bearer = async (service: TokenService, scopes: readonly Scope[], doing: string): Promise<Permit> => {
    for (const kept of tokens) if (kept.expires - margin <= http.clock.now()) tokens.delete(kept);
    let token = [...tokens].find((kept) => covers(kept.scopes, scopes));
    if (token === undefined) {
      const fresh: Token = { scopes: mergeScopes(scopes), value: Promise.resolve(""), expires: Number.POSITIVE_INFINITY };
      fresh.value = fetchToken(service, fresh.scopes, doing).then((answer) => {
        if (!("value" in answer)) {
          tokens.delete(fresh);
          return answer;
        }
        secrets.add(answer.value);
        fresh.expires = answer.expires;
        return answer.value;
      });
      // Whoever awaits it hears of the failure; nobody awaiting it is none.
      fresh.value.catch(() => tokens.delete(fresh));
      tokens.add(fresh);
      token = fresh;
    }
    const value = await token.value;
    return typeof value === "string" ? permitted(`Bearer ${value}`) : refused(value);
  };

  const fetchToken = async (
    { realm, service }: TokenService,
    scopes: readonly Scope[],
    doing: string,
  ): Promise<{ value: string; expires: number } | FactoryError> => {
    if (realm.protocol !== "https:" && !mayBePlain(realm))
      return denied(doing, `its token service ${shownUrl(realm)} has no TLS, and a login is not sent in the clear`, login);
    const texts = scopeTexts(scopes);
    const asked = http.clock.now();
    const asker = await askerOf();
    const answer =
      asker.kind === "identity" ? await refresh(realm, service, texts, asker.token) : await get(realm, service, texts, asker);
    if (answer.status !== 200) return tokenRefusal(answer, asker, doing);
    const { token, access_token: accessToken, expires_in: life } = readJson(answer.body);
    const value = typeof token === "string" && token !== "" ? token : accessToken;
    if (typeof value !== "string" || value === "") return denied(doing, `the token service ${realm.host} sent no token`, login);
    return { value, expires: asked + (typeof life === "number" && life > 0 ? life : defaultLife) * 1000 };
  };

  const get = (realm: URL, service: string | undefined, scopes: readonly string[], asker: Asker): Promise<Whole> => {
    const url = new URL(realm);
    if (service !== undefined) url.searchParams.set("service", service);
    for (const scope of scopes) url.searchParams.append("scope", scope);
    const headers = asker.kind === "basic" ? { authorization: asker.authorization } : {};
    return http.ask({ about: "token", method: "GET", url, headers });
  };

  /** OAuth 2 as registries speak it (distribution, "Oauth2 Token Authentication"): the refresh token is a secret and stands in the body. */
  const refresh = (realm: URL, service: string | undefined, scopes: readonly string[], token: string): Promise<Whole> => {
    const form = new URLSearchParams({ grant_type: "refresh_token", client_id: "image-factory", refresh_token: token });
    if (service !== undefined) form.set("service", service);
    if (scopes.length > 0) form.set("scope", scopes.join(" "));
    return http.ask({
      about: "token",
      method: "POST",
      url: realm,
      headers: { "content-type": "application/x-www-form-urlencoded" },
      body: bytesBody(Buffer.from(form.toString())),
    });
  };

  /**
   * A refused token is a refused request, and never an absent image: GHCR answers an anonymous caller 403 or 401 at its token
   * endpoint for a package that is private and for one that does not exist.
   */
  const tokenRefusal = (answer: Whole, asker: Asker, doing: string): FactoryError => {
    const error = refusal(doing, answer, login);
    if (error.code !== "REGISTRY_DENIED" && error.code !== "REGISTRY_FAILED") return error;
    const hint =
      asker.kind === "anonymous" ? "\nwithout a login, a private repository and one that does not exist look the same" : "";
    return denied(doing, `its token service refused: ${error.explanation.why.split("\n")[0]}${hint}`, login);
  };

  return {
    login,
    permit: async (scopes, doing) => {
      if (way.kind === "none") return permitted(null);
      const asker = await askerOf();
      if (asker.kind === "bearer") return permitted(`Bearer ${asker.token}`);
      if (way.kind === "bearer") return bearer(way, scopes, doing);
      return permitted(asker.kind === "basic" ? asker.authorization : null);
    },
    renew: async (answer, scopes, sent, doing) => {
      const challenges = parseChallenges(answer.headers["www-authenticate"]);
      const chosen = wayOf(challenges, answer.url);
      if (chosen === null) return refused(denied(doing, noWay(challenges, answer), login));
      way = chosen.way;
      const asker = await askerOf();
      if (asker.kind === "bearer" || way.kind === "basic") {
        const next = asker.kind === "bearer" ? `Bearer ${asker.token}` : asker.kind === "basic" ? asker.authorization : null;
        if (next !== null && next !== sent) return permitted(next);
        return refused(denied(doing, next === null ? "it wants a user and a password" : "it refused the login", login));
      }
      // Somebody else may have renewed it meanwhile: only the token that was refused is dropped.
      for (const kept of tokens) if (`Bearer ${String(await kept.value.catch(() => ""))}` === sent) tokens.delete(kept);
      // What the challenge asks for beyond that is for other repositories, or an example (GHCR's names `user/image`).
      const asked = chosen.scopes.filter(({ resource }) => scopes.some((scope) => scope.resource === resource));
      return bearer(way, mergeScopes(scopes, asked), doing);
    },
  };
};

/** Bearer before Basic: a token is worth less to a thief. */
const wayOf = (
  challenges: readonly Challenge[],
  asked: URL,
): { way: { kind: "basic" } | TokenService; scopes: Scope[] } | null => {
  for (const { scheme, parameters } of challenges) {
    const { realm = "", service, scope } = parameters;
    const url = scheme === "bearer" && realm !== "" ? outsideUrl(realm, asked) : null;
    if (url !== null) return { way: { kind: "bearer", realm: url, service }, scopes: parseScopes(scope) };
  }
  return challenges.some(({ scheme }) => scheme === "basic") ? { way: { kind: "basic" }, scopes: [] } : null;
};

const noWay = (challenges: readonly Challenge[], { status }: RegistryResponse): string =>
  challenges.length === 0
    ? `it answered ${status} and does not say how to log in`
    : `it answered ${status} and wants a login by ${challenges.map(({ scheme }) => scheme).join(", ")}, which is not spoken here; Basic and Bearer are`;

const readJson = (body: Buffer): { token?: unknown; access_token?: unknown; expires_in?: unknown } => {
  try {
    const value: unknown = JSON.parse(body.toString("utf8"));
    return typeof value === "object" && value !== null ? value : {};
  } catch {
    return {};
  }
};
