import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { commands, type CommandName } from "../../../ci/commands/index.js";
import { worldAt } from "../../fixtures/world.js";

/**
 * Each folder of cases/ is a project that a person can run: `factory plan` there (with the flags of a line `# factory plan …`) prints plan.txt,
 * `factory render` writes Dockerfile and Dockerfile.dockerignore. Read them as someone who has only Docker; `vitest -u` renews them.
 */
const cases = fileURLToPath(new URL("../../fixtures/cases/", import.meta.url));

describe("a project, its plan and its Dockerfile", () => {
  let scratch = "";
  beforeAll(() => {
    scratch = mkdtempSync(join(tmpdir(), "factory-cases-"));
  });
  afterAll(() => rmSync(scratch, { recursive: true, force: true }));

  test.each(readdirSync(cases))("%s", async (name) => {
    const folder = join(scratch, name);
    // A copy, because a command leaves its state beside images.yaml.
    cpSync(join(cases, name), folder, { recursive: true, verbatimSymlinks: true });
    const flags = /^# factory plan (.*)$/m.exec(readFileSync(join(folder, "images.yaml"), "utf8"))?.[1]?.split(" ") ?? [];
    await expect(await printed(folder, "plan", flags)).toMatchFileSnapshot(join(cases, name, "plan.txt"));
    await printed(folder, "render", []);
    for (const file of ["Dockerfile", "Dockerfile.dockerignore"])
      await expect(readFileSync(join(folder, "builder", file), "utf8")).toMatchFileSnapshot(join(cases, name, file));
  });
});

const printed = async (cwd: string, name: CommandName, flags: readonly string[]): Promise<string> => {
  const { world, stdout } = worldAt(cwd);
  expect(await (await commands[name]()).run(flags, world)).toBe(0);
  // Which engine there is is the machine's.
  return stdout().replaceAll(/ to execute, by [^;\n]+/g, " to execute");
};
