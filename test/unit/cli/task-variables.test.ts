import { expect, test } from "vitest";
import { readTyped, refuseStray, type Typed, withVariables } from "../../../ci/cli/task-variables.js";
import { FactoryError } from "../../../dagger/src/pipeline/common/error.js";

const values = {
  IMAGE: 'a "quoted" name',
  STAGE: null,
  OUTPUT: "",
  NO_CACHE: 1,
  ENGINE: "dagger",
  TAGS: "1 2",
  BUILD_ARGS: null,
};
const text = JSON.stringify(values);
const parent = 4711;
const read = (typed: string, env: Record<string, string> = {}): Typed =>
  readTyped({ ...env, FACTORY_VARIABLES: text, FACTORY_TYPED: typed }, parent);

test("what was typed becomes FACTORY_<FLAG>, whatever the environment says", () => {
  const env = { PATH: "/bin", FACTORY_ENGINE: "buildkit", FACTORY_IMAGE: "", FACTORY_VARIABLES: text, FACTORY_TYPED: "" };
  expect(withVariables(env, read(`${parent}\nIMAGE\nNO_CACHE\nENGINE\nTAGS\nOUTPUT\n`))).toEqual({
    PATH: "/bin",
    FACTORY_ENGINE: "dagger",
    FACTORY_IMAGE: 'a "quoted" name',
    FACTORY_NO_CACHE: "1",
    FACTORY_TAG: "1 2",
  });
});

test("what Task took from the environment is no argument", () => {
  const env = { IMAGE: "nginx", FACTORY_STAGE: "runtime" };
  expect(withVariables(env, read(`${parent}\n`))).toEqual(env);
  expect(withVariables(env, read(`${parent}\nTAGS\n`))).toEqual({ ...env, FACTORY_TAG: "1 2" });
});

test("where nobody tells what was typed, a value that the environment has in the same words is the environment's", () => {
  const typed: Typed = { words: null, values: { IMAGE: "nginx", STAGE: "runtime", TEST: "1" } };
  expect(withVariables({ IMAGE: "nginx", TEST: "1", STAGE: "production" }, typed)).toEqual({
    IMAGE: "nginx",
    TEST: "1",
    STAGE: "production",
    FACTORY_STAGE: "runtime",
  });
});

test.each([undefined, ""])("without Task (%j) nothing was typed, and the environment stays as it is", (none) => {
  const typed = readTyped({ FACTORY_VARIABLES: none }, process.pid);
  expect(typed.words).toEqual([]);
  expect(withVariables({ FACTORY_IMAGE: "x", FACTORY_VARIABLES: none }, typed)).toEqual({ FACTORY_IMAGE: "x" });
});

test("what an outer ./task handed on is not what this Task was given", () => {
  expect(read("1\nIMAGE\n").words).not.toEqual(["IMAGE"]);
});

const refusedBy = (words: readonly string[], flags: Record<string, unknown>): FactoryError["explanation"] | null => {
  try {
    refuseStray("publish", flags, { words, values });
    return null;
  } catch (error) {
    if (!(error instanceof FactoryError) || error.exitCode !== 64) throw error;
    return error.explanation;
  }
};

const flags = { image: {}, "no-cache": {}, tag: {}, "build-arg": {} };

test.each([
  ["IMGAE", "IMGAE= is not known", "did you mean IMAGE=?"],
  ["image", "image= is not known", "did you mean IMAGE=?"],
  ["TAG", "TAG= is not known", "did you mean TAGS=?"],
  ["BUILD_ARG", "BUILD_ARG= is not known", "did you mean BUILD_ARGS=?"],
  ["NOCACHE", "NOCACHE= is not known", "did you mean NO_CACHE=?"],
  ["", "= is not known", "leave it out"],
  ["CAMPAIGN_SEED", "CAMPAIGN_SEED= is not known", "leave it out"],
  ["STAGE", "STAGE= means nothing to publish", "leave it out"],
  ["__proto__", "__proto__= is not known", "leave it out"],
])("%s= is refused", (word, what, fix) => {
  expect(refusedBy(["IMAGE", word], flags)).toEqual({
    what,
    why: "publish takes IMAGE= NO_CACHE= TAGS= BUILD_ARGS=",
    fix: expect.stringContaining(fix),
  });
});

test("what a command takes passes, and so does no word at all", () => {
  expect(refusedBy(["IMAGE", "NO_CACHE", "TAGS", "BUILD_ARGS"], flags)).toBeNull();
  expect(refusedBy([], {})).toBeNull();
});

test.each(["{", "null", "3", "[1]", '"IMAGE"'])("values of Task that are %s are refused", (value) => {
  expect(() => readTyped({ FACTORY_VARIABLES: value }, parent)).toThrow("cannot read FACTORY_VARIABLES");
});
