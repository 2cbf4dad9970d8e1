import { expect, test } from "vitest";
import { strayVariables, withVariables } from "../../ci/variables.js";

test("what Task was given becomes FACTORY_<NAME>, whatever the environment says", () => {
  const text = JSON.stringify({ IMAGE: 'a "quoted" name', STAGE: null, OUTPUT: "", NO_CACHE: 1, ENGINE: "dagger" });
  const env = { PATH: "/bin", FACTORY_ENGINE: "buildkit", FACTORY_IMAGE: "" };
  expect(withVariables({ ...env, FACTORY_VARIABLES: text })).toEqual({
    PATH: "/bin",
    FACTORY_ENGINE: "dagger",
    FACTORY_IMAGE: 'a "quoted" name',
    FACTORY_NO_CACHE: "1",
  });
});

test.each([undefined, ""])("nothing given (%j) leaves the environment as it is", (text) => {
  expect(withVariables({ FACTORY_IMAGE: "x", FACTORY_VARIABLES: text })).toEqual({ FACTORY_IMAGE: "x" });
});

test("what a command has no use for is told, and what was not given is not", () => {
  const text = JSON.stringify({ IMAGE: "box", STAGE: "runtime", NO_CACHE: 1, BUILD_ARG: "", TAG: null });
  expect(strayVariables(text, { image: {}, "no-cache": {} })).toEqual(["STAGE"]);
  expect(strayVariables(undefined, {})).toEqual([]);
});
