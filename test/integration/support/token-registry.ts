import { sign, X509Certificate } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeCa } from "./certificates.js";
import { startRegistry, type TestRegistry } from "./registry.js";

/** A request to the token service. */
type Asked = { method: string; user: string | null; scopes: string[]; refreshToken: string | null };

export type TokenRegistry = TestRegistry & {
  /** What the token service was asked, in order. */
  asked: Asked[];
  /** Seconds for which tokens are said to be good. Null: nothing is said. */
  tokens: { life: number | null; refuse: { status: number; body: string } | null };
};

export type TokenSetup = {
  user: string;
  password: string;
  /** Accepted as a refresh token. */
  refreshToken?: string;
  /** What may be done: `null` stands for an anonymous caller. Default: the user everything, others nothing. */
  may?: (user: string | null, repository: string, action: string) => boolean;
};

/**
 * A real registry that trusts the tokens of a service in this process: signed JWTs with the granted scopes, as
 * distribution's "Token Authentication Specification" has them. A wrong login is refused; a scope that is not granted is left out.
 */
export const startTokenRegistry = async (setup: TokenSetup): Promise<TokenRegistry> => {
  const folder = await mkdtemp(join(tmpdir(), "factory-token-"));
  const { certificate, key } = await makeCa(folder);
  const signer = {
    key: await readFile(key, "utf8"),
    x5c: new X509Certificate(await readFile(certificate)).raw.toString("base64"),
  };
  const asked: Asked[] = [];
  const tokens: TokenRegistry["tokens"] = { life: 300, refuse: null };
  const may = setup.may ?? ((user) => user !== null);

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const send = (status: number, value: unknown) =>
      response
        .writeHead(status, { "content-type": "application/json" })
        .end(typeof value === "string" ? value : JSON.stringify(value));
    const url = new URL(request.url ?? "/", "http://token");
    const form = new URLSearchParams(request.method === "POST" ? await textOf(request) : "");
    const login = /^Basic (.+)$/.exec(request.headers.authorization ?? "")?.[1];
    const [, user = "", password = ""] = /^([^:]*):(.*)$/.exec(Buffer.from(login ?? "", "base64").toString()) ?? [];
    const refreshToken = form.get("refresh_token");
    const scopes = request.method === "POST" ? (form.get("scope") ?? "").split(" ") : url.searchParams.getAll("scope");
    const isRefresh = refreshToken !== null && refreshToken === setup.refreshToken;
    asked.push({ method: request.method ?? "", user: login === undefined ? null : user, scopes, refreshToken });
    if (tokens.refuse !== null) return void send(tokens.refuse.status, tokens.refuse.body);
    if ((login !== undefined && (user !== setup.user || password !== setup.password)) || (refreshToken !== null && !isRefresh))
      return void send(401, { errors: [{ code: "UNAUTHORIZED", message: "authentication required", detail: null }] });
    const who = login === undefined && !isRefresh ? null : setup.user;
    const access = scopes.filter(Boolean).map((scope) => {
      const [type = "", name = "", actions = ""] = scope.split(":");
      return { type, name, actions: actions.split(",").filter((action) => may(who, name, action)) };
    });
    const token = jwt(signer, who ?? "", access);
    send(200, {
      ...(request.method === "POST" ? { access_token: token } : { token }),
      ...(tokens.life === null ? {} : { expires_in: tokens.life }),
    });
  };

  const server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const realm = `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`;
  const registry = await startRegistry({
    delete: true,
    token: { realm, service: "test-service", issuer: "test-issuer", certificate },
  });
  return {
    ...registry,
    asked,
    tokens,
    async stop() {
      server.closeAllConnections();
      server.close();
      await registry.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
};

const textOf = async (request: IncomingMessage): Promise<string> => {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
};

const jwt = (signer: { key: string; x5c: string }, subject: string, access: readonly unknown[]): string => {
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    iss: "test-issuer",
    sub: subject,
    aud: "test-service",
    exp: now + 300,
    nbf: now - 10,
    iat: now,
    jti: String(Math.random()),
    access,
  };
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const text = `${part({ typ: "JWT", alg: "ES256", x5c: [signer.x5c] })}.${part(claims)}`;
  return `${text}.${sign("sha256", Buffer.from(text), { key: signer.key, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
};
