import { randomBytes } from "node:crypto";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { FactoryError } from "../../pipeline/common/error.js";
import type { Descriptor } from "../../pipeline/oci/manifest.js";
import type { Body } from "../http/body.js";
import { Broken } from "../http/broken.js";
import { hashFor } from "../reference/digest.js";
import { failureOf } from "../http/registry-errors.js";
import { stoppedExchange } from "../http/http-client.js";
import { type Streaming } from "../http/types.js";
import { absent, found, type Lookup, lookUp, unknown } from "../reference/lookup.js";
import { damaged, header, isRegistry, saysAbsent } from "./manifests.js";
import { waitBefore } from "../http/retry.js";
import type { Endpoint } from "./session.js";

export type BlobName = Pick<Descriptor, "digest" | "size">;

/** Whether a blob is there; its size where the registry tells. */
export const headBlob = (place: Endpoint, digest: string): Promise<Lookup<{ digest: string; size: number | null }>> =>
  lookUp(async () => {
    const doing = `look for ${place.name}@${digest}`;
    const to = `${place.base}/blobs/${digest}`;
    const answer = await place.session.ask({ about: "blob", method: "HEAD", to, scopes: place.read, doing });
    // The storage host of a redirect has no words of a registry.
    if (answer.status === 404 && (isRegistry(answer) || answer.url.pathname !== to)) return absent;
    if (answer.status !== 200) throw place.session.refusal(doing, answer);
    const size = header(answer, "content-length");
    return found({ digest, size: size === "" ? null : Number(size) });
  });

/**
 * A blob's content as a stream. What ends early is taken up where it ended; the last piece is only handed out when the
 * whole has the size and the digest.
 * @throws from the stream: FactoryError CHECKSUM_MISMATCH, REGISTRY_UNREACHABLE, REGISTRY_DENIED, REGISTRY_FAILED, INTERRUPTED
 */
export const getBlob = (place: Endpoint, blob: BlobName): Promise<Lookup<AsyncGenerator<Buffer>>> =>
  lookUp(async () => {
    const first = await openBlob(place, blob, 0);
    return first === null ? absent : found(checked(place, blob, first));
  });

/** A blob that fits into memory. @param limit bytes; a larger one is not even asked for */
export const getSmallBlob = (place: Endpoint, blob: BlobName, limit: number): Promise<Lookup<Buffer>> =>
  lookUp(async () => {
    if (blob.size > limit) return unknown(tooLarge(place, blob, limit));
    const stream = await getBlob(place, blob);
    if (stream.state !== "found") return stream;
    const parts: Buffer[] = [];
    for await (const part of stream.value) parts.push(part);
    return found(Buffer.concat(parts));
  });

/**
 * Writes a blob to a file, aside first: the name is only there with the whole, right content.
 * @throws FactoryError DISK_FULL, OUTPUT_FAILED
 */
export const saveBlob = (place: Endpoint, blob: BlobName, path: string): Promise<Lookup<{ path: string }>> =>
  lookUp(async () => {
    const stream = await getBlob(place, blob);
    if (stream.state !== "found") return stream;
    const draft = `${path}.draft-${process.pid}-${randomBytes(6).toString("hex")}`;
    try {
      await written(path, async () => {
        await mkdir(dirname(path), { recursive: true });
      });
      const file = await written(path, () => open(draft, "wx", 0o644));
      try {
        for await (const part of stream.value) await written(path, () => file.writeFile(part));
      } finally {
        await file.close();
      }
      await written(path, () => rename(draft, path));
      return found({ path });
    } catch (error) {
      await rm(draft, { force: true }).catch(() => undefined);
      throw error;
    }
  });

/** A blob of another repository or registry as something to upload: read only when it is needed. */
export const blobBody = (place: Endpoint, blob: BlobName): Body => ({
  size: blob.size,
  async *read(start, end) {
    const whole = start === 0 && end === blob.size;
    const first = await openBlob(place, blob, start);
    if (first === null) throw gone(place, blob);
    if (whole) return yield* checked(place, blob, first);
    // A part cannot be held against the digest: the registry that gets it does that with the whole.
    let left = end - start;
    for await (const piece of first.pieces()) {
      yield piece.subarray(0, left);
      left -= piece.length;
      if (left <= 0) break;
    }
  },
});

