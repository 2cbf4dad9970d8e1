import { fstatSync, writeSync } from "node:fs";

/**
 * Where results go. Of a file as much is written as there is room for, and Node takes that for all: files are written here. `finish` tells
 * what of it could not be written; a reader that closed early (`plan | head`) has what it wanted.
 */
export type StandardOutput = { write: (text: string) => void; finish: () => Promise<NodeJS.ErrnoException | null> };

export const standardOutput = (stream: NodeJS.WriteStream & { fd: number } = process.stdout): StandardOutput => {
  const isFile = !stream.isTTY && isFileOrDevice(stream.fd);
  let failure: NodeJS.ErrnoException | null = null;
  stream.on("error", (error: NodeJS.ErrnoException) => (failure ??= error));
  return {
    write(text) {
      if (failure !== null) return;
      if (!isFile) return void stream.write(text);
      try {
        const bytes = Buffer.from(text);
        for (let at = 0; at < bytes.length;) at += writeSync(stream.fd, bytes, at);
      } catch (error) {
        failure = error as NodeJS.ErrnoException;
      }
    },
    async finish() {
      if (!isFile) await new Promise<void>((done) => stream.write("", (error) => done(void (failure ??= error ?? null))));
      return failure?.code === "EPIPE" ? null : failure;
    },
  };
};

const isFileOrDevice = (handle: number): boolean => {
  try {
    const stat = fstatSync(handle);
    return stat.isFile() || stat.isCharacterDevice();
  } catch {
    return false;
  }
};
