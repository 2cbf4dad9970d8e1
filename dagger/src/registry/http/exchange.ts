import * as http from "node:http";
import * as https from "node:https";
import type { Body } from "./body.js";
import { asBroken, type Breakage, Broken } from "./broken.js";
import type { Route } from "./connections.js";
import type { Timeouts } from "./retry.js";

export type Outgoing = {
  method: string;
  url: URL;
  headers: Readonly<Record<string, string>>;
  body: Body | null;
};

/** An answer whose body has not been read yet: it must be, or thrown away by `discard`. */
export type Incoming = {
  status: number;
  headers: http.IncomingHttpHeaders;
  /** Once, from its begin. @throws Broken */
  pieces(): AsyncGenerator<Buffer>;
  discard(): void;
};

export type Progress = { up(bytes: number): void; down(bytes: number): void };

const least = 1024;
/** Of a body that went into a connection which was closed already, no more than this was written before that came out. */
const forgotten = 64 * 1024;
const writes = new Set(["POST", "PUT", "PATCH"]);

/** Wraps what the source of a body throws: nothing is wrong with the connection then. */
class Unsendable extends Error {}

/** Calls `expire` when a wait is not called off in time. */
const watchdog = (expire: (error: Broken) => void) => {
  let timer: NodeJS.Timeout | undefined;
  const stop = () => clearTimeout(timer);
  return {
    stop,
    wait(ms: number, what: string, kind: Breakage = "timeout") {
      stop();
      timer = setTimeout(() => expire(new Broken(kind, `${what} for ${ms / 1000} s`)), ms);
    },
  };
};

/**
 * One request, one answer; nothing is tried again and no redirect followed. Any status is an answer.
 * @throws Broken, and AbortError when the signal fired
 */
export const exchange = (
  outgoing: Outgoing,
  route: Route,
  timeouts: Timeouts,
  progress: Progress,
  signal: AbortSignal | undefined,
): Promise<Incoming> => {
  const { url, method, body } = outgoing;
  const request = (url.protocol === "https:" ? https : http).request({
    method,
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: url.port === "" ? (url.protocol === "https:" ? 443 : 80) : Number(url.port),
    path: route.viaProxy === null ? url.pathname + url.search : url.href,
    headers: {
      "user-agent": "image-factory",
      host: url.host,
      ...outgoing.headers,
      ...route.viaProxy?.headers,
      ...(body === null && !writes.has(method) ? {} : { "content-length": String(body?.size ?? 0) }),
    },
    agent: route.agent,
    ...(signal === undefined ? {} : { signal }),
  });
  const watch = watchdog((error) => request.destroy(error));
  let answered = false;
  let sent = 0;
  const counted: Progress = { ...progress, up: (bytes) => ((sent += bytes), progress.up(bytes)) };
  const answer = new Promise<Incoming>((resolve, reject) => {
    request.on("error", (error) => {
      watch.stop();
      if (error instanceof Unsendable) reject(error.cause as Error);
      else reject(signal?.aborted ? error : asBroken(error, false, request.reusedSocket && sent <= forgotten));
    });
    // Without this Node drops the connection and tells nobody.
    request.once("upgrade", (response, socket) => {
      watch.stop();
      socket.destroy();
      reject(asBroken(new Error(`an answer ${response.statusCode} that nobody asked for`), false, false));
    });
    request.once("response", (response) => {
      watch.stop();
      answered = true;
      resolve(incoming(response, request, timeouts, progress, signal));
    });
  });
  watch.wait(timeouts.connect, "no connection", "connect");
  const sending = () => send(request, body, () => answered, counted, watch, timeouts);
  request.once("socket", (socket) => {
    const connected = () => void sending().catch((cause: unknown) => request.destroy(new Unsendable("no body", { cause })));
    if ("secureConnecting" in socket && socket.secureConnecting === true) socket.once("secureConnect", connected);
    else if (socket.connecting) socket.once("connect", connected);
    else connected();
  });
  return answer;
};

const send = async (
  request: http.ClientRequest,
  body: Body | null,
  answered: () => boolean,
  progress: Progress,
  watch: ReturnType<typeof watchdog>,
  timeouts: Timeouts,
): Promise<void> => {
  let sent = 0;
  for await (const piece of body?.read(0, body.size) ?? []) {
    // An answer that comes before the body is whole is a refusal: the rest would be thrown away.
    if (answered() || request.destroyed) return;
    watch.wait(timeouts.idle, "the other side took nothing");
    sent += piece.length;
    if (sent > (body?.size ?? 0)) break;
    const room = request.write(piece);
    progress.up(piece.length);
    if (!room) await roomIn(request);
  }
  if (answered() || request.destroyed) return;
  if (sent !== (body?.size ?? 0))
    throw new Error(`what was to be sent changed: ${body?.size} bytes were announced, ${sent} are there`);
  request.end();
  watch.wait(timeouts.answer, "no answer");
};

/** Until more can be written, or nobody will read it any more. */
const roomIn = (request: http.ClientRequest): Promise<void> =>
  new Promise((resolve) => {
    const done = () => {
      for (const event of events) request.off(event, done);
      resolve();
    };
    const events = ["drain", "response", "close"];
    for (const event of events) request.once(event, done);
  });

const incoming = (
  response: http.IncomingMessage,
  request: http.ClientRequest,
  timeouts: Timeouts,
  progress: Progress,
  signal: AbortSignal | undefined,
): Incoming => {
  // Before anyone reads: an error without a listener ends the process.
  response.on("error", () => undefined);
  async function* pieces(): AsyncGenerator<Buffer> {
    const watch = watchdog((error) => response.destroy(error));
    const parts = response[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    let left = timeouts.idle;
    let brought = 0;
    try {
      for (;;) {
        const before = performance.now();
        watch.wait(Math.max(1, left), brought === 0 ? "no byte of the answer" : `only ${brought} bytes of the answer`);
        const part = await parts.next();
        watch.stop();
        if (part.done === true) break;
        brought += part.value.length;
        left -= performance.now() - before;
        if (brought >= least) [brought, left] = [0, timeouts.idle];
        progress.down(part.value.length);
        yield part.value;
      }
    } catch (error) {
      throw signal?.aborted ? error : asBroken(error, true, false);
    } finally {
      watch.stop();
      // Not read to its end, or not sent to its end: the connection cannot be used again.
      if (!response.complete || !request.writableFinished) request.destroy();
    }
  }
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    pieces,
    discard: () => request.destroy(),
  };
};
