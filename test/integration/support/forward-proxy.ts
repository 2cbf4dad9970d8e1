import { createServer, request as forward } from "node:http";
import { type AddressInfo, connect } from "node:net";
import type { Duplex } from "node:stream";

export type ForwardProxy = {
  /** `127.0.0.1:PORT`. */
  host: string;
  /** `GET http://…` or `CONNECT host:port`, with the Proxy-Authorization. */
  seen: { line: string; authorization: string | null }[];
  stop(): Promise<void>;
};

/**
 * A proxy as companies have one. Whatever host is asked for, it goes to the target: names that no resolver knows serve as
 * registries that are not on this machine.
 * @param login refuses everybody else with 407
 */
export const startForwardProxy = async (target: string, login?: string): Promise<ForwardProxy> => {
  const [hostname = "", port = ""] = target.split(":");
  const seen: ForwardProxy["seen"] = [];
  const expected = login === undefined ? null : `Basic ${Buffer.from(login).toString("base64")}`;
  const server = createServer((request, response) => {
    const authorization = request.headers["proxy-authorization"] ?? null;
    seen.push({ line: `${request.method} ${request.url}`, authorization });
    if (authorization !== expected) return void response.writeHead(407).end();
    const url = new URL(request.url ?? "");
    const onward = forward(
      { host: hostname, port, method: request.method ?? "GET", path: url.pathname + url.search, headers: request.headers },
      (answer) => {
        response.writeHead(answer.statusCode ?? 0, answer.headers);
        answer.pipe(response);
      },
    );
    onward.on("error", () => response.destroy());
    request.pipe(onward);
  });
  // Tunnels are nobody's connections any more: `closeAllConnections` passes them by.
  const tunnels = new Set<Duplex>();
  server.on("connect", (request, socket) => {
    const authorization = request.headers["proxy-authorization"] ?? null;
    seen.push({ line: `CONNECT ${request.url}`, authorization });
    socket.on("error", () => undefined);
    if (authorization !== expected) return void socket.end("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
    const onward = connect(Number(port), hostname, () => {
      socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
      onward.pipe(socket).pipe(onward);
    });
    tunnels.add(socket).add(onward);
    onward.on("error", () => socket.destroy());
    socket.on("close", () => onward.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
        for (const one of tunnels) one.destroy();
      }),
  };
};
