/** How an exchange of one request and its answer can break before the answer is whole. */
export type Breakage =
  /** No connection: refused, no route, no such host. */
  | "connect"
  /** The certificate is not trusted, or the other side does not speak TLS. */
  | "tls"
  /** The proxy refuses. */
  | "proxy"
  /** The connection ended before the answer began. */
  | "reset"
  /** A kept connection had been closed by the other side just before it was used again. */
  | "stale"
  /** The answer ended too early. */
  | "truncated"
  /** Nothing moved for too long. */
  | "timeout"
  /** It makes no sense to go on: too many redirects, a redirect to plain http. */
  | "redirect";

/** An exchange that broke; the caller decides whether it is tried again. */
export class Broken extends Error {
  readonly kind: Breakage;
  /** The operating system's or OpenSSL's name, where there is one. */
  readonly code: string;

  constructor(kind: Breakage, message: string, options?: ErrorOptions & { code?: string }) {
    super(message, options);
    this.name = "Broken";
    this.kind = kind;
    this.code = options?.code ?? "";
  }
}

const connectCodes = new Set([
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EHOSTDOWN",
  "ENOTFOUND",
  "EAI_AGAIN",
  "ETIMEDOUT",
  "EADDRNOTAVAIL",
]);
const tlsCodes = /^(ERR_TLS|ERR_SSL|CERT_|UNABLE_TO_|DEPTH_ZERO|SELF_SIGNED|HOSTNAME_|INVALID_CA|EPROTO)/;

/** What Node throws, sorted into the kinds. @param began whether the answer's first line had arrived; @param reused a kept connection */
export const asBroken = (error: unknown, began: boolean, reused: boolean): Broken => {
  if (error instanceof Broken) return error;
  const code = codeOf(error);
  const options = { cause: error, code };
  if (connectCodes.has(code)) return new Broken("connect", messageOf(error), options);
  if (tlsCodes.test(code)) return new Broken("tls", messageOf(error), options);
  if (began) return new Broken("truncated", "the connection ended in the middle of the answer", options);
  return new Broken(
    reused ? "stale" : "reset",
    `the connection ended before an answer came (${code || messageOf(error)})`,
    options,
  );
};

const codeOf = (error: unknown): string => {
  // A refused connection to a host with two addresses is an AggregateError; its parts have the codes.
  if (error instanceof AggregateError && error.errors.length > 0) return codeOf(error.errors[0]);
  return error instanceof Error && "code" in error ? String(error.code) : "";
};

const messageOf = (error: unknown): string => {
  if (error instanceof AggregateError) return error.errors.map(messageOf).join("; ");
  return error instanceof Error ? error.message || codeOf(error) || error.name : String(error);
};
