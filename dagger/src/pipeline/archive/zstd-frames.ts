/** A part of one frame: `end` with its last bytes. */
export type FramePart = { bytes: Uint8Array; end: boolean };

const magic = 0xfd2fb528;
/** 16 magic numbers, for content that no decoder reads (RFC 8878, section 3.1.2). */
const skippable = 0x184d2a50;

/** Bytes that a frame may ask a decoder to hold: what zstd itself takes unless it is told otherwise (`--long=27`). */
const largestWindow = 128 << 20;

/**
 * Where a zstd stream's frames end (RFC 8878, section 3.1.1): by their headers and the lengths of their blocks, without unpacking any. Node's
 * decoder reads one frame and takes what follows for garbage, where the format says that frames in a row are one stream. Skippable frames
 * are left out.
 * @param claim gets the window of each frame, which a decoder allocates, before anything of the frame is handed on
 * @throws Error for what is no zstd, and for a frame that wants a window of more than 128 MiB
 */
export async function* frameParts(
  pieces: AsyncIterable<Uint8Array>,
  claim: (window: number) => void = () => undefined,
): AsyncGenerator<FramePart> {
  /** Bytes of the header that is being read, and how many it has as far as is known. */
  let header: number[] = [];
  let wanted = 4;
  /** How many of a frame header's bytes came with earlier pieces: nobody knew yet what they begin. */
  let held = 0;
  /** Bytes that pass until the next header, and what that is one of. */
  let passing = 0;
  let next: "frame" | "block" = "frame";
  let isSkipped = false;
  let hasChecksum = false;
  for await (const piece of pieces) {
    let from = 0;
    for (let at = 0; at < piece.length;) {
      if (passing > 0) {
        const part = Math.min(passing, piece.length - at);
        passing -= part;
        at += part;
      } else {
        header.push(piece[at++]!);
        if (header.length < wanted) continue;
        if (next === "frame") {
          const read = frameHeader(header);
          if (header.length < read.length) {
            wanted = read.length;
            continue;
          }
          if (read.window > largestWindow) throw new Error(`a zstd frame with a window of ${read.window} bytes`);
          if (read.skipped < 0) claim(read.window);
          [isSkipped, hasChecksum, passing] = [read.skipped > -1, read.checksum, Math.max(0, read.skipped)];
          if (held > 0 && !isSkipped) yield { bytes: Uint8Array.from(header.slice(0, held)), end: false };
          held = 0;
          next = isSkipped ? "frame" : "block";
        } else {
          const { last, length } = blockHeader(header);
          passing = length + (last && hasChecksum ? 4 : 0);
          if (last) next = "frame";
        }
        header = [];
        wanted = next === "frame" ? 4 : 3;
      }
      if (passing > 0 || header.length > 0 || next !== "frame") continue;
      if (!isSkipped) yield { bytes: piece.subarray(from, at), end: true };
      from = at;
    }
    if (next === "frame" && header.length > 0) held = header.length;
    else if (from < piece.length && !isSkipped) yield { bytes: piece.subarray(from), end: false };
  }
}

/** Little-endian. */
const number = (bytes: readonly number[]): number => bytes.reduceRight((sum, byte) => sum * 256 + byte, 0);

/** `skipped`: the length of a skippable frame's content, else -1. */
type FrameHeader = { length: number; checksum: boolean; skipped: number; window: number };

/** How long a frame's header is, as far as its first bytes tell; the rest holds once all of them are there. */
const frameHeader = (bytes: readonly number[]): FrameHeader => {
  const first = number(bytes.slice(0, 4));
  if (first >= skippable && first < skippable + 16)
    return { length: 8, checksum: false, skipped: bytes.length < 8 ? 0 : number(bytes.slice(4, 8)), window: 0 };
  if (first !== magic) throw new Error("not a zstd frame");
  if (bytes.length < 5) return { length: 5, checksum: false, skipped: -1, window: 0 };
  const descriptor = bytes[4]!;
  const isSingle = (descriptor & 0x20) !== 0;
  const contentSize = [isSingle ? 1 : 0, 2, 4, 8][descriptor >> 6]!;
  const dictionary = [0, 1, 2, 4][descriptor & 3]!;
  const length = 5 + (isSingle ? 0 : 1) + dictionary + contentSize;
  const window = bytes.length < length ? 0 : isSingle ? number(bytes.slice(length - contentSize, length)) : windowOf(bytes[5]!);
  return { length, checksum: (descriptor & 4) !== 0, skipped: -1, window };
};

/** RFC 8878, section 3.1.1.1.2: a power of two, and eighths of it. */
const windowOf = (descriptor: number): number => 2 ** (10 + (descriptor >> 3)) * (1 + (descriptor & 7) / 8);

const blockHeader = (bytes: readonly number[]): { last: boolean; length: number } => {
  const value = number(bytes);
  const isRunLength = ((value >> 1) & 3) === 1;
  return { last: (value & 1) === 1, length: isRunLength ? 1 : value >> 3 };
};
