import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { importsOf, odditiesOf, worldlyWordsOf } from "./fixtures/source-text.js";

/**
 * Imports run one way: pipeline ← registry ← dagger/src/*.ts ← ci/io ← engines, outputs, images, view, lock, bootstrap ← what a command
 * starts from ← commands ← main. What a layer may not import it is given as an argument by the layer above.
 */
const root = fileURLToPath(new URL("../../", import.meta.url));
type Layer = {
  name: string;
  /** Which files are of the layer; the first layer that takes a file has it. */
  holds: RegExp;
  /** The modules of this repository that it may import at run time. */
  may: RegExp;
  /** The packages and modules of Node that it may import. */
  packages: RegExp;
};

const pipeline = "dagger/src/pipeline/";
const registry = "dagger/src/registry/";
const module = "dagger/src/[^/]+\\.ts$";
const io = "ci/io/";
/** Files of the folder ci itself, without main, and of ci/verify: what a command starts from. */
const project = "ci/(?:verify/)?(?!main\\.ts)[^/]+\\.ts$";
const below = (...places: readonly string[]) => new RegExp(`^(?:${places.join("|")})`);
const node = "node:";

const layers: readonly Layer[] = [
  {
    name: "pipeline",
    holds: below(pipeline),
    may: below(pipeline),
    packages: /^(?:node:crypto|yaml|zod|smol-toml|@balena\/dockerignore)$/,
  },
  { name: "registry", holds: below(registry), may: below(pipeline, registry), packages: below(node) },
  {
    name: "module",
    holds: below(module),
    may: below(pipeline, registry, module),
    packages: below(node, "fflate$", "@bokuweb/zstd-wasm$", "@dagger\\.io/dagger$"),
  },
  { name: "io", holds: below(io), may: below(pipeline, registry, module, io), packages: below(node, "execa$") },
  ...["engines", "outputs", "images", "view", "lock", "bootstrap"].map((name): Layer => ({
    name,
    holds: below(`ci/${name}/`),
    // A base is bootstrapped from the packages that the lock's resolver chose.
    may: below(pipeline, registry, module, io, `ci/${name}/`, ...(name === "bootstrap" ? ["ci/lock/"] : [])),
    packages: below(node, "tar-stream$", "yoctocolors$", "zod$", "smol-toml$", "@dagger\\.io/dagger$"),
  })),
  {
    name: "project",
    holds: below(project),
    may: below("dagger/src/", "ci/(?!commands/|main\\.ts)"),
    packages: below(node, "yaml$", "ci-info/vendors\\.json$"),
  },
  // The flags that several commands share are no command.
  {
    name: "commands",
    holds: below("ci/commands/(?!index\\.ts)"),
    may: below("dagger/src/", "ci/(?!commands/|main\\.ts)", "ci/commands/flags\\.ts$"),
    packages: below(node, "yaml$", "zod$"),
  },
  { name: "list of commands", holds: below("ci/commands/index\\.ts$"), may: below("ci/commands/"), packages: /^$/ },
  { name: "main", holds: below("ci/main\\.ts$"), may: below("dagger/src/", "ci/"), packages: below(node) },
];

const files = ["ci", "dagger/src"]
  .flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" }).map(
      (path) => `${folder}/${path.replaceAll("\\", "/")}`,
    ),
  )
  .filter((path) => path.endsWith(".ts"))
  .sort()
  .map((path) => ({ path, text: readFileSync(join(root, path), "utf8") }));

