import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { renderDockerfile, renderStage } from "../../../../dagger/src/pipeline/render/dockerfile.js";
import { renderDockerignore } from "../../../../dagger/src/pipeline/render/render-dockerignore.js";
import { labelled, labelsOf } from "../../../../dagger/src/pipeline/render/step-labels.js";
import { compileIgnore, readIgnoreLines, selectPaths } from "../../../../dagger/src/pipeline/context/dockerignore.js";
import { type Instruction, readDockerfile, shellTextOf } from "../../../fixtures/dockerfile-lines.js";
import { planOf, type PlanWorld, type StageText, worlds } from "../../../fixtures/spec-world.js";
import { tree } from "../../../fixtures/tree.js";

const cases = fileURLToPath(new URL("../../../fixtures/cases/", import.meta.url));

/** A world whose base-tools stage has only these steps. */
const only = (generated: PlanWorld, stage: StageText): PlanWorld => {
  const world = structuredClone(generated);
  world.spec.images["it"]!.stages["base-tools"] = stage;
  return world;
};
const runsOf = (world: PlanWorld): Instruction[] =>
  readDockerfile(renderStage(planOf(world), "base-tools")).filter(({ word }) => word === "RUN");

describe("a rendered Dockerfile", () => {
  test.each(readdirSync(cases))("of the case %s is made of instructions", (name) => {
    expect(readDockerfile(readFileSync(`${cases}${name}/Dockerfile`, "utf8")).length).toBeGreaterThan(4);
  });

  test("is made of instructions, whatever images.yaml says", () => {
    fc.assert(
      fc.property(worlds, (world) => {
        expect(readDockerfile(renderDockerfile([planOf(world)])).length).toBeGreaterThan(4);
      }),
    );
  });
});

describe("a command reaches the shell as it is written", () => {
  const line = fc.oneof(
    fc.constantFrom(
      "# a comment",
      "echo a # behind it",
      "for x in a b; do",
      "case $x in",
      "one \\",
      "  two",
      "",
      "cat <<END",
      "END",
      "\"quoted\" 'so'",
    ),
    fc.string({ maxLength: 12 }).filter((text) => !/[\r\n]/.test(text)),
  );
  const command = fc.array(line, { minLength: 1, maxLength: 5 }).map((lines) => lines.join("\n").trimEnd());

  test("of one line or many", () => {
    fc.assert(
      fc.property(worlds, command, (generated, text) => {
        fc.pre(text !== "");
        const [run, ...rest] = runsOf(only(generated, { run: [{ command: text }] }));
        expect(rest).toEqual([]);
        expect(shellTextOf(run!).endsWith(`${text}`)).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  test.each(["make install", "if true\nthen make\nfi\n"])("and is shown by its name: %j", (text) => {
    const [world] = fc.sample(worlds, 1);
    const plan = planOf(only(world!, { run: [{ command: text, name: "the team's tools" }] }));
    const run = readDockerfile(renderStage(plan, "base-tools")).find(({ word }) => word === "RUN");
    // BuildKit names a step by its words, the exec form's without brackets and quotes.
    expect(labelled(`RUN --mount=x ${shellTextOf(run!)}`, labelsOf(plan.stages[0]!))).toBe("run the team's tools");
  });
});

describe("a file's text reaches the image as it is written", () => {
  /** What a POSIX shell writes for the `printf` commands of writeFile: quoted words, and nothing else. */
  const written = (shell: string): string => {
    const [, body = ""] = /install -D [^;]*; ?(.*)$/s.exec(shell) ?? [];
    const formats = [
      ...body.matchAll(/printf (?:'(%s\\n)'|(%s)) ((?:'[^']*'|\\'|[^\s';{}>])+(?:\s+(?:'[^']*'|\\'|[^\s';{}>])+)*)/g),
    ];
    const unquoted = (word: string) =>
      word.replaceAll(/'([^']*)'|\\'/g, (all, inner: string | undefined) => (all === "\\'" ? "'" : (inner ?? "")));
    return formats
      .map(([, lines, , list = ""]) => {
        const found = [...list.matchAll(/(?:'[^']*'|\\'|[^\s'])+/g)].map(([word]) => unquoted(word));
        return found.map((word) => (lines === undefined ? word : `${word}\n`)).join("");
      })
      .join("");
  };

  test("with and without a line feed at its end", () => {
    const text = fc
      .array(fc.constantFrom("a", "", "# b", "it's", "$HOME \\", '"x"', "%s"), { maxLength: 4 })
      .map((lines) => lines.join("\n"));
    fc.assert(
      fc.property(worlds, text, (generated, content) => {
        const [run] = runsOf(only(generated, { files: { "/etc/x": { content } } }));
        expect(written(shellTextOf(run!))).toBe(content);
      }),
      { numRuns: 300 },
    );
  });
});

describe("the rendered ignore file", () => {
  const name = fc.constantFrom("a", "b", "x.md", "!c", "c d", "#e", "README.md");
  const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((parts) => parts.join("/"));
  const line = fc.constantFrom("**/*.md", "!**/README.md", "b", "a/b", "!a/b", "**/a", "*", "!b");
  /** Files that can stand beside each other, and some of them or of the folders above them as what an image reads. */
  const contexts = fc.array(path, { minLength: 1, maxLength: 12 }).chain((paths) => {
    const found = tree(paths.filter((one) => !paths.some((other) => other.startsWith(`${one}/`))));
    return fc.record({ found: fc.constant(found), roots: fc.subarray([".", ...found.map((one) => one.path)], { minLength: 1 }) });
  });

  test("sends of the image's files what is hashed", () => {
    fc.assert(
      fc.property(contexts, fc.array(line, { maxLength: 4 }), ({ found, roots }, ignore) => {
        const sent = (lines: readonly string[], root: string) =>
          selectPaths(found, compileIgnore(lines)).filter(
            (one) => root === "." || one.path === root || one.path.startsWith(`${root}/`),
          );
        // A root that is left out is refused before anything is rendered.
        fc.pre(roots.every((root) => sent(ignore, root).length > 0));
        const rendered = readIgnoreLines(renderDockerignore(roots, ignore));
        for (const root of roots) expect(sent(rendered, root)).toEqual(sent(ignore, root));
      }),
      { numRuns: 500 },
    );
  });
});
