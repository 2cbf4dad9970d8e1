import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { type CommandName, commands, isCommand } from "../../../ci/commands/index.js";
import { refuseStray } from "../../../ci/cli/task-variables.js";

/** Whatever a person is told to type is taken by the command that it is shown with. */
const root = fileURLToPath(new URL("../../../", import.meta.url));
const read = (path: string) => readFileSync(`${root}${path}`, "utf8");

type Taskfile = { env: { FACTORY_VARIABLES: string }; tasks: Record<string, { desc?: string; cmd?: string }> };
const taskfile = parse(read("Taskfile.yaml")) as Taskfile;
const known = [...taskfile.env.FACTORY_VARIABLES.matchAll(/"([A-Z_]+)" \.([A-Z_]+)/g)].map(([, name]) => name!);
const values = Object.fromEntries(known.map((name) => [name, null]));

/** The command behind a verb of the Taskfile. */
const commandOf = (verb: string): string | undefined => /\}\} ([a-z:-]+)/.exec(taskfile.tasks[verb]?.cmd ?? "")?.[1];

const refuses = async (verb: string, words: readonly string[]): Promise<unknown> => {
  const name = commandOf(verb);
  if (name === undefined || !isCommand(name)) return `no command behind ${verb}`;
  try {
    refuseStray(name, (await commands[name]()).flags, { words, values });
    return null;
  } catch (error) {
    return error;
  }
};

type Shown = { where: string; verb: string; words: string[] };
/** `./task verb A=… B=…` wherever it stands in a text, and the names in brackets behind it in a table. */
const shownIn = (where: string, text: string): Shown[] => [
  ...[...text.matchAll(/\.\/task ((?:[A-Z_]+=\S* )*)([a-z][a-z:]*)((?: [A-Z_]+=(?:"[^"]*"|[^\s`"]*))*)/g)].map(
    ([, before, verb, after]) => ({
      where,
      verb: verb!,
      words: [...`${before}${after}`.matchAll(/(?:^| )([A-Z_]+)=/g)].map(([, name]) => name!),
    }),
  ),
  ...[...text.matchAll(/^\| `\.\/task ([a-z:]+)` \|.*\(([A-Z][A-Z_, ]+)[;)].*$/gm)].map(([, verb, list]) => ({
    where,
    verb: verb!,
    words: list!.split(",").map((name) => name.trim()),
  })),
];

const sources = ["ci", "dagger/src", "builder"].flatMap((folder) =>
  readdirSync(`${root}${folder}`, { recursive: true, encoding: "utf8" })
    .map((path) => `${folder}/${path}`)
    .filter((path) => path.endsWith(".ts") || path.endsWith("Dockerfile")),
);

const markdownIn = (folder: string): string[] =>
  readdirSync(`${root}${folder}`, { recursive: true, encoding: "utf8" })
    .map((path) => `${folder}/${path}`)
    .filter((path) => path.endsWith(".md"));

/** `./task verb … -- FLAGS` in a page, as a person would type it. */
const flagsIn = (text: string): { verb: string; flags: string[] }[] =>
  [...text.matchAll(/\.\/task ([a-z][a-z:]*)((?: [A-Z_]+=(?:"[^"]*"|[^\s`"]*))*) -- ([^`\n]*)/g)].map(([, verb, , tail]) => ({
    verb: verb!,
    flags: [...tail!.matchAll(/(?:^| )--([a-z][a-z-]*)/g)].map(([, flag]) => flag!),
  }));

test("every flag that README and docs show behind a command is one of it", async () => {
  const shown = pages.flatMap((page) => flagsIn(read(page)).map((one) => ({ page, ...one })));
  expect(shown.length).toBeGreaterThan(8);
  for (const { page, verb, flags } of shown) {
    const name = commandOf(verb);
    if (name === undefined || !isCommand(name)) continue;
    const known = Object.keys((await commands[name]()).flags);
    expect({ page, verb, unknown: flags.filter((flag) => !["help", ...known].includes(flag)) }).toEqual({
      page,
      verb,
      unknown: [],
    });
  }
});

test.each(Object.keys(commands))("%s has a verb in the Taskfile, described by its own sentence", async (name) => {
  const verbs = Object.entries(taskfile.tasks).filter(([verb]) => commandOf(verb) === name);
  expect(verbs).toHaveLength(1);
  const { about } = await commands[name as CommandName]();
  expect(verbs[0]![1].desc).toSatisfy((desc: string) => desc === about || desc.startsWith(`${about} (`));
});

test("the Taskfile hands each name over as it is typed", () => {
  const pairs = [...taskfile.env.FACTORY_VARIABLES.matchAll(/"([A-Z_]+)" \.([A-Z_]+)/g)];
  expect(pairs.length).toBeGreaterThan(15);
  for (const [, name, variable] of pairs) expect(name).toBe(variable);
});

const pages = ["README.md", "CONTRIBUTING.md", ...markdownIn("docs")];

test.each([...pages, "images.yaml", ...sources])("what %s tells to type", async (path) => {
  for (const { where, verb, words } of shownIn(path, read(path)).filter((one) => one.words.length > 0))
    expect({ where, verb, words, refused: await refuses(verb, words) }).toEqual({ where, verb, words, refused: null });
});

test("README and docs show such words at all", () => {
  const words = pages.flatMap((page) => shownIn(page, read(page)));
  expect(words.some(({ verb, words: some }) => verb === "publish" && some.includes("REGISTRY"))).toBe(true);
  expect(words.filter(({ words: some }) => some.length > 0).length).toBeGreaterThan(15);
});

test.each(Object.entries(taskfile.tasks).filter(([verb]) => commandOf(verb) !== undefined && verb !== "compile"))(
  "what the description of %s names",
  async (verb, { desc = "" }) => {
    const words = (/\(([A-Z][A-Z_]+(?:, [A-Z_]+)*)[;)]/.exec(desc)?.[1] ?? "").split(", ").filter((word) => word !== "");
    expect(await refuses(verb, words)).toBeNull();
  },
);
