import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { pictureOf } from "./picture.js";

/**
 * Runs the commands whose output docs quotes, in a clone of this checkout, and writes what they print between the marks
 * `<!-- output: NAME -->` and `<!-- end -->`. It draws docs/plan.svg of a real plan, too. Needs an engine.
 */
const here = fileURLToPath(new URL(".", import.meta.url));
const root = join(here, "..");
const clone = mkdtempSync(join(tmpdir(), "image-factory-docs-"));
const env = { FACTORY_SCOPE: "protected", NO_COLOR: "1", FACTORY_TYPED: "", FACTORY_VARIABLES: "" };

/** What a command prints, as a person sees it. */
const typed = async (...words: readonly string[]): Promise<string> => {
  const { all, stdout } = await execa("./task", [...words], { cwd: clone, env, all: true, reject: false });
  const shown = [
    `$ ./task ${words.map((word) => (word.includes(" ") ? `"${word}"` : word)).join(" ")}`,
    ...(words[0] === "verify:cache" ? stdout : all).split("\n"),
  ];
  return shown
    .filter((line) => !/^(?:npm warn|installing npm|note: the registry gives no answer|task: Failed to run task)/.test(line))
    .join("\n");
};

const edit = (path: string, was: string | RegExp, now: string): void => {
  const text = readFileSync(join(clone, path), "utf8");
  const changed = text.replace(was, now);
  if (changed === text) throw new Error(`${path} holds no ${String(was)}`);
  writeFileSync(join(clone, path), changed);
};

const image = "IMAGE=builder-debian";
const application = "examples/image-factory/app";
const outputs: Record<string, string> = {};
try {
  await execa("git", ["clone", "--quiet", root, clone]);
  await execa("./task", ["build", image, "OUTPUT=docker:image.tar"], { cwd: clone, env, stderr: "inherit" });
  outputs["build"] = await typed("build", image);
  outputs["verify"] = await typed("verify:cache", image, "--", "--fast");
  outputs["test-image"] = await typed("test:image", image);
  outputs["compare"] = await typed("compare", "--", "stage:builder-debian/runtime", "docker:image.tar");
  outputs["report"] = await typed("report", image);
  rmSync(join(clone, "image.tar"));
  edit(`${application}/src/image_factory_app/cli.py`, /$/, "\n# A comment more.\n");
  outputs["code-change"] = await typed("plan", image, "REMOTE=off");
  edit(`${application}/pyproject.toml`, "dependencies = [", 'dependencies = ["requests>=2.32", ');
  outputs["plan"] = await typed("plan", image, "REMOTE=off");
  edit("images.yaml", "packages: apt", 'packages: apt\n      modules: ["nodejs:22"]');
  outputs["problem"] = await typed("plan", image);
} finally {
  rmSync(clone, { recursive: true, force: true });
}

writeFileSync(join(here, "plan.svg"), pictureOf(outputs["code-change"]!));
for (const name of readdirSync(here).filter((one) => one.endsWith(".md"))) {
  const text = readFileSync(join(here, name), "utf8");
  const filled = text.replaceAll(/<!-- output: ([\w-]+) -->\n(?:[^]*?<!-- end -->\n)?/g, (_, key: string) => {
    const output = outputs[key];
    if (output === undefined) throw new Error(`${name} quotes ${key}, which nothing prints`);
    return `<!-- output: ${key} -->\n\n${output.trimEnd().replaceAll(/^(?=.)/gm, "    ")}\n\n<!-- end -->\n`;
  });
  writeFileSync(join(here, name), filled);
}
