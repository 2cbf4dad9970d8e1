import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "yaml";
import { afterAll } from "vitest";
import { commands, type CommandName } from "../../../ci/commands/index.js";
import { FactoryError } from "../../../dagger/src/pipeline/common/error.js";
import { worldAt } from "../../fixtures/world.js";

/** A folder of the test file, removed at its end. */
export const scratch = mkdtempSync(join(tmpdir(), "factory-lock-command-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
let count = 0;
const env = (folder: string) => ({ ...process.env, FACTORY_STATE: join(folder, ".factory"), FACTORY_REMOTE: "off" });

/** A new project of these files. */
export const project = (files: Readonly<Record<string, string>>): string => {
  const folder = join(scratch, String(++count));
  mkdirSync(folder);
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  return folder;
};

/** A command as it is typed there, interrupted by a signal where one is given; an error is a result. */
export const typed = async (folder: string, name: CommandName, ...words: (string | AbortSignal)[]) => {
  const flags = words.filter((word) => typeof word === "string");
  const signal = words.find((word) => typeof word !== "string");
  const { world: usual, stdout, stderr } = worldAt(folder, env(folder));
  const world = signal === undefined ? usual : { ...usual, signal };
  const code = await (await commands[name]()).run(flags, world).catch((error: unknown) => {
    if (error instanceof FactoryError) return error;
    throw error;
  });
  return { code: code instanceof FactoryError ? code.exitCode : code, error: code, stdout: stdout(), stderr: stderr() };
};
export const lockOf = (folder: string) => parse(readFileSync(join(folder, "images.lock"), "utf8"));

const digest = `sha256:${"b".repeat(64)}`;
/** images.yaml of one image. */
export const images = (
  stages: string,
  tools = "",
  base = `{ image: "registry.example/base@${digest}", packages: apt }`,
): string =>
  `registry: registry.example/team
images:
  box:
    repository: box
    platforms: [linux/amd64]
    base: ${base}
    stages: { base-tools: ${stages}, dependencies: {}, application: {}, runtime: {} }
${tools}`;
export const pyproject = (...requires: string[]): string =>
  `[project]\nname = "app"\nversion = "1"\ndependencies = ${JSON.stringify(requires)}\n`;
