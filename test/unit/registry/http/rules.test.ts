import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Broken } from "../../../../dagger/src/registry/http/broken.js";
import {
  covers,
  mergeScopes,
  parseChallenges,
  parseScopes,
  repositoryScope,
  scopeTexts,
} from "../../../../dagger/src/registry/auth/challenge.js";
import { plainHttpHosts } from "../../../../dagger/src/registry/http/plain-http.js";
import { isLoopback, proxyFor, shownUrl } from "../../../../dagger/src/registry/http/proxy.js";
import { quick, persistent, retryAfterMs, waitBefore } from "../../../../dagger/src/registry/http/retry.js";

describe("WWW-Authenticate", () => {
  test.each([
    [undefined, []],
    ["", []],
    ['Basic realm="Registry"', [{ scheme: "basic", parameters: { realm: "Registry" } }]],
    [
      'Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:user/image:pull"',
      [
        {
          scheme: "bearer",
          parameters: { realm: "https://ghcr.io/token", service: "ghcr.io", scope: "repository:user/image:pull" },
        },
      ],
    ],
    [
      'Bearer realm="https://auth.example/t",scope="repository:a/b:pull,push repository:c:pull", Basic realm="x, \\"y\\""',
      [
        {
          scheme: "bearer",
          parameters: { realm: "https://auth.example/t", scope: "repository:a/b:pull,push repository:c:pull" },
        },
        { scheme: "basic", parameters: { realm: 'x, "y"' } },
      ],
    ],
    [
      "Negotiate, Basic Realm=x",
      [
        { scheme: "negotiate", parameters: {} },
        { scheme: "basic", parameters: { realm: "x" } },
      ],
    ],
    [
      'Bearer realm = "https://a/" , error="invalid_token"',
      [{ scheme: "bearer", parameters: { realm: "https://a/", error: "invalid_token" } }],
    ],
  ])("%s", (header, expected) => {
    expect(parseChallenges(header)).toEqual(expected);
  });

  test("is read to an end, whatever it is", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[Ba1=", \\]{0,40}$/)), (text) => {
        expect(Array.isArray(parseChallenges(text))).toBe(true);
      }),
    );
  });
});

describe("scopes", () => {
  test("are read with a host and its port in the name", () => {
    expect(parseScopes("repository:registry:5000/a/b:pull,push  repository:c:*")).toEqual([
      { resource: "repository:registry:5000/a/b", actions: ["pull", "push"] },
      { resource: "repository:c", actions: ["*"] },
    ]);
    expect(parseScopes(undefined)).toEqual([]);
  });

  const scope = fc.record({
    resource: fc.constantFrom("repository:a", "repository:b"),
    actions: fc.subarray(["pull", "push", "delete"]),
  });
  test("merged in any order they are the same, and cover what went in", () => {
    fc.assert(
      fc.property(fc.array(scope), fc.array(scope), (one, two) => {
        expect(mergeScopes(one, two)).toEqual(mergeScopes(two, one));
        expect(mergeScopes(mergeScopes(one, two))).toEqual(mergeScopes(one, two));
        expect(covers(mergeScopes(one, two), one)).toBe(true);
      }),
    );
  });

  test("a token for more serves less, and not the other way round", () => {
    const push = [repositoryScope("a", "push", "pull")];
    expect(scopeTexts(push)).toEqual(["repository:a:pull,push"]);
    expect(covers(push, [repositoryScope("a", "pull")])).toBe(true);
    expect(covers([repositoryScope("a", "pull")], push)).toBe(false);
    expect(covers(push, [repositoryScope("b", "pull")])).toBe(false);
  });
});