const violations = ({ path, text }: { path: string; text: string }): string[] => {
  const layer = layers.find(({ holds }) => holds.test(path));
  if (layer === undefined) return [`${path} stands in no layer`];
  return importsOf(path, text)
    .filter(({ from }) => !(/^(?:ci|dagger)\//.test(from) ? layer.may : layer.packages).test(from))
    .map(({ from }) => `${path} imports ${from}`);
};

describe("imports", () => {
  test("run one way", () => {
    expect(files.length).toBeGreaterThan(100);
    expect(
      files.flatMap(violations),
      "what it needs from above must arrive as an argument: ARCHITECTURE.md, 'Direction'",
    ).toEqual([]);
  });

  test("of node:crypto the core takes hashes, not chance", () => {
    const taken = files
      .filter(({ path }) => path.startsWith(pipeline))
      .flatMap(({ path, text }) => importsOf(path, text).filter(({ from }) => from === "node:crypto"));
    expect(new Set(taken.flatMap(({ names }) => names))).toEqual(new Set(["createHash", "Hash"]));
  });
});

test("the core asks no clock, no chance, no process and no network", () => {
  const found = files
    .filter(({ path }) => path.startsWith(pipeline))
    .flatMap(({ path, text }) => worldlyWordsOf(path, text).map((word) => `${path} uses ${word}`));
  expect(found, "values in, values out: let the caller hand it in").toEqual([]);
});

test("only main ends the process, and nothing is exported by default", () => {
  const odd = files.map(({ path, text }) => ({ path, ...odditiesOf(path, text) }));
  expect(odd.filter(({ exits }) => exits).map(({ path }) => path)).toEqual(["ci/main.ts"]);
  expect(odd.filter(({ defaultExport }) => defaultExport).map(({ path }) => path)).toEqual([]);
});

describe("what is typed often starts at once", () => {
  /** Everything that is loaded with a module, as a chain from it: what an import() brings is loaded when it is called. */
  const loadedWith = (start: string): Map<string, string> => {
    const chains = new Map([[start, start]]);
    for (const [path, chain] of chains) {
      const text = files.find((file) => file.path === path)?.text;
      if (text === undefined) continue;
      for (const { from, when } of importsOf(path, text))
        if (when === "loaded" && !chains.has(from)) chains.set(from, `${chain} → ${from}`);
    }
    return chains;
  };

  // Each of these costs a start 5 to 60 ms: measured by ./task bench:code-change.
  const heavy =
    /^(?:yaml|zod|execa|tar-stream|node:https?|node:tls|ci\/engines\/.*|ci\/outputs\/.*|ci\/bootstrap\/.*|ci\/lock\/.*|dagger\/src\/registry\/.*)$/;

  test("publish brings the registry's client, and neither the schema nor what only engines and outputs need", () => {
    const chains = loadedWith("ci/commands/publish.ts");
    expect([...chains.keys()].some((path) => path.startsWith("dagger/src/registry/"))).toBe(true);
    const unneeded = /^(?:yaml|zod|tar-stream|ci\/engines\/.*|ci\/outputs\/.*|ci\/bootstrap\/.*|ci\/lock\/.*)$/;
    expect([...chains].filter(([path]) => unneeded.test(path)).map(([, chain]) => chain)).toEqual([]);
  });

  test.each(["ci/main.ts", "ci/commands/plan.ts", "ci/commands/build.ts"])(
    "%s brings nothing that a code change can do without",
    (start) => {
      const chains = loadedWith(start);
      expect(chains.size).toBeGreaterThan(4);
      expect(
        [...chains].filter(([path]) => heavy.test(path)).map(([, chain]) => chain),
        "load it where it is needed: await import()",
      ).toEqual([]);
    },
  );
});

describe("the finder itself", () => {
  const found = (path: string, text: string) => violations({ path, text });

  test.each([
    ["a static import", 'import { readFileSync } from "node:fs";'],
    ["an import for its side effects", 'import "node:fs";'],
    ["an import whose names are all types, which stays in the output", 'import { type Stats } from "node:fs";'],
    ["a dynamic import", 'const fs = await import("node:fs");'],
    ["an export from elsewhere", 'export { readFileSync } from "node:fs";'],
  ])("sees %s", (_, text) => {
    expect(found("dagger/src/pipeline/x.ts", text)).toEqual(["dagger/src/pipeline/x.ts imports node:fs"]);
  });

  test("follows relative paths, and knows what is erased", () => {
    expect(found("ci/commands/plan.ts", 'import { build } from "./build.js";')).toEqual([
      "ci/commands/plan.ts imports ci/commands/build.ts",
    ]);
    expect(found("ci/view/x.ts", 'import type { A } from "../commands/build.js";\nexport type { B } from "../main.js";')).toEqual(
      [],
    );
    expect(found("ci/io/x.ts", 'import { engines } from "../engines/index.js";')).toEqual([
      "ci/io/x.ts imports ci/engines/index.ts",
    ]);
    expect(found("dagger/other/x.ts", "")).toEqual(["dagger/other/x.ts stands in no layer"]);
  });

  test("tells a clock from a date that is given", () => {
    const words = (text: string) => worldlyWordsOf("dagger/src/pipeline/x.ts", text);
    expect(words("export const a = new Date(epoch * 1000), b = { process: 1 }, c = spec.process, { fetch: d } = x;")).toEqual([]);
    expect(words("new Date(); Date.now(); Math.random(); process.env; fetch(url); f({ process });")).toEqual([
      "Date.now",
      "Math.random",
      "fetch",
      "new Date()",
      "process",
    ]);
  });
});
