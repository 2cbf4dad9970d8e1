import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { commands, isCommand } from "../../ci/commands/index.js";
import { refuseStray } from "../../ci/cli/task-variables.js";

/** Whatever a person is told to type is taken by the command that it is shown with. */
const root = fileURLToPath(new URL("../../", import.meta.url));
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
    refuseStray(name, (await commands[name].load()).flags, { words, values });
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

test("the Taskfile hands each name over as it is typed", () => {
  const pairs = [...taskfile.env.FACTORY_VARIABLES.matchAll(/"([A-Z_]+)" \.([A-Z_]+)/g)];
  expect(pairs.length).toBeGreaterThan(15);
  for (const [, name, variable] of pairs) expect(name).toBe(variable);
});

test.each(["README.md", "images.yaml", ...sources])("what %s tells to type", async (path) => {
  for (const { where, verb, words } of shownIn(path, read(path)).filter((one) => one.words.length > 0))
    expect({ where, verb, words, refused: await refuses(verb, words) }).toEqual({ where, verb, words, refused: null });
});

test("README shows such words at all", () => {
  const words = shownIn("README.md", read("README.md"));
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
