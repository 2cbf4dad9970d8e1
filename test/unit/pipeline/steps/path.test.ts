import { expect, test } from "vitest";
import { renderStage } from "../../../../dagger/src/pipeline/render/dockerfile.js";
import { imageConfig } from "../../../../dagger/src/pipeline/oci/image-config.js";
import { parseSpec } from "../../../../dagger/src/pipeline/config/parse.js";
import { planImage } from "../../../../dagger/src/pipeline/plan/plan.js";
import type { StageName } from "../../../../dagger/src/pipeline/common/stage.js";

/** An images.yaml with these stages, and the place of the first character of a stage's value. */
const textOf = (stages: Partial<Record<StageName, string>>): string =>
  [
    "registry: r.example/team",
    "images:",
    "  box:",
    "    repository: box",
    "    platforms: [linux/amd64]",
    "    base: { bootstrap: debian, suite: bookworm, packages: apt }",
    "    stages:",
    ...(["base-tools", "dependencies", "application", "runtime"] as const).map(
      (name) => `      ${name}: ${stages[name] ?? "{}"}`,
    ),
  ].join("\n");

const planOf = (stages: Partial<Record<StageName, string>>) => {
  const { value, problems } = parseSpec(textOf(stages));
  if (value === null) throw new Error(problems.map(({ message }) => message).join("\n"));
  const texts = new Map([["app/pyproject.toml", '[project]\nname = "app"\nversion = "1"\n']]);
  const lock = { format: 1 as const, bases: {}, tools: {}, images: {} };
  return planImage({ spec: value, image: "box", platform: "linux/amd64", snapshot: { entries: [], texts }, lock, buildArgs: {} });
};

/** The environment of the image, all stages assembled on a base with this one. */
const envOf = (stages: Partial<Record<StageName, string>>, env: readonly string[]): readonly string[] => {
  const base = { architecture: "amd64", os: "linux", config: { Env: env }, rootfs: { type: "layers", diff_ids: [] } };
  const steps = planOf(stages).stages.map(({ ingredients }) => ingredients.steps.map(({ step }) => step));
  const parts = steps.map((some) => ({ steps: some, layer: null, createdBy: "" }));
  return imageConfig(base, parts, 0).config!.Env!;
};

const python = "python: [app/pyproject.toml]";
const venv = `{ ${python} }`;
const usual = "PATH=/usr/bin:/bin";

