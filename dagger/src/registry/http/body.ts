import { createReadStream } from "node:fs";
import { FactoryError } from "../../pipeline/common/error.js";

/** What is sent: its length is known beforehand, and it can be read again from any place, because a registry may ask for that. */
export type Body = {
  /** Bytes. */
  size: number;
  /** The bytes from `start` to before `end`. */
  read(start: number, end: number): Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
};

export const bytesBody = (bytes: Uint8Array): Body => ({
  size: bytes.length,
  *read(start, end) {
    // In parts, so that an answer that comes early is seen early.
    for (let at = start; at < end; at += part) yield bytes.subarray(at, Math.min(end, at + part));
  },
});

/** A file of a known size. Reading it throws FactoryError INPUT_MISSING when it is gone or has become shorter. */
export const fileBody = (path: string, size: number): Body => ({
  size,
  async *read(start, end) {
    let left = end - start;
    if (left === 0) return;
    try {
      for await (const piece of createReadStream(path, {
        start,
        end: end - 1,
        highWaterMark: readAhead,
      }) as AsyncIterable<Buffer>) {
        left -= piece.length;
        yield* bytesBody(piece).read(0, piece.length);
      }
    } catch (cause) {
      throw unreadable(path, (cause as Error).message, cause);
    }
    if (left > 0) throw unreadable(path, `it has become shorter than ${size} bytes`);
  },
});

/** A part of a body, as a body of its own. */
export const sliceBody = (body: Body, start: number, end: number): Body => ({
  size: end - start,
  read: (from, to) => body.read(start + from, start + to),
});

// Small enough that a slow line takes one before it counts as stalled.
const part = 256 * 1024;
// Each read is a turn of the thread pool.
const readAhead = 1 << 20;

const unreadable = (path: string, why: string, cause?: unknown): FactoryError =>
  new FactoryError("INPUT_MISSING", {
    what: `cannot read ${path} while it is uploaded`,
    why,
    fix: "run the same command again; another program may have removed the file",
    cause,
  });