describe("another try", () => {
  const clock = { now: () => Date.parse("2026-11-25T08:00:00Z"), random: () => 0.999 };
  const status = (code: number, retryAfter?: string) => ({ status: code, retryAfter });

  test.each([
    [200, false],
    [201, false],
    [301, false],
    [400, false],
    [401, false],
    [403, false],
    [404, false],
    [405, false],
    [408, true],
    [409, false],
    [412, false],
    [413, false],
    [416, false],
    [429, true],
    [500, true],
    [501, false],
    [502, true],
    [503, true],
    [504, true],
  ])("after %i: %s", (code, again) => {
    expect(waitBefore(status(code), 1, persistent, clock) !== null).toBe(again);
  });

  test.each([
    ["connect", "ECONNREFUSED", true],
    ["connect", "EAI_AGAIN", true],
    ["connect", "ENOTFOUND", false],
    ["reset", "ECONNRESET", true],
    ["truncated", "", true],
    ["timeout", "", true],
    ["stale", "ECONNRESET", true],
    ["tls", "CERT_HAS_EXPIRED", false],
    ["proxy", "", false],
    ["redirect", "", false],
  ] as const)("after %s %s: %s", (kind, code, again) => {
    expect(waitBefore({ broken: new Broken(kind, "x", { code }) }, 1, persistent, clock) !== null).toBe(again);
  });

  test("waits double, up to a limit, and end where the retry policy ends", () => {
    const waits = [1, 2, 3, 4, 5, 6].map((tried) => waitBefore(status(503), tried, persistent, clock));
    expect(waits.map((wait) => wait && Math.round(wait))).toEqual([500, 1000, 1999, 3998, 7996, null]);
    expect(waitBefore(status(503), 2, quick, clock)).toBe(null);
    expect(waitBefore(status(503), 20, { ...persistent, tries: 100 }, clock)).toBeLessThanOrEqual(persistent.longestWait);
  });

  test("no wait is shorter than what was asked for, and none is drawn below half of the backoff", () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 0, max: 60 }),
        (random, tried, seconds) => {
          const wait = waitBefore(status(429, String(seconds)), tried, persistent, { now: clock.now, random: () => random }) ?? 0;
          expect(wait).toBeGreaterThanOrEqual(Math.max(seconds * 1000, (persistent.firstWait * 2 ** (tried - 1)) / 2));
        },
      ),
    );
  });

  test.each([
    ["0", 0],
    ["120", 120_000],
    [" 7 ", 7_000],
    ["1.5", 1_500],
    ["Wed, 25 Nov 2026 08:00:30 GMT", 30_000],
    ["Wed, 25 Nov 2026 07:00:00 GMT", 0],
    ["880.092µs", null],
    ["-1", null],
    ["soon", null],
    ["", null],
    [undefined, null],
  ])("Retry-After %s", (text, expected) => {
    expect(retryAfterMs(text, clock.now())).toBe(expected);
  });
});

describe("which proxy a URL takes", () => {
  const env = {
    HTTPS_PROXY: "proxy.acme:3128",
    NO_PROXY: "localhost, .internal.acme,other:8443,10.0.0.0/8,fd00::/8,[2001:db8::1]:443,*.star.acme",
  };
  test.each([
    ["https://ghcr.io/", "proxy.acme:3128"],
    ["http://ghcr.io/", null],
    ["https://a.internal.acme/", null],
    ["https://internal.acme/", null],
    ["https://notinternal.acme/", "proxy.acme:3128"],
    ["https://other/", "proxy.acme:3128"],
    ["https://other:8443/", null],
    ["https://10.1.2.3:5000/", null],
    ["https://11.1.2.3:5000/", "proxy.acme:3128"],
    ["https://[fd00::5]/", null],
    ["https://[2001:db8::1]/", null],
    ["https://[2001:db8::2]/", "proxy.acme:3128"],
    ["https://x.star.acme/", null],
  ])("%s", (url, expected) => {
    expect(proxyFor(new URL(url), env)?.host ?? null).toBe(expected);
  });

  test("* is everything, lower case goes before upper, ALL_PROXY serves both", () => {
    const url = new URL("https://ghcr.io/");
    expect(proxyFor(url, { ...env, NO_PROXY: "*" })).toBe(null);
    expect(proxyFor(url, { ...env, https_proxy: "http://small:1" })?.host).toBe("small:1");
    expect(proxyFor(new URL("http://ghcr.io/"), { ALL_PROXY: "all:1" })?.host).toBe("all:1");
    expect(proxyFor(url, { HTTP_PROXY: "plain:1" })).toBe(null);
  });

  test("this very machine", () => {
    for (const host of ["localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "::1"]) expect(isLoopback(host), host).toBe(true);
    for (const host of ["localhost.evil.example", "127.evil.example", "10.0.0.1", "example.com"])
      expect(isLoopback(host), host).toBe(false);
  });
});

test("FACTORY_PLAIN_HTTP", () => {
  expect(plainHttpHosts({})).toEqual([]);
  expect(plainHttpHosts({ FACTORY_PLAIN_HTTP: " Registry.local:5000, ,10.0.0.1,[::1]:5000" })).toEqual([
    "registry.local:5000",
    "10.0.0.1",
    "[::1]:5000",
  ]);
  for (const odd of ["http://x", "a/b", "a:b"]) expect(() => plainHttpHosts({ FACTORY_PLAIN_HTTP: odd }), odd).toThrow(/USAGE/);
});

test("an address is shown without what may be secret", () => {
  expect(shownUrl("https://me:pass@host/a?token=1#x")).toBe("https://host/a");
});
