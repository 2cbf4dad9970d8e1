import { blockSize, flagOf, headerOf, type Override, paxRecords, sizeOf, type TarHeader, textOf } from "./tar-header.js";

/** What a reader tells: each entry, the bytes of its content in pieces that are only valid during the call, and its end. */
export type TarHandler = {
  entry: (header: TarHeader) => void;
  data: (bytes: Uint8Array) => void;
  end: () => void;
};

/** Largest PAX header or long name that is believed; what names one file is never larger. */
const longest = 1 << 20;

/**
 * Reads a tar that arrives in pieces of any size. Holds at most one header; content passes through.
 * @throws Error on bytes that are no tar; `finish` throws where the tar is cut off
 */
export class TarReader {
  readonly #handler: TarHandler;
  readonly #block = new Uint8Array(blockSize);
  #filled = 0;
  /** Bytes of content and of padding that are still to come. */
  #content = 0;
  #padding = 0;
  #gathered: { flag: string; parts: Uint8Array[] } | null = null;
  #global = new Map<string, Uint8Array>();
  #globalSize = 0;
  #next: { pax: Map<string, Uint8Array>; path: string | null; target: string | null } = {
    pax: new Map(),
    path: null,
    target: null,
  };
  #ended = false;

  constructor(handler: TarHandler) {
    this.#handler = handler;
  }

  push(bytes: Uint8Array): void {
    let at = 0;
    while (at < bytes.length && !this.#ended) {
      if (this.#content > 0) {
        const part = bytes.subarray(at, at + this.#content);
        at += part.length;
        this.#content -= part.length;
        if (this.#gathered === null) this.#handler.data(part);
        else this.#gathered.parts.push(part.slice());
        if (this.#content === 0) this.#finishEntry();
      } else if (this.#padding > 0) {
        const skipped = Math.min(this.#padding, bytes.length - at);
        this.#padding -= skipped;
        at += skipped;
      } else {
        const part = bytes.subarray(at, at + blockSize - this.#filled);
        this.#block.set(part, this.#filled);
        this.#filled += part.length;
        at += part.length;
        if (this.#filled === blockSize) this.#header();
      }
    }
  }

  /**
   * For a source that can seek: passes over the content of the entry that was told last, when nothing of it was pushed yet.
   * @returns how many bytes to leave out, padding included
   */
  skip(): number {
    if (this.#gathered !== null || this.#content === 0) return 0;
    const left = this.#content + this.#padding;
    this.#content = 0;
    this.#padding = 0;
    this.#finishEntry();
    return left;
  }

  /** @throws Error when bytes are missing */
  finish(): void {
    if (this.#content > 0 || this.#padding > 0 || (this.#filled > 0 && !this.#ended)) throw new Error("the tar is cut off");
  }

  #header(): void {
    this.#filled = 0;
    const block = this.#block;
    // A block of zeros ends the archive; what follows it is padding.
    if (block.every((byte) => byte === 0)) {
      this.#ended = true;
      return;
    }
    const flag = flagOf(block);
    let size = sizeOf(block);
    if ("xgLK".includes(flag)) {
      if (size > longest) throw new Error("a tar header of more than a mebibyte");
      this.#gathered = { flag, parts: [] };
    } else {
      const override: Override = { ...this.#next, pax: new Map([...this.#global, ...this.#next.pax]) };
      this.#next = { pax: new Map(), path: null, target: null };
      const header = headerOf(block, override);
      // A link or directory may carry a size all the same; only files have content.
      size = header.size;
      this.#gathered = null;
      this.#handler.entry(header);
    }
    this.#content = size;
    this.#padding = (blockSize - (size % blockSize)) % blockSize;
    if (size === 0) this.#finishEntry();
  }

  #finishEntry(): void {
    if (this.#gathered === null) {
      this.#handler.end();
      return;
    }
    const { flag, parts } = this.#gathered;
    this.#gathered = null;
    const bytes = Buffer.concat(parts);
    if (flag === "x") this.#next.pax = paxRecords(bytes);
    else if (flag === "g") {
      this.#globalSize += bytes.length;
      if (this.#globalSize > longest) throw new Error("tar headers for all entries of more than a mebibyte");
      this.#global = new Map([...this.#global, ...paxRecords(bytes)]);
    } else {
      const end = bytes.indexOf(0);
      const name = textOf(end < 0 ? bytes : bytes.subarray(0, end));
      if (flag === "L") this.#next.path = name;
      else this.#next.target = name;
    }
  }
}
