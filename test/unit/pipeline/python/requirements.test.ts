import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { FactoryError } from "../../../../dagger/src/pipeline/common/error.js";
import type { StaticProject } from "../../../../dagger/src/pipeline/python/project.js";
import { completed, readProject, requirementsOf } from "../../../../dagger/src/pipeline/python/requirements.js";

const fixtures = fileURLToPath(new URL("../../../fixtures/python", import.meta.url));

/** Each folder is a project that a person can look at; `read.txt` beside its files says what the pipeline reads in it. */
describe("a project is read as its fixture says", () => {
  test.each(readdirSync(fixtures))("%s", async (name) => {
    const folder = join(fixtures, name);
    const texts = new Map(
      readdirSync(folder)
        .filter((file) => file !== "read.txt")
        .map((file) => [file, readFileSync(join(folder, file), "utf8")]),
    );
    const file = ["pyproject.toml", "setup.cfg", "setup.py"].find((candidate) => texts.has(candidate)) ?? "";
    await expect(told(() => readProject(`app/${file}`, texts.get(file) ?? "", texts))).toMatchFileSnapshot(
      join(folder, "read.txt"),
    );
  });
});

function told(read: () => unknown): string {
  try {
    return `${JSON.stringify(read(), null, 2)}\n`;
  } catch (error) {
    if (!(error instanceof FactoryError)) throw error;
    const problems = (error.explanation.problems ?? []).map(({ position, message, hint }) =>
      [
        `${position?.file}:${position?.line}:${position?.col}  ${message}`,
        `  ${position?.excerpt}`,
        `  ${" ".repeat((position?.col ?? 1) - 1)}^${hint === undefined ? "" : ` ${hint}`}`,
      ].join("\n"),
    );
    return `${error.code}: ${error.explanation.what}\n${problems.join("\n")}\n`;
  }
}

const project = (name: string, more: string): StaticProject => {
  const read = readProject(`${name}/pyproject.toml`, `[project]\nname = "${name}"\nversion = "1"\n${more}`);
  if (read.kind !== "static") throw new Error("the test expects a static project");
  return read;
};

describe("requirements of several projects", () => {
  test("are one sorted list; what differs stays beside each other", () => {
    const one = project("one", 'dependencies = ["pyyaml>=6", "attrs"]\nrequires-python = ">=3.11"');
    const two = project("two", 'dependencies = ["PyYAML>=6.0.1", "attrs"]\nrequires-python = ">= 3.9"');
    expect(requirementsOf([one, two])).toEqual({
      requires: ["attrs", "pyyaml>=6", "pyyaml>=6.0.1"],
      requiresPython: [">=3.11", ">=3.9"],
    });
  });

  test("a project among them is never asked of an index; its extras are followed, in circles too", () => {
    const library = project(
      "Acme.Library",
      '[project.optional-dependencies]\nfast = ["orjson>=3"]\nall = ["acme-library[fast,all]", "rich"]',
    );
    const user = project("user", 'dependencies = ["acme_library[all]>=1"]');
    expect(requirementsOf([library, user]).requires).toEqual(["orjson>=3", "rich"]);
    expect(requirementsOf([user]).requires).toEqual(["acme-library[all]>=1"]);
  });
});

describe("a dynamic project is completed by what its build backend says", () => {
  const dynamic = readProject("legacy/setup.py", "setup(install_requires=compute())");
  if (dynamic.kind !== "dynamic") throw new Error("the test expects a dynamic project");
  const metadata = {
    project: "legacy",
    name: "Image_Tags",
    version: "0.9.2",
    summary: null,
    requiresPython: ">=3.9",
    extras: ["dev", "yaml"],
    entryPoints: [{ group: "console_scripts", name: "image-tags", value: "image_tags.cli:main" }],
  };

  test("what only an extra brings is not required", () => {
    const requires = [
      "packaging<27,>=23",
      'pytest>=8; extra == "dev"',
      'pyyaml; (python_version < "3.13" or os_name == "nt") and extra == "yaml"',
      'tomli; python_version < "3.11" or extra == "dev"',
    ];
    const full = completed(dynamic, { ...metadata, requires });
    expect(full.requires).toEqual(["packaging<27,>=23", 'tomli; python_version < "3.11"']);
    expect(full.extras).toEqual([
      { name: "dev", requires: ["pytest>=8"] },
      { name: "yaml", requires: ['pyyaml; python_version < "3.13" or os_name == "nt"'] },
    ]);
    expect(full).toMatchObject({
      kind: "static",
      name: { written: "Image_Tags", normal: "image-tags" },
      version: "0.9.2",
    });
  });

  test("words that are no requirement are refused", () => {
    expect(() => completed(dynamic, { ...metadata, requires: ["packaging 23"] })).toThrow(/PROJECT_INVALID.*packaging 23/s);
  });
});
