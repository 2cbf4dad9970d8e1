import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isVersion, normalVersion } from "../../../../dagger/src/pipeline/python/pep440.js";
import { readRequirement, requirementText } from "../../../../dagger/src/pipeline/python/pep508.js";

const canonical = (text: string): string => {
  const result = readRequirement(text);
  return result.ok ? requirementText(result.requirement) : `at ${result.at}: ${result.message} (${result.hint})`;
};

test.each([
  ["Foo_.-Bar", "foo-bar"],
  ["foo [B , a, b]", "foo[a,b]"],
  ["foo[]", "foo"],
  ["foo (>= 1.0, < 2)", "foo<2,>=1.0"],
  ["foo >= 1.0 , == 1.* , >=1.0,", "foo==1.*,>=1.0"],
  ["foo===weird version".replace(" ", "-"), "foo===weird-version"],
  ["foo@https://example.com/a;b.whl", "foo @ https://example.com/a;b.whl"],
  [
    "foo[x] @ git+https://example.com/a.git@v1#egg=a ; os_name=='nt'",
    'foo[x] @ git+https://example.com/a.git@v1#egg=a ; os_name == "nt"',
  ],
  ["foo;python_version<'3'", 'foo; python_version < "3"'],
  ["foo; '3' > python_version", 'foo; "3" > python_version'],
  ["foo; (os_name=='a' and (sys_platform=='b' and extra=='c'))", 'foo; os_name == "a" and sys_platform == "b" and extra == "c"'],
  [
    "foo; os_name=='a' and (sys_platform=='b' or sys_platform not  in 'c d')",
    'foo; os_name == "a" and (sys_platform == "b" or sys_platform not in "c d")',
  ],
  [`foo; os_name == 'say "hi"'`, `foo; os_name == 'say "hi"'`],
])("%s is %s", (text, expected) => {
  expect(canonical(text)).toBe(expected);
  expect(canonical(expected)).toBe(expected);
});

test.each([
  ["", "at 0: the requirement is empty"],
  ["foo 2.0", "at 4: 2.0 has no operator (write ==2.0 or >=2.0)"],
  ["foo = 2.0", "at 4: = is not an operator here (write ==2.0)"],
  ["foo ^1.2", "at 4: ^ is not an operator here (write >=1.2,<2)"],
  ["foo >=1 <2", "at 4: a comma is missing before <2"],
  ["foo >=1,,<2", "at 8: a version is missing between two commas"],
  ["foo ~=1", "at 4: ~=1 needs two numbers (write ~=1.0 or >=1)"],
  ["foo >=1.*", "at 4: .* does not go with >= (write >=1)"],
  ["foo >=1+local", "at 4: 1+local is no version"],
  ["foo[a", "at 3: a ] is missing"],
  ["foo @ helper.whl", "at 4: helper.whl is no URL"],
  ["foo @ https://example.com/a b", "at 4: expected one URL"],
  ["foo; python_verion < '3'", "at 5: python_verion is no marker variable"],
  ["foo; python_version < '3", "at 22: a quote is not closed"],
  ["foo; (python_version < '3'", "at 26: a ) is missing"],
  ["foo; python_version", "at 19: expected a comparison"],
  ["foo;", "at 4: the marker ends too early"],
  ["foo; os_name == 'a' os_name == 'b'", "at 20: os_name does not belong here"],
])("%j is refused: %s", (text, start) => {
  expect(canonical(text).startsWith(start), canonical(text)).toBe(true);
});

describe("versions", () => {
  test.each([
    ["1.0", "1.0"],
    ["v1.0-RC.1", "1.0rc1"],
    ["1.0.ALPHA", "1.0a0"],
    ["01.002-preview_3", "1.2rc3"],
    ["1.0-1", "1.0.post1"],
    ["1.0rev", "1.0.post0"],
    ["1.0b2.post3.dev04", "1.0b2.post3.dev4"],
    ["0!1.0+Ubuntu-01.X", "1.0+ubuntu.1.x"],
    ["2!1.0", "2!1.0"],
  ])("%s is %s in normal form", (text, expected) => {
    expect(normalVersion(text)).toBe(expected);
    expect(normalVersion(expected)).toBe(expected);
  });

  test.each(["", "latest", "1.0-final", "1..0", "1.0+", "1.0 2"])("%j is none", (text) => {
    expect(isVersion(text)).toBe(false);
    expect(normalVersion(text)).toBeNull();
  });
});

test("no text makes the reader fail in any other way than by saying no", () => {
  const pieces = fc.constantFrom(
    "foo",
    "[",
    "]",
    "a,",
    ">=",
    "1.0",
    ",",
    ";",
    "@",
    " ",
    "(",
    ")",
    "'",
    '"',
    "os_name",
    "==",
    "and",
    "or",
    "not",
    "in",
    "http://x",
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(pieces).map((parts) => parts.join("")),
      ),
      (text) => {
        const result = readRequirement(text);
        if (!result.ok) {
          expect(result.at).toBeGreaterThanOrEqual(0);
          expect(result.at).toBeLessThanOrEqual(text.length);
          return;
        }
        const once = requirementText(result.requirement);
        expect(canonical(once)).toBe(once);
      },
    ),
    { numRuns: 2000 },
  );
});
