import { expect, test } from "vitest";
import { withAccount } from "../../dagger/src/pipeline/account-files.js";
import { parseSpec } from "../../dagger/src/pipeline/parse.js";
import { readRequirement } from "../../dagger/src/pipeline/pep508.js";

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
