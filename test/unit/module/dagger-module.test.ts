import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { builtinModules } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encoderNames } from "../../../dagger/src/oci-layout/encoders.js";
import { clientFile } from "../../dagger-session/client-file.js";

/** The module as an engine takes it: the folder dagger/ alone, whose files the library itself reads for functions and their docs. */
const root = fileURLToPath(new URL("../../../", import.meta.url));
const json = (path: string) => JSON.parse(readFileSync(join(root, path), "utf8")) as unknown;
const files = readdirSync(join(root, "dagger/src"), { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith(".ts"))
  .map((path) => join(root, "dagger/src", path));

const importsOf = (file: string): string[] =>
  ts.preProcessFile(readFileSync(file, "utf8"), true, true).importedFiles.map(({ fileName }) => fileName);
const packageOf = (name: string): string =>
  name
    .split("/")
    .slice(0, name.startsWith("@") ? 2 : 1)
    .join("/");

type Package = { dependencies: Record<string, string> };
type Locked = { packages: Record<string, { version?: string; resolved?: string; integrity?: string }> };

describe("what the folder holds", () => {
  const own = json("dagger/package.json") as Package;

  test("imports stay inside src, or are of Node or of a package that package.json lists", () => {
    const outside = files.flatMap((file) =>
      importsOf(file)
        .filter((name) => name.startsWith(".") && !join(dirname(file), name).startsWith(join(root, "dagger/src/")))
        .map((name) => `${file}: ${name}`),
    );
    expect(outside).toEqual([]);
    const packages = new Set(files.flatMap(importsOf).filter((name) => !name.startsWith(".") && !builtin(name)));
    // The compressors are loaded by require, TypeScript and the library are the engine's own.
    const asked = [...packages].map(packageOf).filter((name) => name !== "@dagger.io/dagger");
    const loaded = readFileSync(join(root, "dagger/src/oci-layout/encoders.ts"), "utf8").matchAll(/\bload\("([^"]+)"\)/g);
    const compressors = [...loaded].map((found) => found[1]!);
    expect(compressors).toHaveLength(Object.keys(encoderNames).length);
    expect([...new Set([...asked, ...compressors, "typescript"])].sort()).toEqual(Object.keys(own.dependencies).sort());
  });

  const builtin = (name: string) => name.startsWith("node:") || builtinModules.includes(name);

  test("each package is the one that the command line uses, and the lock names no registry", () => {
    const [here, there] = [json("dagger/package-lock.json") as Locked, json("package-lock.json") as Locked];
    // The module is compiled by the TypeScript of Dagger's SDK, which is another one.
    for (const name of Object.keys(own.dependencies).filter((one) => one !== "typescript")) {
      const [module, cli] = [here, there].map(({ packages }) => packages[`node_modules/${name}`]!);
      expect([name, module!.version, module!.integrity]).toEqual([name, cli!.version, cli!.integrity]);
    }
    expect(Object.values(here.packages).filter(({ resolved }) => resolved !== undefined)).toEqual([]);
  });

  test("no file has a top-level statement that does something", () => {
    const acting = files.flatMap((file) =>
      ts
        .createSourceFile(file, readFileSync(file, "utf8"), ts.ScriptTarget.Latest)
        .statements.filter((one) => ts.isExpressionStatement(one) || ts.isIfStatement(one) || ts.isForOfStatement(one))
        .map((one) => `${file}: ${one.getText().slice(0, 60)}`),
    );
    expect(acting).toEqual([]);
  });
});

type Argument = {
  name: string;
  description?: string;
  isOptional: boolean;
  defaultValue?: unknown;
  ignore?: string[];
  type: { name?: string };
};
type Method = {
  description: string;
  cache?: string;
  isCheck?: boolean;
  arguments: Record<string, Argument>;
  returnType: { kind: string; name?: string };
};
type Scanned = { description: string; objects: Record<string, { description: string; methods: Record<string, Method> }> };

describe("what the library reads of it", () => {
  let folder: string;
  let scanned: Scanned;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "dagger-scan-"));
    const library = pathToFileURL(join(root, "node_modules/@dagger.io/dagger/dist/src/module/introspector/index.js")).href;
    const { scan } = (await import(library)) as { scan: (files: string[], name: string, load: boolean) => Promise<Scanned> };
    scanned = await scan([...files, clientFile(folder)], "image-factory", false);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const methods = () => Object.entries(scanned.objects["ImageFactory"]!.methods);

  test("one object, its functions, what each returns and for how long that is kept", () => {
    expect(Object.keys(scanned.objects)).toEqual(["ImageFactory"]);
    const table = methods().map(
      ([name, { returnType, cache, isCheck }]) =>
        `${name}: ${returnType.name ?? returnType.kind}, ${cache}${isCheck === true ? ", a check" : ""}`,
    );
    expect(table).toEqual([
      "baseTools: Container, session",
      "dependencies: Container, session",
      "application: Container, session",
      "runtime: Container, session",
      "stage: Container, session",
      "build: Container, session",
      "image: Directory, session",
      "publish: STRING_KIND, never",
      "plan: STRING_KIND, session",
      "explain: STRING_KIND, session",
      "planJson: File, session",
      "dockerfile: File, session",
      "testImage: VOID_KIND, never, a check",
      "report: STRING_KIND, session",
      "verify: STRING_KIND, never, a check",
      "lint: VOID_KIND, never, a check",
    ]);
  });

  test("every function and every argument has its doc", () => {
    expect(scanned.description).not.toBe("");
    expect(scanned.objects["ImageFactory"]!.description).not.toBe("");
    const silent = methods().flatMap(([name, { description, arguments: all }]) => [
      ...(description === "" ? [name] : []),
      ...Object.values(all).flatMap((one) => ((one.description ?? "") === "" ? [`${name}(${one.name})`] : [])),
    ]);
    expect(silent).toEqual([]);
  });

  test("a function can be called with nothing but what names its object", () => {
    const needed = methods().flatMap(([name, { arguments: all }]) =>
      Object.values(all)
        .filter(({ isOptional, defaultValue, type }) => !isOptional && defaultValue === undefined && type.name !== "Workspace")
        .map((one) => `${name}(${one.name})`),
    );
    expect(needed).toEqual(["stage(name)"]);
  });

  test("a source that is handed over leaves at home what no image reads", () => {
    for (const [name, { arguments: all }] of methods())
      expect([name, all["source"]?.ignore]).toEqual([name, ["**/.git", "**/.factory"]]);
    expect(scanned.objects["ImageFactory"]!.methods["explain"]!.arguments["since"]?.ignore).toEqual(["**/.git", "**/.factory"]);
  });
});
