import { expect, test } from "vitest";
import { withAccount } from "../../../dagger/src/pipeline/layer/account-files.js";
import { parseSpec } from "../../../dagger/src/pipeline/config/parse.js";
import { withoutEnd } from "../../../dagger/src/pipeline/common/without-end.js";
import { parseDockerConfig, storedCredentials } from "../../../dagger/src/registry/auth/docker-config.js";
import { readRequirement } from "../../../dagger/src/pipeline/python/pep508.js";

test.each(["__proto__", "constructor", "toString"])("a key %s is refused with its place", (name) => {
  const { value, problems } = parseSpec(`registry: ghcr.io/acme\nimages:\n  ${name}: {}\n`);
  expect(value).toBeNull();
  expect(problems).toEqual([
    expect.objectContaining({
      message: `${name} cannot be a key here: choose another name`,
      position: expect.objectContaining({ line: 3, col: 3 }),
    }),
  ]);
});

test("YAML that is nested without end is a problem of the text", () => {
  const { value, problems } = parseSpec("[".repeat(100_000));
  expect(value).toBeNull();
  expect(problems.length).toBeGreaterThan(0);
});

test("parentheses without end are a problem of the marker, a hundred are read", () => {
  const marker = (depth: number) => readRequirement(`x; ${"(".repeat(depth)}os_name == "nt"${")".repeat(depth)}`);
  expect(marker(100)).toMatchObject({ ok: true });
  expect(marker(100_000)).toMatchObject({ ok: false, message: "more than 100 parentheses inside each other" });
});

test("a line of passwd that holds no number takes no uid", () => {
  const passwd = { text: "+::::::\nodd\nhex:x:0x3e8:0x3e8::/:\n", mode: "644", uid: 0, gid: 0 };
  const account = { name: "app", uid: 1000, gid: 0, home: "/home/app", shell: "/bin/sh", subordinate: null };
  for (const uid of [0, 1000])
    expect(withAccount({ "/etc/passwd": passwd }, { ...account, uid })["/etc/passwd"]?.text).toContain(`\napp:x:${uid}:0:`);
});

test("what a text ends in is taken away in linear time", () => {
  expect(["a//", "//", "", "a", "a//b/", "/a"].map((text) => withoutEnd(text, "/"))).toEqual(["a", "", "", "a", "a//b", "/a"]);
  expect(["1.0.0", "1.0.10", ".0", "10"].map((text) => withoutEnd(text, ".0"))).toEqual(["1", "1.0.10", "", "10"]);
  const many = "/".repeat(1_000_000);
  expect(withoutEnd(`${many}x`, "/")).toBe(`${many}x`);
});

test("a configuration file of Docker full of slashes and NULs is read to its end", () => {
  const auth = Buffer.from(`me:${"\0".repeat(400_000)}pw\0`).toString("base64");
  const file = JSON.stringify({ auths: { [`${"/".repeat(400_000)}x`]: {}, "ghcr.io": { auth } } });
  expect(storedCredentials(parseDockerConfig(file, "config.json"), { registry: "ghcr.io", repository: "acme/x" })).toMatchObject({
    username: "me",
    password: `${"\0".repeat(400_000)}pw`,
  });
});

test.each(["https://ghcr.io/acme", "me:word@ghcr.io/acme", "ghcr.io/", "ghcr.io acme", "ghcr.io/Acme", "$HOST/acme"])(
  "a registry %s is refused with its place",
  (registry) => {
    const { problems } = parseSpec(`registry: ${JSON.stringify(registry)}\nimages: {}\n`);
    expect(problems).toContainEqual(
      expect.objectContaining({
        message: expect.stringMatching(/^registry: .*expected a registry and namespace/),
        position: expect.objectContaining({ line: 1, col: 11 }),
      }),
    );
  },
);

test.each(["acme", "ghcr.io", "ghcr.io/acme/team", "localhost:5000", "[::1]:5000/x", "registry.example.com:443/a_b"])(
  "a registry %s is one",
  (registry) => {
    const { problems } = parseSpec(`registry: ${JSON.stringify(registry)}\nimages: {}\n`);
    expect(problems.filter(({ message }) => message.startsWith("registry:"))).toEqual([]);
  },
);
