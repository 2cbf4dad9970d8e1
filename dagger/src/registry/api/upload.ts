import { FactoryError } from "../../pipeline/common/error.js";
import { Broken } from "../http/broken.js";
import { type Body, bytesBody, sliceBody } from "../http/body.js";
import { type BlobName, headBlob } from "./blobs.js";
import { repositoryScope, type Scope } from "../auth/challenge.js";
import { reportedErrors } from "../http/registry-errors.js";
import { stoppedExchange } from "../http/http-client.js";
import { type Whole } from "../http/types.js";
import { isLater, waitBefore } from "../http/retry.js";
import type { Endpoint } from "./session.js";
import { askUpload, doingOf, finishUpload, locationOf, sendChunk, type Spot, type Step } from "./upload-steps.js";

/** How a blob came to be in the repository. */
export type Pushed =
  | { how: "present" }
  | { how: "mounted"; from: string }
  /** `chunks`: 0 when it went up in one piece. */
  | { how: "uploaded"; chunks: number };

export type PushOptions = {
  /** Repositories of the same registry that have the blob: it is linked from there where the registry allows that. */
  mountFrom?: readonly string[];
  /** The caller knows that the blob is not there, and saves the question. */
  absent?: boolean;
};

/** GHCR takes no larger part (416 "…exceeds the maximum permissible limit of 4.00MiB": wasmCloud/wash-archive issue 268). */
const chunkSize = 4 << 20;

/**
 * Makes a blob exist in the repository: already there, mounted, or uploaded: in one piece, and after a broken connection in
 * chunks from where the registry is. The registry holds the content against the digest.
 * @throws FactoryError REGISTRY_DENIED, REGISTRY_UNREACHABLE, REGISTRY_FAILED, INTERRUPTED; what `body` throws
 */
export const pushBlob = async (place: Endpoint, blob: BlobName, body: Body, options: PushOptions = {}): Promise<Pushed> => {
  if (options.absent !== true && (await isThere(place, blob))) return { how: "present" };
  let location: URL | null = null;
  for (const from of options.mountFrom ?? []) {
    if (from === place.repository) continue;
    const mounted: Begun | null = await mount(place, blob, from);
    if (mounted?.state === "there") return { how: "mounted", from };
    // A refused mount opens an upload (202): it is used, and no other source is asked for.
    if (mounted !== null) location = mounted.location;
    if (location !== null) break;
  }
  return upload(place, blob, body, location);
};

const isThere = async (place: Endpoint, { digest }: BlobName): Promise<boolean> => {
  const there = await headBlob(place, digest);
  // Where nobody knows, the upload itself will tell: a refused login or a dead registry end it too.
  return there.state === "found";
};

type Begun = { state: "there" } | { state: "open"; location: URL };

const post = (place: Endpoint, blob: BlobName, query: string, scopes: readonly Scope[]): Promise<Whole> =>
  place.session.ask({
    about: "upload",
    method: "POST",
    to: `${place.base}/blobs/uploads/${query}`,
    body: bytesBody(new Uint8Array()),
    scopes,
    doing: doingOf(place, blob),
  });

/** @returns null when this source cannot be mounted from */
const mount = async (place: Endpoint, blob: BlobName, from: string): Promise<Begun | null> => {
  const query = `?mount=${encodeURIComponent(blob.digest)}&from=${encodeURIComponent(from)}`;
  const scopes = [...place.write, repositoryScope(from, "pull")];
  // Registries refuse a source that the login may not read in many ways: no token for both, 401 (Harbor), 403 (GHCR), 404.
  const answer = await post(place, blob, query, scopes).catch((error: unknown) => {
    if (error instanceof FactoryError && error.code === "REGISTRY_DENIED") return null;
    throw error;
  });
  if (answer === null) return null;
  if (answer.status === 201) return { state: "there" };
  return answer.status === 202 ? { state: "open", location: locationOf(place, answer) } : null;
};

const begin = async (place: Endpoint, blob: BlobName): Promise<URL> => {
  const answer = await post(place, blob, "", place.write);
  if (answer.status !== 202) throw place.session.refusal(doingOf(place, blob), answer);
  return locationOf(place, answer);
};

/**
 * One request after the other until the blob is there. It goes up in one piece first: fewest requests, and every registry takes
 * that. A large one that broke goes on in chunks, so that what has arrived is not sent again.
 */
const upload = async (place: Endpoint, blob: BlobName, body: Body, opened: URL | null): Promise<Pushed> => {
  const { clock, retryPolicy, signal } = place.session.http;
  const large = blob.size > chunkSize;
  let at: Spot = { location: opened ?? (await begin(place, blob)), offset: 0 };
  let [inChunks, chunks, tried, begun] = [false, 0, 0, 1];
  for (;;) {
    const step = inChunks ? await nextChunk(place, blob, body, at) : await finishUpload(place, blob, at.location, body);
    if (step.state === "done") return { how: "uploaded", chunks };
    if (step.state === "open") {
      [at, chunks, tried] = [step, chunks + 1, 0];
      continue;
    }
    tried += 1;
    const wait = waitAfter(step, tried, place);
    if (wait === null) throw step.error;
    await clock.sleep(wait, signal).catch((error: unknown) => Promise.reject(stoppedExchange(error)));
    // The answer of a request that went well may be what was lost.
    if (await isThere(place, blob)) return { how: "uploaded", chunks };
    const kept = large ? await askUpload(place, blob, at.location) : null;
    // Chunks that arrive again and again, and then a last request that fails: that must end too.
    if (kept === null && (begun += 1) > retryPolicy.tries) throw step.error;
    at = kept ?? { location: await begin(place, blob), offset: 0 };
    inChunks = large;
  }
};

const nextChunk = (place: Endpoint, blob: BlobName, body: Body, { location, offset }: Spot): Promise<Step> => {
  if (offset === blob.size) return finishUpload(place, blob, location, bytesBody(new Uint8Array()));
  const end = Math.min(blob.size, offset + chunkSize);
  return sendChunk(place, blob, location, sliceBody(body, offset, end), offset);
};

/** The wait before an upload is taken up again, or null when that makes no sense. */
const waitAfter = ({ error, answer }: Step & { state: "failed" }, tried: number, place: Endpoint): number | null => {
  const { retryPolicy, clock } = place.session.http;
  if (answer === null)
    return error.cause instanceof Broken ? waitBefore({ broken: error.cause }, tried, retryPolicy, clock) : null;
  if (isLater(answer.status))
    return waitBefore({ status: answer.status, retryAfter: answer.headers["retry-after"] }, tried, retryPolicy, clock);
  // Too large for one request, a place that is not where the registry is, an upload it has forgotten, content that was cut on
  // the way: begun again, these go well. Once is enough to know whether they do.
  const again = [404, 413, 416].includes(answer.status) || reportedErrors(answer.body).some(({ code }) => restartable.has(code));
  return again && tried === 1 ? 0 : null;
};

const restartable = new Set([
  "BLOB_UPLOAD_UNKNOWN",
  "BLOB_UPLOAD_INVALID",
  "DIGEST_INVALID",
  "SIZE_INVALID",
  "RANGE_INVALID",
  "REQUESTED_RANGE_NOT_SATISFIABLE",
]);
