import { chmodSync, chownSync, mkdirSync, readdirSync, symlinkSync, utimesSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { commands } from "../../../../ci/commands/index.js";
import { stageNames } from "../../../../dagger/src/pipeline/common/stage.js";
import { scratchFolder } from "../../../fixtures/scratch.js";
import { worldAt } from "../../../fixtures/world.js";

const { at, put } = scratchFolder();

const spec = `registry: r.example
images:
  it:
    repository: it
    platforms: [linux/amd64]
    base: { image: "b.example/b@sha256:${"0".repeat(64)}", packages: apt }
    stages:
      base-tools: { files: { /etc/conf: { from: conf } } }
      dependencies: { run: [{ command: make, inputs: [vendor] }] }
      application: { to: /opt/it, copy: [app] }
      runtime: {}
`;

/** A checkout as git makes it, in an order of our choice. */
const checkout = (folder: string, order: "forwards" | "backwards" = "forwards") => {
  const files = { conf: "conf", "vendor/list": "a\n", "app/one": "1", "app/two": "2", "app/sub/three": "3", "app/sub/four": "4" };
  const all = Object.entries(files);
  put(`${folder}/images.yaml`, spec);
  for (const [path, text] of order === "forwards" ? all : all.reverse()) put(`${folder}/${path}`, text);
  symlinkSync("one", at(`${folder}/app/link`));
  mkdirSync(at(`${folder}/app/void`));
  chmodSync(at(`${folder}/app/two`), 0o755);
};

/** The keys that `plan --json` prints in a folder. */
const keysIn = async (folder: string): Promise<string[]> => {
  const { world, stdout } = worldAt(at(folder), { FACTORY_STATE: at(".state") });
  await (await commands.plan()).run(["--json"], world);
  const { plans } = JSON.parse(stdout()) as { plans: { stages: { key: string }[] }[] };
  return plans[0]!.stages.map(({ key }) => key);
};

/** The stages whose keys differ between two plans. */
const moved = (before: readonly string[], after: readonly string[]) =>
  stageNames.filter((_, index) => before[index] !== after[index]);

describe("of a real folder, no key knows", () => {
  test.each<[string, () => void]>([
    ["the order in which files were made", () => undefined],
    [
      "when",
      () => {
        for (const path of ["conf", "app", "app/one", "app/sub", "vendor/list"])
          utimesSync(at(`b/${path}`), 1_000_000, 1_000_000);
      },
    ],
    [
      "the umask of whoever made them, nor bits that an image never has",
      () => {
        chmodSync(at("b/app/one"), 0o600);
        chmodSync(at("b/app/sub"), 0o2775);
        chmodSync(at("b/app/two"), 0o700);
      },
    ],
    ["what no stage reads", () => void put("b/README.md", "words")],
    ["what is ignored", () => (put("b/.dockerignore", "**/*.pyc\n"), void put("b/app/sub/x.pyc"))],
  ])("%s", async (_, change) => {
    checkout("a");
    checkout("b", "backwards");
    change();
    expect(await keysIn("b")).toEqual(await keysIn("a"));
  });

  test("who owns them", async (context) => {
    if (process.getuid?.() !== 0) return context.skip("only root gives files away");
    checkout("a");
    const before = await keysIn("a");
    for (const path of ["conf", "app", "app/one", "vendor"]) chownSync(at(`a/${path}`), 1234, 1234);
    expect(await keysIn("a")).toEqual(before);
  });

  test("its own state folder", async () => {
    checkout("a");
    put("a/images.yaml", spec.replace("copy: [app]", "copy: [.]"));
    // An exception that would let it in again, as it stands in many a checkout.
    put("a/.dockerignore", "**/*.md\n!**/README.md\n");
    const before = await keysIn("a");
    put("a/.factory/contexts/0/README.md", "a copy");
    expect(await keysIn("a")).toEqual(before);
    expect(readdirSync(at("a"))).toContain(".factory");
  });
});

describe("of a real folder, a key knows", () => {
  test.each<[string, () => void, string]>([
    ["a content of the same size", () => void put("b/app/one", "7"), "application"],
    ["a file that is made executable", () => chmodSync(at("b/app/one"), 0o744), "application"],
    ["an empty folder more", () => mkdirSync(at("b/app/sub/void")), "application"],
    ["what a command reads", () => void put("b/vendor/list", "b\n"), "dependencies"],
    ["a file by its own name", () => void put("b/conf", "CONF"), "base-tools"],
  ])("%s", async (_, change, lowest) => {
    checkout("a");
    checkout("b");
    change();
    expect(moved(await keysIn("a"), await keysIn("b"))).toEqual(
      stageNames.slice(stageNames.findIndex((name) => name === lowest)),
    );
  });
});
