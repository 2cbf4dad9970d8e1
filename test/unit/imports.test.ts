import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { importsOf, odditiesOf, worldlyWordsOf } from "../fixtures/source-text.js";

const root = fileURLToPath(new URL("../../", import.meta.url));
const pipeline = "dagger/src/pipeline/";

/** The packages that a folder may import; modules of Node are `node:…`. */
const none = /^$/;
const hash = /^node:crypto$/;
const node = /^node:/;
const nodeAnd = (...packages: readonly string[]) => new RegExp(`^(?:node:|(?:${packages.join("|")})$)`);

/**
 * Every folder of the program, from the ground up: a folder may import itself and the folders above it in this list, types counted. What it
 * needs from a folder further down arrives as an argument.
 */
const floors: readonly (readonly [folder: string, packages: RegExp])[] = [
  ["dagger/src/pipeline/common", hash],
  ["dagger/src/pipeline/archive", none],
  ["dagger/src/pipeline/config", /^(?:yaml|zod)$/],
  ["dagger/src/pipeline/context", /^@balena\/dockerignore$/],
  ["dagger/src/pipeline/python", /^(?:node:crypto|smol-toml|zod)$/],
  ["dagger/src/pipeline/contents", hash],
  ["dagger/src/pipeline/steps", hash],
  ["dagger/src/pipeline/plan", hash],
  ["dagger/src/pipeline/layer", hash],
  ["dagger/src/pipeline/decide", none],
  ["dagger/src/pipeline/oci", none],
  ["dagger/src/pipeline/render", none],
  ["dagger/src/pipeline/explain", none],
  ["dagger/src/pipeline/report", none],
  ["dagger/src/pipeline/compare", none],
  ["dagger/src/pipeline/image-test", none],
  ["dagger/src/pipeline/verify", /^(?:smol-toml|yaml)$/],
  ["dagger/src/pipeline/prune", none],
  ["dagger/src/registry/reference", hash],
  ["dagger/src/registry/http", node],
  ["dagger/src/registry/auth", node],
  ["dagger/src/registry/api", node],
  ["dagger/src/registry", node],
  ["dagger/src/filesystem", node],
  ["dagger/src/oci-layout", nodeAnd("fflate", "@bokuweb/zstd-wasm")],
  ["dagger/src/distribution", node],
  ["dagger/src/build", node],
  ["dagger/src/dagger", nodeAnd("@dagger\\.io/dagger")],
  ["dagger/src/verification", node],
  ["dagger/src/module", nodeAnd("@dagger\\.io/dagger")],
  ["dagger/src", /^@dagger\.io\/dagger$/],
  ["ci/view", /^yoctocolors$/],
  ["ci/host", nodeAnd("execa")],
  ["ci/cli", node],
  ["ci/state", node],
  ["ci/outputs", nodeAnd("tar-stream")],
  ["ci/images", node],
  ["ci/trust", nodeAnd("ci-info/vendors\\.json")],
  ["ci/project", node],
  ["ci/engines/interface", node],
  ["ci/engines/buildkit", node],
  ["ci/engines/dagger", nodeAnd("@dagger\\.io/dagger")],
  ["ci/engines/embedded", node],
  ["ci/engines", node],
  ["ci/runc", node],
  ["ci/image-test", node],
  ["ci/prune", node],
  ["ci/remote", node],
  ["ci/lock/common", nodeAnd("zod")],
  ["ci/lock/apt", node],
  ["ci/lock/dnf", nodeAnd("zod")],
  ["ci/lock/python", nodeAnd("smol-toml", "zod")],
  ["ci/lock/files", nodeAnd("zod")],
  ["ci/lock", node],
  ["ci/bootstrap", nodeAnd("tar-stream")],
  ["ci/build", node],
  ["ci/publish", node],
  ["ci/verify", node],
  ["ci/commands", nodeAnd("yaml", "zod")],
  ["ci", node],
];
const floorOf = (path: string): number => floors.findIndex(([folder]) => folder === dirname(path));

const files = ["ci", "dagger/src"]
  .flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" }).map(
      (path) => `${folder}/${path.replaceAll("\\", "/")}`,
    ),
  )
  .filter((path) => path.endsWith(".ts"))
  .sort()
  .map((path) => ({ path, text: readFileSync(join(root, path), "utf8") }));

const isOurs = (from: string): boolean => /^(?:ci|dagger)\//.test(from);

