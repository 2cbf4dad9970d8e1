import { cpSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Client, Directory } from "@dagger.io/dagger";
import { describe, expect, test } from "vitest";
import type { PreparedRequest } from "../../../dagger/src/module/request.js";
import { planImage } from "../../../dagger/src/pipeline/plan/plan.js";
import { openImage, openSource, type SourceReader } from "../../../dagger/src/module/source.js";
import { provePlans } from "../../../dagger/src/module/verify.js";
import { forgetsContent, type Planner, withKeys } from "../../fixtures/broken-keys.js";
import { scratchFolder } from "../../fixtures/scratch.js";
import { usual } from "../../fixtures/usual-project.js";

/** The proof as the function `verify` runs it, on a folder that stands for what an engine sends. */
const { at, put } = scratchFolder();

const callOf = async (buildArgs: Readonly<Record<string, string>> = {}, project = usual): Promise<PreparedRequest> => {
  project((path, text) => put(`sent/${path}`, text));
  const exporter = (path: string) => ({
    export: async (to: string) => cpSync(join(at("sent"), path), to, { recursive: true }),
  });
  const reach: SourceReader = {
    where: "the source",
    flag: "--source DIR",
    folder: (path) => exporter(path) as unknown as Directory,
  };
  const folder = (name: string) => (mkdirSync(at(name), { recursive: true }), at(name));
  const source = await openSource(reach, folder("source"));
  const open = await openImage(source, undefined, folder("image"));
  const { spec, lock } = source;
  const plan = planImage({ spec, lock, image: open.name, snapshot: open.snapshot, platform: "linux/amd64", buildArgs });
  return { client: {} as Client, source, open, plans: [plan], scratch: at("") };
};

/** The same with a context of its own, which stands in a subfolder. */
const nested: typeof usual = (write) =>
  usual((path, text) => {
    const spec = text.replace("repository: it", "repository: it\n    context: sub").replace(", images.yaml]", "]");
    write(path.startsWith("images.") ? path : `sub/${path}`, path === "images.yaml" ? spec : text);
  });

/** A planner of the command line, asked as the module asks its own. */
const asOurs =
  (planner: Planner): typeof planImage =>
  ({ spec, lock, image, snapshot, platform, buildArgs }) =>
    planner(
      { spec, lock } as unknown as Parameters<Planner>[0],
      { name: image, snapshot } as unknown as Parameters<Planner>[1],
      platform,
      buildArgs,
    );

describe("a proof inside a function", () => {
  test("passes each kind of change, on plans, and leaves what was sent as it was", async () => {
    const call = await callOf();
    const look = () =>
      readdirSync(call.open.folder, { recursive: true, withFileTypes: true })
        .filter((one) => one.isFile())
        .map((one) => `${one.name} ${readFileSync(join(one.parentPath, one.name), "base64")}`)
        .sort();
    const before = look();
    const report = await provePlans(call, {}, planImage);
    const isRoot = process.getuid?.() === 0;
    expect(report).toContain("it for linux/amd64\n");
    expect(report).toMatch(/\n {2}a dependency added +reuse +execute +assemble +assemble +plan +3 of 4 keys moved +PASS\n/);
    expect(report).toMatch(/\n {2}a README that no stage reads +reuse +reuse +reuse +reuse +plan +no key moved +PASS\n/);
    expect(report).toContain("  on plans, verify:cache of the command line builds it too: nothing, a line of code and ");
    expect(report).toMatch(
      new RegExp(
        `\n${isRoot ? 23 : 22} passed \\(0 by building, ${isRoot ? 23 : 22} on plans\\), 0 failed, ${isRoot ? 1 : 2} n/a; `,
      ),
    );
    expect(look()).toEqual(before);
    expect(readdirSync(at("copy"))).toContain("images.yaml");
  });

  test("of a context in a subfolder honours the ignore file there", async () => {
    const report = await provePlans(await callOf({}, nested), {}, planImage);
    expect(report).toMatch(/\n {2}junk that is ignored +reuse +reuse +reuse +reuse +plan +no key moved +PASS\n/);
    expect(report).toMatch(/\n {2}a comment in images\.yaml +reuse +reuse +reuse +reuse +plan +no key moved +PASS\n/);
    expect(report).toContain(", 0 failed, ");
    expect(readdirSync(at("copy")).sort()).toEqual(["images.lock", "images.yaml", "sub"]);
  });

  test("takes the build arguments of its call", async () => {
    const report = await provePlans(await callOf({ TASK_VERSION: "1.0.0" }), { TASK_VERSION: "1.0.0" }, planImage);
    expect(report).toMatch(/\n {2}the version of a tool +execute +execute +reuse +assemble +plan +4 of 4 keys moved +PASS\n/);
  });

  const broken: [string, typeof planImage, RegExp][] = [
    [
      "forgets the content of files",
      asOurs(forgetsContent),
      /^code: application: its key [0-9a-f]{12} stayed, although app\/src\/app\/main.py has a line more$/m,
    ],
    [
      "reads the whole of pyproject.toml for the dependencies",
      asOurs(
        withKeys((ingredients, _, { snapshot }) =>
          ingredients.stage === "dependencies" ? { of: ingredients, and: [...snapshot.texts] } : { of: ingredients },
        ),
      ),
      /^description: dependencies: its key moved \(.*\), and nothing of it should have: /m,
    ],
  ];
  test.each(broken)("fails on a planner that %s, and names the stage and why", async (_, planner, why) => {
    await expect(provePlans(await callOf(), {}, planner)).rejects.toMatchObject({
      code: "CACHE_BROKEN",
      explanation: {
        what: expect.stringMatching(/^the cache of it does not hold: \d+ faults?$/),
        why: expect.stringMatching(why),
      },
    });
  });
});
