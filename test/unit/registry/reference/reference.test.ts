import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FactoryError } from "../../../../dagger/src/pipeline/common/error.js";
import {
  apiHost,
  parseReference,
  parseRegistry,
  parseRepository,
  referenceText,
} from "../../../../dagger/src/registry/reference/reference.js";

const digest = `sha256:${"a".repeat(64)}`;

describe("a reference", () => {
  test.each([
    ["debian", "docker.io/library/debian", null, null],
    ["debian:12", "docker.io/library/debian", "12", null],
    ["acme/tool", "docker.io/acme/tool", null, null],
    ["docker.io/debian", "docker.io/library/debian", null, null],
    ["index.docker.io/acme/tool:2", "docker.io/acme/tool", "2", null],
    ["registry-1.docker.io/library/debian", "docker.io/library/debian", null, null],
    ["ghcr.io/acme/image-factory:v1.2", "ghcr.io/acme/image-factory", "v1.2", null],
    ["GHCR.io/acme/x", "ghcr.io/acme/x", null, null],
    ["ghcr.io/a/b/c/d", "ghcr.io/a/b/c/d", null, null],
    ["localhost/x", "localhost/x", null, null],
    ["localhost:5000/x", "localhost:5000/x", null, null],
    ["127.0.0.1:5000/x:1", "127.0.0.1:5000/x", "1", null],
    ["[::1]:5000/x:1", "[::1]:5000/x", "1", null],
    ["registry.example.com:443/a-b/c_d/e.f/g--h/i__j:T_1.-", "registry.example.com:443/a-b/c_d/e.f/g--h/i__j", "T_1.-", null],
    [`ghcr.io/acme/x@${digest}`, "ghcr.io/acme/x", null, digest],
    [`ghcr.io/acme/x:1@${digest}`, "ghcr.io/acme/x", "1", digest],
    [`x@sha512:${"0".repeat(128)}`, "docker.io/library/x", null, `sha512:${"0".repeat(128)}`],
  ])("%s", (text, name, tag, expected) => {
    const reference = parseReference(text);
    expect(`${reference.registry}/${reference.repository}`).toBe(name);
    expect([reference.tag, reference.digest]).toEqual([tag, expected]);
    expect(parseReference(referenceText(reference))).toEqual(reference);
  });

  test.each([
    ["", "no repository"],
    ["ghcr.io/", "no repository"],
    ["https://ghcr.io/acme/x", "an image reference has no scheme"],
    ["ghcr.io/Acme/x", "has capitals"],
    ["Acme/x", "has capitals"],
    ["a b", "is no repository"],
    ["ghcr.io/acme//x", "is no repository"],
    ["ghcr.io/acme/-x", "is no repository"],
    ["ghcr.io/acme/x_-y", "is no repository"],
    ["ghcr.io", "a host without a repository"],
    ["ghcr.io/acme/x:", '"" is no tag'],
    ["ghcr.io/acme/x:.1", '".1" is no tag'],
    [`ghcr.io/acme/x:${"t".repeat(129)}`, "is no tag"],
    ["ghcr.io/acme/x@sha256:12", "is no digest"],
    [`ghcr.io/acme/x@${digest}@${digest}`, "more than one @"],
    [`ghcr.io/acme/x@${digest.toUpperCase()}`, "is no digest"],
    ["ghcr.io:99999/x", "is no host:port"],
    ["-bad.io/x", "is no host:port"],
    [`ghcr.io/${"a".repeat(250)}`, "longer than 255"],
    ["../../etc/passwd", "is no host:port"],
  ])("%s is none", (text, why) => {
    const error = (() => {
      try {
        return parseReference(text);
      } catch (caught) {
        return caught;
      }
    })();
    expect(error).toBeInstanceOf(FactoryError);
    expect(error).toMatchObject({
      code: "REFERENCE_INVALID",
      exitCode: 65,
      explanation: { why: expect.stringContaining(why) as string },
    });
  });

  test("says what to type", () => {
    expect(() => parseReference("https://ghcr.io/acme/x")).toThrow(
      expect.objectContaining({ explanation: expect.objectContaining({ fix: "write ghcr.io/acme/x" }) as unknown }) as Error,
    );
  });

  test("parts that hold up make a reference that reads back the same", () => {
    const name = fc.stringMatching(/^[a-z0-9]{1,8}([._-][a-z0-9]{1,8}){0,2}$/);
    const host = fc.constantFrom("ghcr.io", "localhost", "localhost:5000", "registry.example.com:5000", "[::1]:5000");
    fc.assert(
      fc.property(
        host,
        fc.array(name, { minLength: 1, maxLength: 4 }),
        fc.option(fc.stringMatching(/^\w[\w.-]{0,20}$/)),
        fc.boolean(),
        (registry, parts, tag, byDigest) => {
          const reference = { registry, repository: parts.join("/"), tag, digest: byDigest ? digest : null };
          expect(parseReference(referenceText(reference))).toEqual(reference);
        },
      ),
    );
  });

  test("any text is a reference or a REFERENCE_INVALID", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[a-zA-Z0-9.:@/_[\]-]{0,40}$/)), (text) => {
        try {
          expect(parseReference(referenceText(parseReference(text)))).toEqual(parseReference(text));
        } catch (error) {
          expect(error).toMatchObject({ code: "REFERENCE_INVALID" });
        }
      }),
      { numRuns: 2000 },
    );
  });
});

test("a registry and a repository alone", () => {
  expect(parseRegistry("Registry.Example.com:5000")).toBe("registry.example.com:5000");
  expect(parseRegistry("index.docker.io")).toBe("docker.io");
  expect(apiHost("docker.io")).toBe("registry-1.docker.io");
  expect(apiHost("ghcr.io")).toBe("ghcr.io");
  expect(parseRepository("ghcr.io/acme/x")).toEqual({ registry: "ghcr.io", repository: "acme/x" });
  expect(() => parseRegistry("ghcr.io/acme")).toThrow(/REFERENCE_INVALID/);
});

test.each([
  "me:wo%rd@ghcr.io/acme/x",
  "https://me:wo%rd@ghcr.io/acme/x",
  "ghcr.io/me:wo%rd@x/y",
  `me:wo%rd@ghcr.io/acme/x@${digest}`,
  "me:wo%rd/1@ghcr.io/x",
])("a password in %s is not shown", (text) => {
  for (const read of [parseReference, parseRepository, parseRegistry])
    try {
      read(text);
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(FactoryError);
      expect(JSON.stringify((error as FactoryError).explanation)).not.toContain("wo%rd");
    }
});