const violations = ({ path, text }: { path: string; text: string }): string[] => {
  const at = floorOf(path);
  if (at < 0) return [`${path} stands in no folder of the table`];
  const packages = floors[at]![1];
  return importsOf(path, text).flatMap(({ from }) => {
    if (!isOurs(from)) return packages.test(from) ? [] : [`${path} imports ${from}`];
    const to = floorOf(from);
    return to >= 0 && to <= at ? [] : [`${path} imports ${from}`];
  });
};

/** Files that import each other, around a circle; each circle once. */
const circles = (): string[] => {
  const next = new Map(files.map(({ path, text }) => [path, importsOf(path, text).map(({ from }) => from)]));
  const done = new Set<string>();
  const found: string[] = [];
  const walk = (path: string, way: readonly string[]): void => {
    const at = way.indexOf(path);
    if (at >= 0) found.push([...way.slice(at), path].join(" → "));
    if (at >= 0 || done.has(path)) return;
    for (const one of next.get(path) ?? []) walk(one, [...way, path]);
    done.add(path);
  };
  for (const { path } of files) walk(path, []);
  return found;
};

describe("imports", () => {
  test("go to the same folder or to one above it in the table, types counted", () => {
    expect(files.length).toBeGreaterThan(100);
    expect(files.flatMap(violations), "what it needs from further down must arrive as an argument").toEqual([]);
  });

  test("form no circle, types counted", () => {
    expect(circles()).toEqual([]);
  });

  test("of node:crypto the core takes hashes, not chance", () => {
    const taken = files
      .filter(({ path }) => path.startsWith(pipeline))
      .flatMap(({ path, text }) => importsOf(path, text).filter(({ from }) => from === "node:crypto"));
    expect(new Set(taken.flatMap(({ names }) => names))).toEqual(new Set(["createHash", "Hash"]));
  });
});

/** Dagger shows the first comment of index.ts to users, as what the module is. */
const shown = "dagger/src";

test("each folder opens with one file whose first comment says in two sentences what the folder is and what always holds in it", () => {
  const opening = (folder: string) =>
    files.flatMap(({ path, text }) => {
      const comment = dirname(path) === folder ? (/^\/\*\*\n \* # (\S+)\n \*\n([^]*?)\*\//.exec(text) ?? null) : null;
      return comment === null ? [] : [{ path, named: comment[1]!, said: comment[2]!.replaceAll(/\s*\n \* ?/g, " ").trim() }];
    });
  const found = floors.filter(([folder]) => folder !== shown).map(([folder]) => ({ folder, opened: opening(folder) }));
  expect(found.filter(({ folder, opened }) => opened.length !== 1 || opened[0]!.named !== folder)).toEqual([]);
  const sentences = found.map(({ folder, opened }) => ({ folder, count: opened[0]!.said.match(/[.](?=\s|$)/g)?.length ?? 0 }));
  expect(sentences.filter(({ count }) => count < 2)).toEqual([]);
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
    ["an import of types alone", 'import type { Stats } from "node:fs";'],
    ["an import for its side effects", 'import "node:fs";'],
    ["an import whose names are all types, which stays in the output", 'import { type Stats } from "node:fs";'],
    ["a dynamic import", 'const fs = await import("node:fs");'],
    ["an export from elsewhere", 'export { readFileSync } from "node:fs";'],
  ])("sees %s", (_, text) => {
    expect(found("dagger/src/pipeline/plan/x.ts", text)).toEqual(["dagger/src/pipeline/plan/x.ts imports node:fs"]);
  });

  test("follows relative paths", () => {
    expect(found("ci/view/x.ts", 'import type { A } from "../commands/build.js";\nexport type { B } from "../main.js";')).toEqual(
      ["ci/view/x.ts imports ci/commands/build.ts", "ci/view/x.ts imports ci/main.ts"],
    );
    expect(found("ci/host/x.ts", 'import { engines } from "../engines/choose-engine.js";')).toEqual([
      "ci/host/x.ts imports ci/engines/choose-engine.ts",
    ]);
    expect(found("dagger/src/pipeline/plan/x.ts", 'import { A } from "../steps/step.js";\nimport { B } from "./y.js";')).toEqual(
      [],
    );
    expect(found("dagger/other/x.ts", "")).toEqual(["dagger/other/x.ts stands in no folder of the table"]);
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
