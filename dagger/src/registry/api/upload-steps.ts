import { FactoryError } from "../../pipeline/common/error.js";
import type { BlobName } from "./blobs.js";
import type { Body } from "../http/body.js";
import type { Whole } from "../http/types.js";
import { header } from "./manifests.js";
import { outsideUrl } from "../http/outside-url.js";
import type { Endpoint } from "./session.js";

/** Some registries copy a whole blob to its place before they answer the last request; milliseconds. */
const answerWithin = 300_000;

export const doingOf = (place: Endpoint, { digest }: BlobName): string => `push to ${place.name} (blob ${digest.slice(0, 19)})`;

/** Where an upload goes on. @throws FactoryError REGISTRY_FAILED */
export const locationOf = (place: Endpoint, answer: Whole): URL => {
  const location = header(answer, "location");
  const url = location === "" ? null : outsideUrl(location, answer.url);
  if (url !== null) return url;
  throw new FactoryError("REGISTRY_FAILED", {
    what: `cannot push to ${place.name}`,
    why: `it answered ${answer.status} and gave no Location that is an address`,
    fix: "check that the address is a registry's, and no proxy changes its answers",
  });
};

/** Where an upload stands: its address, and how many bytes the registry has. */
export type Spot = { location: URL; offset: number };

/** What became of one request of an upload. `answer` is null when none came. */
export type Step =
  | { state: "done" }
  | ({ state: "open" } & Spot)
  | { state: "failed"; error: FactoryError; answer: Whole | null };

const outcome = async (work: () => Promise<Whole>): Promise<Whole | (Step & { state: "failed" })> => {
  try {
    return await work();
  } catch (error) {
    if (error instanceof FactoryError && error.code !== "INTERRUPTED") return { state: "failed", error, answer: null };
    throw error;
  }
};

const failed = (place: Endpoint, blob: BlobName, answer: Whole): Step => ({
  state: "failed",
  error: place.session.refusal(doingOf(place, blob), answer),
  answer,
});

/** The last request: the digest, with the whole blob as its body or with none after chunks. */
export const finishUpload = async (place: Endpoint, blob: BlobName, location: URL, body: Body): Promise<Step> => {
  const to = new URL(location);
  // Added, and nothing before it written anew: some addresses are signed.
  to.search += `${to.search === "" ? "?" : "&"}digest=${encodeURIComponent(blob.digest)}`;
  const answer = await outcome(() =>
    place.session.ask({
      about: "upload",
      method: "PUT",
      to,
      headers: { "content-type": "application/octet-stream" },
      body,
      scopes: place.write,
      doing: doingOf(place, blob),
      retried: false,
      answerWithin,
    }),
  );
  if ("state" in answer) return answer;
  return answer.status === 201 || answer.status === 204 || answer.status === 200
    ? { state: "done" }
    : failed(place, blob, answer);
};

export const sendChunk = async (place: Endpoint, blob: BlobName, location: URL, part: Body, offset: number): Promise<Step> => {
  const answer = await outcome(() =>
    place.session.ask({
      about: "upload",
      method: "PATCH",
      to: location,
      headers: { "content-type": "application/octet-stream", "content-range": `${offset}-${offset + part.size - 1}` },
      body: part,
      scopes: place.write,
      doing: doingOf(place, blob),
      retried: false,
    }),
  );
  if ("state" in answer) return answer;
  if (answer.status !== 202 && answer.status !== 201 && answer.status !== 204) return failed(place, blob, answer);
  // What was accepted counts, and not the Range of the answer: ECR's stands still while its uploads go on
  // (aws/containers-roadmap issue 2831). Should the two differ, the next chunk is answered 416, and the upload is asked where it is.
  return {
    state: "open",
    location: header(answer, "location") === "" ? location : locationOf(place, answer),
    offset: offset + part.size,
  };
};

/** Where an upload is (OCI distribution spec 1.1, "Pushing a blob in chunks"), or null when the registry has forgotten it. */
export const askUpload = async (place: Endpoint, blob: BlobName, location: URL): Promise<Spot | null> => {
  const answer = await outcome(() =>
    place.session.ask({
      about: "upload",
      method: "GET",
      to: location,
      scopes: place.write,
      doing: doingOf(place, blob),
      retried: false,
    }),
  );
  if ("state" in answer || answer.status !== 204) return null;
  const end = /^(?:bytes=)?0-(\d+)$/.exec(header(answer, "range"))?.[1];
  if (end === undefined) return null;
  const next = header(answer, "location") === "" ? location : locationOf(place, answer);
  // An empty upload is "0-0" in distribution, and so is one of a single byte: that byte is sent again.
  const offset = end === "0" ? 0 : Number(end) + 1;
  return offset > blob.size ? null : { location: next, offset };
};
