import { FactoryError } from "../../pipeline/common/error.js";
import { mediaTypes } from "../../pipeline/oci/manifest.js";
import { bytesBody } from "../http/body.js";
import { digestOf } from "../reference/digest.js";
import { reportedErrors } from "../http/registry-errors.js";
import type { Whole } from "../http/types.js";
import { absent, found, type Lookup, lookUp, unknown } from "../reference/lookup.js";
import { isDigest } from "../reference/reference.js";
import type { Endpoint } from "./session.js";

/** A manifest or image index that the registry has, without its content. */
export type ManifestHead = { digest: string; mediaType: string; size: number };
export type StoredManifest = ManifestHead & { bytes: Buffer };

export type PutManifest =
  | { state: "put"; digest: string }
  /** The registry lacks blobs or manifests that it names: push them, then try again. */
  | { state: "parts-missing"; digests: string[]; error: FactoryError };

/** Everything that an image reference can stand for; docker's types are read, never written. */
const accept = [
  mediaTypes.index,
  mediaTypes.manifest,
  "application/vnd.docker.distribution.manifest.list.v2+json",
  "application/vnd.docker.distribution.manifest.v2+json",
].join(", ");

const named = (place: Endpoint, reference: string): string => `${place.name}${isDigest(reference) ? "@" : ":"}${reference}`;

const requestFor = (place: Endpoint, method: "GET" | "HEAD", reference: string) => ({
  about: "manifest" as const,
  method,
  to: `${place.base}/manifests/${reference}`,
  headers: { accept },
  scopes: place.read,
  doing: `read ${named(place, reference)}`,
});

/** Answers to a HEAD that say nothing of the manifest. */
const noHead: ReadonlySet<number> = new Set([404, 405, 501]);

/** Digest, type and size of what a tag or digest stands for: one request where the registry answers HEAD as it should. */
export const headManifest = (place: Endpoint, reference: string): Promise<Lookup<ManifestHead>> =>
  lookUp(async () => {
    const request = requestFor(place, "HEAD", reference);
    const answer = await place.session.ask(request);
    if (answer.status === 404 && isRegistry(answer)) return absent;
    const digest = header(answer, "docker-content-digest");
    const size = Number(header(answer, "content-length") || Number.NaN);
    // No digest, no size, an absence that could be a web server's, a HEAD that is refused as such: the bytes themselves will tell.
    if (noHead.has(answer.status) || (answer.status === 200 && (!isDigest(digest) || !(size > 0)))) {
      const whole = await getManifest(place, reference);
      if (whole.state !== "found") return whole;
      const { bytes: _, ...head } = whole.value;
      return found(head);
    }
    if (answer.status !== 200) throw place.session.refusal(request.doing, answer);
    if (isDigest(reference) && digest !== reference) return unknown(damaged(named(place, reference), digest));
    return found({ digest, size, mediaType: typeOf(answer) });
  });

/**
 * The content of a manifest or index, held against its digest. Unknown with CHECKSUM_MISMATCH when it is something else.
 * @param reference a tag or a digest
 */
export const getManifest = (place: Endpoint, reference: string): Promise<Lookup<StoredManifest>> =>
  lookUp(async () => {
    const request = requestFor(place, "GET", reference);
    const answer = await place.session.ask(request);
    if (answer.status === 404 && saysAbsent(answer)) return absent;
    if (answer.status !== 200) throw place.session.refusal(request.doing, answer);
    const told = header(answer, "docker-content-digest");
    const expected = isDigest(reference) ? reference : isDigest(told) ? told : digestOf(answer.body);
    const digest = digestOf(answer.body, expected);
    if (digest !== expected) return unknown(damaged(named(place, reference), digest));
    return found({ digest, size: answer.body.length, mediaType: typeOf(answer, answer.body), bytes: answer.body });
  });

/**
 * Puts a manifest or index, by its digest or under a tag.
 * @throws FactoryError TAG_IMMUTABLE, REGISTRY_DENIED, REGISTRY_UNREACHABLE, REGISTRY_FAILED
 */
