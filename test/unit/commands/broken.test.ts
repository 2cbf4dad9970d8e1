import { taskWording } from "../../../ci/cli/fix-words.js";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { commands } from "../../../ci/commands/index.js";
import { FactoryError } from "../../../dagger/src/pipeline/common/error.js";
import { problemText } from "../../../ci/view/problem.js";
import { worldAt } from "../../fixtures/world.js";

/**
 * Each of broken/*.yaml is an images.yaml with a mistake (the images.lock of the same name stands beside it), and the .txt is
 * what `plan` says of it. A first line `# factory plan …` gives the flags. Read the .txt files as the person who made the mistake.
 */
const folder = new URL("../../fixtures/broken/", import.meta.url).pathname;
const names = readdirSync(folder)
  .filter((file) => file.endsWith(".yaml"))
  .map((file) => file.slice(0, -".yaml".length));

describe("what a broken images.yaml is told", () => {
  let scratch = "";
  beforeAll(() => {
    scratch = mkdtempSync(join(tmpdir(), "factory-broken-"));
  });
  afterAll(() => rmSync(scratch, { recursive: true, force: true }));

  test.each(names)("%s", async (name) => {
    const at = join(scratch, name);
    mkdirSync(at);
    copyFileSync(join(folder, `${name}.yaml`), join(at, "images.yaml"));
    if (existsSync(join(folder, `${name}.lock`))) copyFileSync(join(folder, `${name}.lock`), join(at, "images.lock"));
    const said = (await told(at, flagsOf(readFileSync(join(at, "images.yaml"), "utf8")))).replaceAll(at, "/project");
    expect(said).not.toMatch(/Invalid input|this is a bug|undefined|\[object|\n {4}at /);
    await expect(said).toMatchFileSnapshot(join(folder, `${name}.txt`));
  });
});

const flagsOf = (text: string): string[] => /^# factory plan (.*)$/m.exec(text)?.[1]?.split(" ") ?? ["--platform", "amd64"];

/** What the person sees on stderr; a plan that works is no mistake, and fails the test. */
const told = async (cwd: string, flags: readonly string[]): Promise<string> => {
  const { world, stdout } = worldAt(cwd);
  const plan = await commands.plan();
  try {
    await plan.run(flags, world);
  } catch (error) {
    if (!(error instanceof FactoryError)) throw error;
    return problemText(error, { colour: false, json: false, verbose: false, wording: taskWording });
  }
  throw new Error(`this images.yaml is not broken:\n${stdout()}`);
};