test.each<[string, Partial<Record<StageName, string>>, readonly string[], readonly string[]]>([
  ["folders go in front, in their order", { runtime: "{ path: [/b, /a] }" }, [usual], ["PATH=/b:/a:/usr/bin:/bin"]],
  [
    "a later stage goes in front of an earlier one",
    { application: "{ path: [/a] }", runtime: "{ path: [/b] }" },
    [usual],
    ["PATH=/b:/a:/usr/bin:/bin"],
  ],
  ["PATH keeps its place", { runtime: "{ path: [/a] }" }, ["A=1", usual, "Z=2"], ["A=1", "PATH=/a:/usr/bin:/bin", "Z=2"]],
  [
    "a base without PATH has the usual one",
    { runtime: "{ path: [/a] }" },
    [],
    ["PATH=/a:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
  ],
  ["a stage's own PATH counts first", { runtime: '{ path: [/a], env: { PATH: "/x:/y" } }' }, [usual], ["PATH=/a:/x:/y"]],
  ["a venv is there by itself", { dependencies: venv }, [usual], ["PATH=/opt/venv/bin:/usr/bin:/bin"]],
  [
    "behind what the stage names",
    { dependencies: `{ ${python}, path: [/a] }` },
    [usual],
    ["PATH=/a:/opt/venv/bin:/usr/bin:/bin"],
  ],
  [
    "once, where the stage names it",
    { dependencies: `{ ${python}, path: [/opt/venv/bin, /a] }` },
    [usual],
    ["PATH=/opt/venv/bin:/a:/usr/bin:/bin"],
  ],
  [
    "once, where the stage's PATH names it",
    { dependencies: `{ ${python}, env: { PATH: "/x:/opt/venv/bin" } }` },
    [usual],
    ["PATH=/x:/opt/venv/bin"],
  ],
  ["a later PATH replaces all", { dependencies: venv, runtime: "{ env: { PATH: /x } }" }, [usual], ["PATH=/x"]],
  ["$$ is one $", { runtime: '{ env: { PRICE: "5$$", BOTH: "$$$$" } }' }, [usual], [usual, "BOTH=$$", "PRICE=5$"]],
])("%s", (_, stages, env, expected) => {
  expect(envOf(stages, env)).toEqual(expected);
});

test("a Dockerfile takes PATH from below, and every other $ as it is", () => {
  const lines = renderStage(
    planOf({ runtime: '{ path: [/a, "/b c"], env: { PRICE: "5$$ $${", Q: "\\"" }, workdir: /w$$x }' }),
    "runtime",
  );
  expect(lines).toContain('ENV PATH="/a:/b c:$PATH"\n');
  expect(lines).toContain('ENV PRICE="5\\$ \\${"\n');
  expect(lines).toContain("WORKDIR /w\\$x\n");
});

test.each<[StageName, string, string, string]>([
  ["runtime", '{ env: { PATH: "/opt/venv/bin:$PATH" } }', '"', "path: [/opt/venv/bin]"],
  ["runtime", '{ env: { PATH: "/a:/b:${PATH}" } }', '"', "path: [/a, /b]"],
  ["runtime", '{ env: { PATH: "$PATH:/a" } }', '"', "$$ for a literal $"],
  ["runtime", '{ env: { PATH: "$HOME/bin:$PATH" } }', '"', "$$ for a literal $"],
  ["base-tools", '{ env: { HOME_OF_IT: "${HOME}" } }', '"', "$$ for a literal $"],
  ["runtime", '{ env: { PRICE: "$" } }', '"', "$$ for a literal $"],
  ["runtime", '{ env: { PRICE: "$$$" } }', '"', "$$ for a literal $"],
  ["runtime", '{ labels: { version: "${VERSION}" } }', '"', "$$ for a literal $"],
  ["runtime", '{ labels: { "of $USER": "1" } }', '"', "$$ for a literal $"],
  ["application", "{ workdir: /home/$USER }", "/", "$$ for a literal $"],
  ["application", "{ to: /opt/$APP, copy: [app] }", "/", "$$ for a literal $"],
  ["application", '{ copy: [{ path: app, to: "/opt/$APP" }] }', '"', "$$ for a literal $"],
  ["application", "{ directories: [{ path: /srv/$APP }] }", "/", "$$ for a literal $"],
  ["application", '{ files: { "/etc/$APP": "x" } }', '"', "$$ for a literal $"],
  ["runtime", "{ user: { name: me, uid: 7, home: /home/$USER } }", "/", "$$ for a literal $"],
  ["runtime", '{ path: ["$HOME/bin"] }', '"', "absolute path"],
  ["runtime", '{ path: ["/a:/b"] }', '"', "absolute path"],
  ["runtime", "{ path: [bin] }", "bin]", "absolute path"],
  ["dependencies", "{ python: { venv: /opt/$V, projects: [a/pyproject.toml] } }", "/", "absolute path"],
  ["runtime", '{ labels: { "a=b": "1" } }', '"', "without ="],
])("%s: %s is refused with its place", (stage, value, at, hint) => {
  const { problems } = parseSpec(textOf({ [stage]: value }));
  expect(problems).toHaveLength(1);
  const [{ position, message }] = problems as [(typeof problems)[0]];
  const [line, col] = [position!.excerpt, position!.col];
  expect(line).toBe(`      ${stage}: ${value}`);
  expect(line.slice(col - 1)).toMatch(new RegExp(`^${at.replace(/[[\]]/g, "\\$&")}`));
  expect(message).toContain(hint);
});

test("an image has one venv", () => {
  const { problems } = parseSpec(textOf({ "base-tools": venv, runtime: venv }));
  expect(problems).toMatchObject([{ message: expect.stringContaining("base-tools has one already"), position: { line: 11 } }]);
});

test.each<[string, string, string]>([
  ["$ in the URL of a tool", "https://x.example/$VERSION/{arch}", "%24"],
  ["a quote in it", "https://x.example/it's", "%27"],
])("%s is refused: a Dockerfile reads it otherwise", (_, url, hint) => {
  const { problems } = parseSpec(`${textOf({})}\ntools:\n  hello: { version: "1", download: { url: ${JSON.stringify(url)} } }`);
  expect(problems).toMatchObject([{ message: expect.stringContaining(hint), position: { line: 13 } }]);
});

test("$ in the reference of a base is refused", () => {
  const base = `{ image: "docker.io/library/$BASE@sha256:${"0".repeat(64)}", packages: apt }`;
  const { problems } = parseSpec(textOf({}).replace(/\{ bootstrap: .*/, base));
  expect(problems).toMatchObject([{ message: expect.stringContaining("expected an image reference"), position: { line: 6 } }]);
});

const withEpoch = (epoch: string) => parseSpec(`${textOf({})}\nepoch: ${epoch}`);

test.each(["1970-01-01T00:00:00Z", "1980-01-02T00:00:00Z", "2106-02-07T06:28:15Z"])("the epoch %s is one", (epoch) => {
  expect(withEpoch(epoch).problems).toEqual([]);
});

test.each([
  "1969-12-31T23:59:59Z",
  "0001-01-01T00:00:00Z",
  "2106-02-07T06:28:16Z",
  "9999-12-31T23:59:59Z",
  "1980-01-02T00:00:00.5Z",
])("the epoch %s is refused with its place", (epoch) => {
  expect(withEpoch(epoch).problems).toMatchObject([
    { position: { line: 12, col: 8 }, message: expect.stringContaining("from 1970-01-01T00:00:00Z to 2106-02-07T06:28:15Z") },
  ]);
});
