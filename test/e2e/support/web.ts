import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export type Web = {
  /** `http://127.0.0.1:port` */
  address: string;
  /** Paths that were asked for, in their order. */
  asked: string[];
  close(): Promise<void>;
};
/** What stands behind a path: a text or bytes, or a function that may answer later. */
export type Page = string | Buffer | ((request: IncomingMessage, response: ServerResponse) => void | Promise<void>);

/** A web server of this machine on a port that the system chooses; an unknown path is 404. */
export const startWeb = async (pages: Readonly<Record<string, Page>> | ((path: string) => Page | undefined)): Promise<Web> => {
  const find = typeof pages === "function" ? pages : (path: string) => pages[path];
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? "/", "http://localhost").pathname);
    asked.push(path);
    const page = find(path);
    if (typeof page === "function") void page(request, response);
    else response.writeHead(page === undefined ? 404 : 200).end(page ?? "not found");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
};
