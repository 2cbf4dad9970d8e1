import { execFile } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { findProgram } from "../../../ci/host/programs.js";
import { stateOf } from "../../../ci/state/state.js";

/** Words such as IMAGE=… as a person types them, by ./task and by Task itself. `render --stdout` reads a word and starts nothing. */
const root = fileURLToPath(new URL("../../../", import.meta.url));
const script = join(root, "task");

const typed = (program: string, words: readonly string[], env: Record<string, string> = {}) =>
  new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
    // As in a person's own shell: this process may be one that `./task test` started, which hands its words on.
    const rest = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(?:IMAGE$|FACTORY_)/.test(name)));
    execFile(program, words, { cwd: root, env: { ...rest, ...env } }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    );
  });

/** Task as ./task found or brought it. */
const plainTask = async (): Promise<string | null> => {
  const tools = join(stateOf(root, process.env).cache, "host-tools");
  const brought = existsSync(tools) ? readdirSync(tools).map((name) => join(tools, name, "bin", "task")) : [];
  return brought.find((path) => existsSync(path)) ?? (await findProgram("task", process.env));
};

const render = ["--", "--stdout"];
const first = "# builder-debian: rendered";

test.each(["./task", "task --exit-code"])("%s: what is typed counts, and what is not known is refused", async (how) => {
  const task = how === "./task" ? script : await plainTask();
  if (task === null) throw new Error("./task brought no Task");
  const before = how === "./task" ? [] : ["--exit-code"];
  const say = (words: readonly string[], env: Record<string, string> = {}) => typed(task, [...before, ...words, ...render], env);

  for (const words of [
    ["render", "IMAGE=builder-debian"],
    ["IMAGE=builder-debian", "render"],
  ])
    expect(await say(words)).toMatchObject({ code: 0, stdout: expect.stringContaining(first) });
  // A value is what was typed: no template of Task's, no matter what an outer Task handed on.
  expect(await say(["render", "IMAGE=builder{{.X}}"])).toMatchObject({
    code: 64,
    stderr: expect.stringContaining("no image builder{{.X}}\n"),
  });
  expect(await say(["render", "IMAGE=a=b 'c' \"d\"\n$e"])).toMatchObject({
    code: 64,
    stderr: expect.stringContaining("no image a=b 'c' \"d\"\\u000a$e\n"),
  });
  const outer = { FACTORY_VARIABLES: '{"IMAGE":null,"STAGE":"runtime"}', FACTORY_TYPED: "1\nSTAGE\n" };
  expect(await say(["render", "IMAGE=builder-debian"], outer)).toMatchObject({ code: 0, stdout: expect.stringContaining(first) });
  expect(await say(["render", "IMAGE=nginx"], { ...outer, FACTORY_VARIABLES: '{"IMAGE":"builder"}' })).toMatchObject({
    code: 64,
  });
  // What a job calls its own image is no argument, and what is typed counts more.
  const job = { IMAGE: "nginx", STAGE: "production", TEST: "1", VERSION: "7", TAGS: "a b" };
  expect(await say(["render", "IMAGE=builder-debian"], job)).toMatchObject({ code: 0, stdout: expect.stringContaining(first) });
  expect(await say(["render"], { ...job, FACTORY_IMAGE: "builder-debian" })).toMatchObject({
    code: 0,
    stdout: expect.stringContaining(first),
  });
  expect(await say(["render", "IMAGE=nginx"], job)).toMatchObject({
    code: 64,
    stderr: expect.stringContaining("no image nginx"),
  });

  for (const [word, what, fix] of [
    ["IMGAE=builder-debian", "IMGAE= is not known", "did you mean IMAGE=?"],
    ["STAGE=runtime", "STAGE= means nothing to render", "leave it out"],
    ["TAG=2.0", "TAG= is not known", "leave it out"],
    ["A=b=c", "A= is not known", "leave it out"],
    ["IMGAE=", "IMGAE= is not known", "did you mean IMAGE=?"],
  ] as const)
    expect(await say(["render", word])).toMatchObject({
      code: 64,
      stdout: "",
      stderr: expect.stringMatching(new RegExp(`${what.replace("?", "\\?")}[^]*${fix.replace("?", "\\?")}`)),
    });
});

test.each(["test:unit", "test:campaign", "check", "bench:plan"])("./task %s takes no words", async (verb) => {
  expect(await typed(script, [verb, "CAMPAIGN_SEED=7"])).toMatchObject({
    code: 64,
    stderr: expect.stringContaining(`CAMPAIGN_SEED=… ./task ${verb}`),
  });
});
