import { FactoryError } from "../../pipeline/common/error.js";
import type { Fix } from "../../pipeline/common/fix.js";
import type { Broken } from "./broken.js";
import type { Call, Whole } from "./types.js";
import { shownUrl } from "./proxy.js";
import { isLater } from "./retry.js";

/** An entry of a registry's error body (OCI distribution spec 1.1, "Error Codes"). */
export type Reported = { code: string; message: string; detail: unknown };

/** Everything a registry can say about a failure, at most. */
const wordLimit = 600;

/** The entries of an error body; none where it is something else (a proxy's page). */
export const reportedErrors = (body: Uint8Array): Reported[] => {
  try {
    const value = JSON.parse(Buffer.from(body).toString("utf8")) as { errors?: unknown };
    if (!Array.isArray(value.errors)) return [];
    return (value.errors as Partial<Reported>[]).map(({ code, message, detail }) => ({
      code: typeof code === "string" ? code : "UNKNOWN",
      message: typeof message === "string" ? message : "",
      detail: detail ?? null,
    }));
  } catch {
    return [];
  }
};

/** A registry's own words on one line each, fit for a terminal; HTML and other noise is left out. */
const wordsOf = (answer: Pick<Whole, "status" | "body" | "headers">): string => {
  const reported = reportedErrors(answer.body).map(({ code, message }) => (message === "" ? code : `${code}: ${message}`));
  const text = reported.length > 0 ? reported.join("; ") : plainWords(answer);
  return `it answered ${answer.status}${text === "" ? "" : `: ${text}`}`;
};

const plainWords = ({ body, headers }: Pick<Whole, "body" | "headers">): string => {
  const type = headers["content-type"] ?? "";
  if (!/^(text\/plain|application\/json|application\/[\w.]*\+?json)/i.test(type) || body.length === 0) return "";
  return printable(
    Buffer.from(body.subarray(0, 4 * wordLimit))
      .toString("utf8")
      .trim(),
  );
};

/** No control characters: a registry must not move anybody's cursor. */
const printable = (text: string): string => {
  const clean = text.replace(/\s+/g, " ").replace(/[\p{C}]/gu, "");
  return clean.length > wordLimit ? `${clean.slice(0, wordLimit)}…` : clean;
};

/** An exchange that broke for good. */
export const failureOf = (call: Pick<Call, "method" | "url">, broken: Broken, tried: number): FactoryError =>
  new FactoryError("REGISTRY_UNREACHABLE", {
    what: `cannot reach ${call.url.host}`,
    why: `${call.method} ${shownUrl(call.url)}: ${broken.message}${tried > 1 ? ` (${tried} tries)` : ""}`,
    fix: fixFor(call.url, broken),
    cause: broken,
  });

const fixFor = (url: URL, { kind, code, message }: Broken): Fix => {
  if (kind === "tls" && /wrong version number|packet length too long|EPROTO/i.test(`${message} ${code}`))
    return [`if ${url.host} speaks plain http and you trust the network to it: `, { plainHttp: url.host }];
  if (kind === "tls") return [`if ${url.host} has a certificate of your own CA, name it: `, { trustFile: "/path/to/ca.pem" }];
  if (kind === "proxy") return `correct HTTPS_PROXY, or reach it without: NO_PROXY=${url.hostname}`;
  if (kind === "connect" && /^(127\.|localhost|\[::1\])/.test(url.hostname))
    return `start the registry on ${url.host}; inside a container or a Dagger module, ${url.hostname} is the container's own: give the host's address`;
  return "check the name, the network, HTTPS_PROXY and NO_PROXY; then run the same command again";
};

/** Who asks, as far as messages may tell: where the login is from, what was passed over, and how its secrets are struck out. */
export type Login = {
  registry: string;
  source: string | null;
  notes: readonly string[];
  /** Whether the places of logins were looked at: not before a registry asks for one. */
  asked: boolean;
  hide(text: string): string;
};

/** A refusal for want of rights. @param doing `push to ghcr.io/acme/x`, `read …` */
export const denied = (doing: string, why: string, login: Login): FactoryError =>
  new FactoryError("REGISTRY_DENIED", {
    what: `not allowed to ${doing}`,
    why: [why, loginWords(login), ...login.notes].join("\n"),
    fix: login.source === null ? loginFix(login.registry) : rightsFix(login.registry),
  });

const loginWords = ({ source, asked, registry }: Login): string => {
  if (source !== null) return `the login is from ${source}`;
  return asked ? `no login for ${registry} was found` : "it refused without asking for a login";
};

const loginFix = (registry: string): Fix => ({ login: registry });

const rightsFix = (registry: string): Fix =>
  registry === "ghcr.io"
    ? "give the token write:packages; in GitHub Actions `permissions: packages: write`, and in the package's settings write access for this repository (Manage Actions access)"
    : ["check that this login may do it, or log in with another: ", { login: registry }];

/** Any answer that is not the one hoped for. @param doing `push …`, `read …` */
export const refusal = (doing: string, answer: Whole, login: Login): FactoryError => {
  const why = login.hide(printable(wordsOf(answer)));
  if (answer.status === 401 || answer.status === 403) return denied(doing, why, login);
  if (isLater(answer.status)) {
    const wait = answer.headers["retry-after"];
    return new FactoryError("REGISTRY_UNREACHABLE", {
      what: `${answer.url.host} does not let us ${doing} now`,
      why: wait === undefined ? why : `${why}\nit asks to wait: Retry-After ${printable(wait)}`,
      fix: "run the same command again later; what was finished is kept",
    });
  }
  return new FactoryError("REGISTRY_FAILED", {
    what: `cannot ${doing}`,
    why,
    fix: reportedErrors(answer.body).some(({ code }) => code === "NAME_UNKNOWN")
      ? "create the repository there first (ECR and some others make none at the first push), or correct its name"
      : `check that ${answer.url.host} is a registry with the OCI distribution API, and what its words say`,
  });
};