const request = (place: Endpoint, blob: BlobName) => ({
  about: "blob" as const,
  method: "GET" as const,
  to: `${place.base}/blobs/${blob.digest}`,
  scopes: place.read,
  doing: `read ${place.name}@${blob.digest}`,
});

/** The answer with the blob's bytes from `start`, or null where there is no such blob. */
const openBlob = async (place: Endpoint, blob: BlobName, start: number): Promise<Streaming | null> => {
  const asked = request(place, blob);
  const answer = await place.session.open({ ...asked, headers: start === 0 ? {} : { range: `bytes=${start}-` } });
  if (answer.status === 206 && start > 0 && header(answer, "content-range").startsWith(`bytes ${start}-`)) return answer;
  if (answer.status === 200) return start === 0 ? answer : { ...answer, pieces: () => skipping(answer.pieces(), start) };
  const parts: Buffer[] = [];
  for await (const part of answer.pieces()) if (parts.push(part) > 64) break;
  const whole = { ...answer, body: Buffer.concat(parts) };
  // The storage host of a redirect has its own words for an absence.
  if (answer.status === 404 && (saysAbsent(whole) || answer.url.pathname !== asked.to)) return null;
  throw place.session.refusal(asked.doing, whole);
};

/** A server that knows no ranges sends all from the begin. */
async function* skipping(pieces: AsyncGenerator<Buffer>, start: number): AsyncGenerator<Buffer> {
  let left = start;
  for await (const piece of pieces) {
    if (piece.length > left) yield piece.subarray(left);
    left = Math.max(0, left - piece.length);
  }
}

async function* checked(place: Endpoint, blob: BlobName, first: Streaming): AsyncGenerator<Buffer> {
  const { http } = place.session;
  const hash = hashFor(blob.digest);
  let answer = first;
  let size = 0;
  let held: Buffer | null = null;
  for (let tried = 1; ; tried++) {
    try {
      for await (const piece of answer.pieces()) {
        size += piece.length;
        if (size > blob.size) throw damaged(`${place.name}@${blob.digest}`, `unknown: it is larger than ${blob.size} bytes`);
        hash.update(piece);
        if (held !== null) yield held;
        held = piece;
        // What came counts: only tries without any progress are numbered.
        tried = 1;
      }
      break;
    } catch (error) {
      if (http.signal?.aborted) throw stoppedExchange(error);
      if (!(error instanceof Broken)) throw error;
      if (size === blob.size) break;
      const wait = waitBefore({ broken: error }, tried, http.retryPolicy, http.clock);
      if (wait === null) throw failureOf({ method: "GET", url: answer.url }, error, tried);
      await http.clock.sleep(wait, http.signal).catch((aborted: unknown) => Promise.reject(stoppedExchange(aborted)));
      answer = (await openBlob(place, blob, size)) ?? missing(place, blob);
    }
  }
  const digest = `${blob.digest.split(":", 1)[0]}:${hash.digest("hex")}`;
  if (size !== blob.size || digest !== blob.digest)
    throw damaged(`${place.name}@${blob.digest}`, `${digest} and ${size} bytes, where ${blob.size} were named`);
  if (held !== null) yield held;
}

const missing = (place: Endpoint, blob: BlobName): never => {
  throw gone(place, blob);
};

const gone = (place: Endpoint, blob: BlobName): FactoryError =>
  new FactoryError("REGISTRY_FAILED", {
    what: `cannot read ${place.name}@${blob.digest}`,
    why: "the blob is not in the registry any more",
    fix: "run the same command again: what is missing is made anew",
  });

const tooLarge = (place: Endpoint, blob: BlobName, limit: number): FactoryError =>
  new FactoryError("REGISTRY_FAILED", {
    what: `${place.name}@${blob.digest} is too large`,
    why: `${blob.size} bytes, where at most ${limit} make sense`,
    fix: "check what was pushed under this reference",
  });

const written = async <T>(path: string, work: () => Promise<T>): Promise<T> => {
  try {
    return await work();
  } catch (error) {
    const code = String((error as NodeJS.ErrnoException).code ?? error);
    const full = code === "ENOSPC" || code === "EDQUOT";
    throw new FactoryError(full ? "DISK_FULL" : "OUTPUT_FAILED", {
      what: `cannot write ${path}`,
      why: code,
      fix: full ? "free space on this disk, then run the same command again" : "check the folder and its owner",
      cause: error,
    });
  }
};
