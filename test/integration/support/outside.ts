import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { networkInterfaces } from "node:os";

const address = Object.values(networkInterfaces())
  .flatMap((all) => all ?? [])
  .find(({ family, internal }) => family === "IPv4" && !internal)?.address;

/** Why nothing can be reached from outside here, or null. To be handed to `ctx.skip`. */
export const whyNoOutside = (): string | null => (address === undefined ? "this machine has no address but loopback" : null);

/** For certificates. */
export const outsideAddress = address ?? "";

export type Outside = { host: string; close(): Promise<void> };

/** Something that listens on loopback, at an address of this machine that is none: bytes go to and fro. */
export const outsideOf = async (host: string): Promise<Outside> => {
  const [name, port] = host.split(":");
  const open = new Set<Socket>();
  const server = createServer((incoming) => {
    const outgoing = connect(Number(port), name!);
    incoming.pipe(outgoing).pipe(incoming);
    for (const end of [incoming, outgoing]) {
      open.add(end);
      end.on("close", () => open.delete(end));
      end.on("error", () => {
        incoming.destroy();
        outgoing.destroy();
      });
    }
  });
  await new Promise<void>((done) => server.listen(0, address, done));
  return {
    host: `${address}:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((done) => {
        server.close(() => done());
        for (const end of open) end.destroy();
      }),
  };
};
