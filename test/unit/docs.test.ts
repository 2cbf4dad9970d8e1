import { existsSync, globSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { parseSpec } from "../../dagger/src/pipeline/config/parse.js";

/** What the pages say of the repository is true of it. Which words and flags they tell to type: typed-words.test.ts. */
const root = fileURLToPath(new URL("../../", import.meta.url));
const read = (path: string) => readFileSync(join(root, path), "utf8");
const pages: readonly string[] = [
  "README.md",
  "CONTRIBUTING.md",
  "ARCHITECTURE.md",
  "SECURITY.md",
  ...readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".md"))
    .map((path) => `docs/${path}`),
];

test("README is one screen and a half", () => {
  const lines = read("README.md").split("\n");
  expect(lines.length).toBeLessThanOrEqual(131);
  expect(lines.filter((line) => [...line].length > 120)).toEqual([]);
});

test("the images.yaml of README is one", () => {
  const [, yaml = ""] = /```yaml\n([^]*?)```/.exec(read("README.md")) ?? [];
  expect(yaml.split("\n").length).toBeGreaterThan(15);
  expect(parseSpec(yaml, "images.yaml").problems).toEqual([]);
});

describe.each(pages)("%s", (page) => {
  const text = read(page);

  test("links to what is there", () => {
    const links = [...text.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)].map(([, to]) => to!).filter((to) => !/^[a-z]+:/.test(to));
    expect(links.filter((to) => !existsSync(join(root, dirname(page), to)))).toEqual([]);
  });

  test("names files and folders that are there", () => {
    const named = [...text.matchAll(/`((?:ci|dagger|test|docs|bench|builder|examples)\/[\w./*<>-]+)`/g)].map(([, path]) => path!);
    const concrete = named.filter((path) => !path.includes("<"));
    expect(concrete.filter((path) => globSync(path.replace(/\/$/, ""), { cwd: root }).length === 0)).toEqual([]);
  });
});

test("docs/dev/life-of-a-build.md names functions that are there", () => {
  const sources = ["ci", "dagger/src"]
    .flatMap((folder) => globSync(`${folder}/**/*.ts`, { cwd: root }))
    .map(read)
    .join("\n");
  const exported = new Set([...sources.matchAll(/^export (?:async )?(?:const|function|class) (\w+)/gm)].map(([, name]) => name));
  const named = [...read("docs/dev/life-of-a-build.md").matchAll(/`([a-z]+(?:[A-Z]\w*)+|[A-Z]\w+)`/g)].map(([, name]) => name!);
  expect(named.length).toBeGreaterThan(20);
  expect(named.filter((name) => !exported.has(name) && !/^[A-Z_]+$/.test(name))).toEqual([]);
});

test("the glossary defines each word once", () => {
  const words = [...read("docs/dev/glossary.md").matchAll(/^\| ([^|]+) \|/gm)]
    .flatMap(([, cell]) => cell!.split(", "))
    .filter((word) => word !== "word" && !word.startsWith("---"));
  expect(words.length).toBeGreaterThan(40);
  expect(words.filter((word, at) => words.indexOf(word) !== at)).toEqual([]);
});
