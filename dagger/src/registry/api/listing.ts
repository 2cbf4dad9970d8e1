import { FactoryError } from "../../pipeline/common/error.js";
import { repositoryScope } from "../auth/challenge.js";
import { absent, found, type Lookup, lookUp } from "../reference/lookup.js";
import { header, saysAbsent } from "./manifests.js";
import { outsideUrl } from "../http/outside-url.js";
import type { Endpoint } from "./session.js";

export type Deleted =
  | { state: "deleted" }
  | { state: "absent" }
  /** The registry has no such function (GHCR, Docker Hub), or it is switched off. */
  | { state: "unsupported"; error: FactoryError };

const pageSize = 1000;
/** A listing that needs more pages than this goes in circles. */
const mostPages = 1000;

/** All tags of a repository, in the registry's order. */
export const listTags = (place: Endpoint): Promise<Lookup<string[]>> =>
  lookUp(async () => {
    const doing = `list the tags of ${place.name}`;
    const tags: string[] = [];
    let next: string | null = `${place.base}/tags/list?n=${pageSize}`;
    for (let page = 0; next !== null && page < mostPages; page++) {
      const answer = await place.session.ask({ about: "tags", method: "GET", to: next, scopes: place.read, doing });
      if (answer.status === 404 && page === 0 && saysAbsent(answer)) return absent;
      if (answer.status !== 200) throw place.session.refusal(doing, answer);
      const { tags: more } = jsonOf<{ tags?: unknown }>(answer.body, doing);
      if (Array.isArray(more)) tags.push(...more.filter((tag): tag is string => typeof tag === "string"));
      const link = nextLink(header(answer, "link"));
      const url = link === null ? null : outsideUrl(link, answer.url);
      if (link !== null && url === null) throw misshapen(doing, "its Link to the next page is not an http or https address");
      next = url?.href ?? null;
    }
    // Pages may overlap when tags move while they are read.
    return found([...new Set(tags)]);
  });

/** `</v2/…?last=x&n=100>; rel="next"` (OCI distribution spec 1.1, "Listing Tags"; RFC 8288). */
export const nextLink = (text: string): string | null => /<([^<>]*)>\s*;[^,<]*\brel="?next"?/i.exec(text)?.[1] ?? null;

/**
 * Deletes a manifest by its digest, and with it every tag that names it.
 * @throws FactoryError REGISTRY_DENIED, REGISTRY_UNREACHABLE, REGISTRY_FAILED
 */
export const deleteManifest = async (place: Endpoint, digest: string): Promise<Deleted> => {
  const doing = `delete ${place.name}@${digest}`;
  const answer = await place.session.ask({
    about: "manifest",
    method: "DELETE",
    to: `${place.base}/manifests/${digest}`,
    scopes: [repositoryScope(place.repository, "pull", "delete")],
    doing,
  });
  if (answer.status === 202 || answer.status === 200 || answer.status === 204) return { state: "deleted" };
  if (answer.status === 404 && saysAbsent(answer)) return { state: "absent" };
  const error = place.session.refusal(doing, answer);
  if (answer.status === 405) return { state: "unsupported", error };
  throw error;
};

const jsonOf = <T>(body: Buffer, doing: string): T => {
  try {
    const value: unknown = JSON.parse(body.toString("utf8"));
    if (typeof value === "object" && value !== null) return value as T;
  } catch {
    // Told below.
  }
  throw misshapen(doing, "the answer is not JSON");
};

const misshapen = (doing: string, why: string): FactoryError =>
  new FactoryError("REGISTRY_FAILED", {
    what: `cannot ${doing}`,
    why,
    fix: "check that the address is a registry's, and no proxy answers in its place",
  });
