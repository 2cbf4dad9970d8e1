import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { refuseAbsentMounts } from "./mount-points.js";
import { type Call, readQuery, type Value } from "./query.js";

/** What a session answers for the last field of a chain; undefined hands on to the next. */
export type Answer = (chain: readonly Call[], session: Session) => unknown;

/** An error as an engine sends it; `exec` makes it one of a command that failed. */
export class EngineError extends Error {
  constructor(
    message: string,
    readonly exec?: { cmd: readonly string[]; exitCode: number; stdout: string; stderr: string },
  ) {
    super(message);
  }
}

export type Session = {
  env: { DAGGER_SESSION_PORT: string; DAGGER_SESSION_TOKEN: string };
  /** Every chain that was asked for, in order, each as it leads from the root. */
  asked: (readonly Call[])[];
  /** An id for a chain that a test starts from. */
  idOf(chain: readonly Call[]): string;
  chainOf(id: Value | undefined): readonly Call[] | null;
  close(): Promise<void>;
};

const token = "a-token-of-this-session";

/**
 * The engine's end of the client library's protocol, on loopback: it remembers what is asked and gives out ids. What an object
 * holds is only known to `answers`, in their order. Nothing of ours is replaced: the library talks to it as to any engine.
 */
export const openSession = async (...answers: readonly Answer[]): Promise<Session> => {
  const ids = new Map<string, string>();
  const chains = new Map<string, readonly Call[]>();
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (part: Buffer) => (body += part.toString()));
    request.on("end", () => {
      response.setHeader("content-type", "application/json");
      void respond(request.headers.authorization, body).then((answer) => response.end(JSON.stringify(answer)));
    });
  });

  const respond = async (authorization: string | undefined, body: string): Promise<unknown> => {
    try {
      if (authorization !== `Basic ${Buffer.from(`${token}:`).toString("base64")}`) throw new EngineError("not authorized");
      const calls = readQuery((JSON.parse(body) as { query: string }).query);
      const [first, ...rest] = calls;
      const chain = first?.field === "node" ? [...(session.chainOf(first.args["id"]) ?? []), ...rest] : calls;
      session.asked.push(chain);
      refuseAbsentMounts(chain);
      return { data: calls.reduceRight<unknown>((value, { field }) => ({ [field]: value }), await answer(chain)) };
    } catch (error) {
      const exec = error instanceof EngineError ? error.exec : undefined;
      const message = error instanceof Error ? error.message : String(error);
      return {
        errors: [{ message, ...(exec === undefined ? {} : { extensions: { _type: "EXEC_ERROR", ...exec } }) }],
        data: null,
      };
    }
  };

  const answer = async (chain: readonly Call[]): Promise<unknown> => {
    for (const one of answers) {
      const value = await one(chain, session);
      if (value !== undefined) return value;
    }
    const last = chain.at(-1)?.field;
    if (last === "id") return session.idOf(chain.slice(0, -1));
    if (last === "sync") return session.idOf(chain.slice(0, -1));
    if (last === "version") return "v0.21.8";
    throw new EngineError(`this session has no answer for ${chain.map(({ field }) => field).join(".")}`);
  };

  const session: Session = {
    env: { DAGGER_SESSION_PORT: "", DAGGER_SESSION_TOKEN: token },
    asked: [],
    idOf(chain) {
      const key = JSON.stringify(chain);
      const known = ids.get(key);
      if (known !== undefined) return known;
      const id = `object-${ids.size + 1}`;
      ids.set(key, id);
      chains.set(id, chain);
      return id;
    },
    chainOf: (id) => (typeof id === "string" ? (chains.get(id) ?? null) : null),
    close: () => new Promise((done, fail) => server.close((error) => (error ? fail(error) : done()))),
  };
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  session.env.DAGGER_SESSION_PORT = String((server.address() as AddressInfo).port);
  return session;
};