export const putManifest = async (
  place: Endpoint,
  reference: string,
  mediaType: string,
  bytes: Uint8Array,
): Promise<PutManifest> => {
  const doing = `push ${named(place, reference)}`;
  const answer = await place.session.ask({
    about: "manifest",
    method: "PUT",
    to: `${place.base}/manifests/${reference}`,
    headers: { "content-type": mediaType },
    body: bytesBody(bytes),
    scopes: place.write,
    doing,
  });
  const told = header(answer, "docker-content-digest");
  const digest = digestOf(bytes, isDigest(told) ? told : reference.includes(":") ? reference : "sha256:");
  if (answer.status === 201 || answer.status === 200 || answer.status === 202) {
    if (isDigest(told) && told !== digest) throw damaged(named(place, reference), told);
    return { state: "put", digest };
  }
  const error = place.session.refusal(doing, answer);
  const reported = reportedErrors(answer.body);
  const missing = reported.filter(
    ({ code }) => code === "MANIFEST_BLOB_UNKNOWN" || code === "BLOB_UNKNOWN" || code === "MANIFEST_UNKNOWN",
  );
  if (missing.length > 0) return { state: "parts-missing", digests: [...new Set(missing.flatMap(digestsIn))], error };
  if (isImmutable(answer, reported)) throw immutable(named(place, reference), error);
  throw error;
};

/** distribution gives the digest as the detail itself, the specification's example as a mapping. */
const digestsIn = ({ detail, message }: { detail: unknown; message: string }): string[] =>
  `${JSON.stringify(detail ?? "")} ${message}`.match(/sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}/g) ?? [];

/**
 * A tag that stays what it is. ECR answers 400 TAG_INVALID "…cannot be overwritten because the repository is immutable",
 * Harbor 412 PRECONDITION "…configured as immutable", others 409.
 */
const isImmutable = (answer: Whole, reported: readonly { code: string; message: string }[]): boolean =>
  [400, 403, 409, 412].includes(answer.status) &&
  reported.some(({ code, message }) => /immutab|TAG_IMMUTABLE/i.test(`${code} ${message}`));

const immutable = (name: string, cause: FactoryError): FactoryError =>
  new FactoryError("TAG_IMMUTABLE", {
    what: `the tag of ${name} is there already, and the registry does not let it move`,
    why: cause.explanation.why,
    fix: "publish under another tag, or allow the registry to move this one",
    cause,
  });

/** A 404 of HEAD has no body: these headers come from a registry, and not from a web server that stands in its place. */
export const isRegistry = (answer: Whole): boolean =>
  header(answer, "docker-distribution-api-version") !== "" || /^application\/json\b/i.test(header(answer, "content-type"));

const absences = new Set([
  "MANIFEST_UNKNOWN",
  "NAME_UNKNOWN",
  "NOT_FOUND",
  "BLOB_UNKNOWN",
  "TAG_UNKNOWN",
  "MANIFEST_BLOB_UNKNOWN",
]);

/** Whether a 404 is the registry's word for an absence (OCI distribution spec 1.1, "Error Codes"). */
export const saysAbsent = (answer: Whole): boolean => {
  const reported = reportedErrors(answer.body);
  return reported.length === 0
    ? header(answer, "docker-distribution-api-version") !== "" && !/html/i.test(header(answer, "content-type"))
    : reported.every(({ code }) => absences.has(code.toUpperCase()));
};

export const header = (answer: Pick<Whole, "headers">, name: string): string => {
  const value = answer.headers[name];
  return Array.isArray(value) ? (value[0] ?? "") : (value ?? "");
};

/** The content's own word goes before the header's: some registries answer every manifest as the type that was asked for first. */
const typeOf = (answer: Whole, bytes?: Buffer): string => {
  const sent = header(answer, "content-type").split(";", 1)[0]?.trim() ?? "";
  if (bytes === undefined) return sent;
  try {
    const { mediaType } = JSON.parse(bytes.toString("utf8")) as { mediaType?: unknown };
    return typeof mediaType === "string" && mediaType !== "" ? mediaType : sent;
  } catch {
    return sent;
  }
};

/** Content that is not what its digest says. */
export const damaged = (name: string, got: string): FactoryError =>
  new FactoryError("CHECKSUM_MISMATCH", {
    what: `the registry has other content under ${name}`,
    why: `what it sent has the digest ${got}`,
    fix: "run the same command again; if it stays, the registry's storage or a proxy before it is damaged",
  });
