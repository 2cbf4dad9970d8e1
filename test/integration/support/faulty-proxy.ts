import { Agent, createServer, type IncomingMessage, request as forward, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** What goes wrong with a request. */
export type Fault =
  /** The registry is not asked; this is the answer. It comes at once, before the request's body has been read. */
  | { do: "answer"; status: number; headers?: Record<string, string>; body?: string }
  /** The connection is reset, after so many bytes of the request's body (default: none) or at its end. The registry is not asked. */
  | { do: "reset"; after?: number }
  /** Of the request's body so many bytes are read, then nothing happens, for ever. The registry is not asked. */
  | { do: "hang"; after: number }
  /** The registry gets so many bytes of the request's body, then both connections are reset. */
  | { do: "break"; after: number }
  /** The registry does what was asked, and its answer is lost: the connection is reset. */
  | { do: "lose" }
  /** Of the answer's body so many bytes come, then the connection ends. */
  | { do: "truncate"; after: number }
  /** Of the answer's body so many bytes come, then nothing, for ever; with -1 not even the headers. */
  | { do: "stall"; after: number }
  /** Of the answer's body so many bytes come, then one byte in each `every` milliseconds. */
  | { do: "drip"; after: number; every: number }
  /** The registry's answer with other headers, another status or other content (its length is set to fit); `hide`: headers it is not asked with. */
  | { do: "change"; hide?: string[]; status?: number; headers?: Record<string, string | undefined>; body?: string };

type Rule = {
  method?: string;
  /** Tried on path and query. */
  path: RegExp;
  /** How many matches pass unharmed before. */
  skip?: number;
  /** How many are harmed then. Default 1. */
  times?: number;
  fault: Fault;
};

/** One request as the proxy saw it; bytes of bodies. */
export type Logged = {
  method: string;
  path: string;
  authorization: string | null;
  status: number | null;
  up: number;
  down: number;
  fault: Fault["do"] | null;
};

export type FaultyProxy = {
  host: string;
  url: string;
  log: Logged[];
  /** Adds a rule; the first that matches and is not used up counts. */
  on(rule: Rule): void;
  /** Requests so far, by method and path. */
  count(method: string, path: RegExp): number;
  /** Forgets rules and log. */
  clear(): void;
  stop(): Promise<void>;
};

/**
 * A registry that misbehaves on cue: everything goes to the real one behind it, but what a rule catches.
 * @param target `host:port` of a registry without TLS
 * @param before called with each request before anything is done with it: the moment in which a test can kill the client
 */
export const startFaultyProxy = async (
  target: string,
  before?: (request: { method: string; path: string }) => void | Promise<void>,
): Promise<FaultyProxy> => {
  const log: Logged[] = [];
  let rules: { rule: Rule; seen: number }[] = [];
  const agent = new Agent({ keepAlive: true });

  const faultFor = (method: string, path: string): Fault | null => {
    for (const entry of rules) {
      const { rule } = entry;
      if ((rule.method ?? method) !== method || !rule.path.test(path)) continue;
      entry.seen += 1;
      const skip = rule.skip ?? 0;
      if (entry.seen > skip && entry.seen <= skip + (rule.times ?? 1)) return rule.fault;
    }
    return null;
  };

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { method = "", url: path = "", headers } = request;
    await before?.({ method, path });
    const fault = faultFor(method, path);
    const logged: Logged = {
      method,
      path,
      authorization: headers.authorization ?? null,
      status: null,
      up: 0,
      down: 0,
      fault: fault?.do ?? null,
    };
    log.push(logged);
    request.on("data", (piece: Buffer) => (logged.up += piece.length)).pause();
    request.on("error", () => undefined);
    if (fault?.do === "answer") {
      logged.status = fault.status;
      logged.down = method === "HEAD" ? 0 : Buffer.byteLength(fault.body ?? "");
      response.writeHead(fault.status, { "content-type": "application/json; charset=utf-8", ...fault.headers });
      response.end(fault.body ?? "");
      request.resume();
      return;
    }
    if (fault?.do === "reset") {
      const { after = 0 } = fault;
      const check = () => logged.up >= after && request.socket.resetAndDestroy();
      request.on("data", check).resume();
      // A body that is shorter than that: of several uploads at once, chance says which comes first.
      request.on("end", () => request.socket.resetAndDestroy());
      check();
      return;
    }
    if (fault?.do === "hang") {
      request.on("data", () => logged.up >= fault.after && request.pause()).resume();
      return;
    }
    const hidden = (fault?.do === "change" ? fault.hide : undefined) ?? [];
    const [hostname, port] = target.split(":");
    const passed = Object.fromEntries(Object.entries(headers).filter(([name]) => !hidden.includes(name)));
    const onward = forward({ host: hostname, port, method, path, headers: passed, agent });
    onward.on("error", () => request.socket.destroy());
    onward.on("response", (answer) => {
      // The registry's answer broke off, or the test stopped the proxy: so does this one's.
      reply(logged, fault, answer, request, response).catch(() => response.destroy());
    });
    request.on("data", (piece: Buffer) => {
      if (fault?.do === "break" && logged.up > fault.after) {
        onward.write(piece.subarray(0, piece.length - (logged.up - fault.after)), () => {
          onward.destroy();
          request.socket.resetAndDestroy();
        });
        request.pause();
      } else if (!onward.write(piece)) {
        request.pause();
        onward.once("drain", () => request.resume());
      }
    });
    request.on("end", () => onward.end());
    request.on("close", () => !request.complete && onward.destroy());
    request.resume();
  };

  const server = createServer((request, response) => void handle(request, response));
  // Tests that say "slow" mean for ever.
  server.requestTimeout = 0;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    host,
    url: `http://${host}`,
    log,
    on: (rule) => void rules.push({ rule, seen: 0 }),
    count: (method, path) => log.filter((one) => one.method === method && path.test(one.path)).length,
    clear() {
      rules = [];
      log.length = 0;
    },
    stop: () =>
      new Promise((resolve) => {
        agent.destroy();
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
};

/** Passes an answer of the registry on, as the fault has it. */
const reply = async (
  logged: Logged,
  fault: Fault | null,
  answer: IncomingMessage,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> => {
  // Where only a part is passed on, the rest is left unread, and that ends the registry's own connection.
  const inParts = fault?.do === "stall" || fault?.do === "drip" || fault?.do === "truncate";
  answer.on("error", () => inParts || request.socket.destroy());
  if (fault?.do === "lose") {
    answer.resume().on("end", () => request.socket.resetAndDestroy());
    return;
  }
  if (fault?.do === "stall" && fault.after < 0) return;
  logged.status = (fault?.do === "change" ? fault.status : undefined) ?? answer.statusCode ?? 0;
  const headers: Record<string, string | string[] | undefined> = { ...answer.headers };
  if (fault?.do === "change") {
    Object.assign(headers, fault.headers);
    if (fault.body !== undefined) headers["content-length"] = String(Buffer.byteLength(fault.body));
  }
  response.writeHead(
    logged.status,
    Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== undefined)) as Record<string, string>,
  );
  if (fault?.do === "change" && fault.body !== undefined) {
    logged.down = Buffer.byteLength(fault.body);
    answer.resume();
    response.end(fault.body);
    return;
  }
  const most = fault?.do === "truncate" || fault?.do === "stall" || fault?.do === "drip" ? fault.after : Number.POSITIVE_INFINITY;
  if (most === 0) response.flushHeaders();
  for await (const piece of answer as AsyncIterable<Buffer>) {
    const part = piece.subarray(0, most - logged.down);
    logged.down += part.length;
    // A client that has gone away takes nothing more.
    if (response.destroyed) return;
    if (!response.write(part)) await roomIn(response);
    if (logged.down >= most) break;
  }
  if (fault?.do === "stall") return;
  if (fault?.do === "drip") {
    const timer = setInterval(() => response.write("x"), fault.every);
    response.once("close", () => clearInterval(timer));
    return;
  }
  if (fault?.do === "truncate") request.socket.destroySoon();
  else response.end();
};

const roomIn = (response: ServerResponse): Promise<void> =>
  new Promise((resolve) => {
    const done = () => {
      response.off("drain", done).off("close", done);
      resolve();
    };
    response.once("drain", done).once("close", done);
  });
