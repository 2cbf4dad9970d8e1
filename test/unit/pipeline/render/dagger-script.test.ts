import * as fc from "fast-check";
import { expect, test } from "vitest";
import { execText, readTook } from "../../../../dagger/src/pipeline/render/dagger-script.js";

test("what a command printed, and how long it took", () => {
  expect(readTook("one\ntwo\n\ntook 1234 ms\n")).toEqual({ milliseconds: 1234, rest: "one\ntwo\n" });
  expect(readTook("\ntook 0 ms\n")).toEqual({ milliseconds: 0, rest: "" });
  expect(readTook("took 5 ms\nand more\n")).toEqual({ milliseconds: null, rest: "took 5 ms\nand more\n" });
  expect(readTook("")).toEqual({ milliseconds: null, rest: "" });
});

test("law: whatever a command prints comes back whole", () => {
  fc.assert(
    fc.property(fc.string(), fc.nat(), (printed, milliseconds) => {
      expect(readTook(`${printed}\ntook ${milliseconds} ms\n`)).toEqual({ milliseconds, rest: printed });
    }),
  );
});

test("folders above a mount are set back one by one, each once, and the mount itself is not", () => {
  const text = execText(["true"], 7, ["/run/inputs/a/b", "/run/inputs/c"]);
  expect(text).toContain("\nfor folder in / /etc /run /run/inputs /run/inputs/a /tmp; do ");
});
