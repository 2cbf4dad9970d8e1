import { lstatSync, readdirSync, readFileSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { apply, NoSuchEdit } from "../../../dagger/src/verification/apply-edits.js";
import { withDependency, withDescription, withSpec, writtenDependencies } from "../../../dagger/src/pipeline/verify/edits.js";
import { scratchFolder } from "../../fixtures/scratch.js";

const project = (body: string, rest = "") =>
  `# first\n[build-system]\nrequires = ["x"]\n\n[project] # the project\n${body}\n${rest}`;

describe("a description", () => {
  const edits: [string, string, string | null][] = [
    ["a word more", project('name = "a"\ndescription = "An app"'), project('name = "a"\ndescription = "An app (w)"')],
    ["none yet", project('name = "a"'), project('description = "A project (w)"\nname = "a"')],
    ["single quotes", project("description = 'An \"app\"'"), project('description = "An \\"app\\" (w)"')],
    [
      "another table's",
      project('name = "a"', '[tool.x]\ndescription = "no"\n'),
      project('description = "A project (w)"\nname = "a"', '[tool.x]\ndescription = "no"\n'),
    ],
    ["several lines", project('description = """An\napp"""'), null],
    ["no project", '[tool.x]\ndescription = "no"\n', null],
  ];
  test.each(edits)("%s", (_, text, edited) => expect(withDescription(text, "w")).toBe(edited));
});

describe("a dependency", () => {
  const text = project(
    "dependencies = [\n  \"a>=1\", # why\n  'b',\n  \"c[d]>2,<3; python_version<'4'\"\n]",
    '[tool.y]\ndependencies = ["a>=1"]\n',
  );
  test("is read as it is written", () =>
    expect(writtenDependencies(text)).toEqual(["a>=1", "b", "c[d]>2,<3; python_version<'4'"]));

  test.each([
    ["added", null, "n", ["n", "a>=1", "b", "c[d]>2,<3; python_version<'4'"]],
    ["removed, the first", "a>=1", null, ["b", "c[d]>2,<3; python_version<'4'"]],
    ["removed, with other quotes", "b", null, ["a>=1", "c[d]>2,<3; python_version<'4'"]],
    ["removed, the last", "c[d]>2,<3; python_version<'4'", null, ["a>=1", "b"]],
    ["replaced", "b", "b!=0.0.dev7", ["a>=1", "b!=0.0.dev7", "c[d]>2,<3; python_version<'4'"]],
  ] as const)("is %s, and the rest stays", (_, was, now, list) => {
    const edited = withDependency(text, was, now)!;
    expect(writtenDependencies(edited)).toEqual(list);
    expect(edited.slice(edited.indexOf("[tool.y]"))).toBe(text.slice(text.indexOf("[tool.y]")));
    expect(edited).toContain("# first\n");
  });

  test("that a build backend decides is left alone", () => {
    expect(withDependency('[project]\nname = "a"\ndynamic = ["dependencies"]\n', null, "n")).toBeNull();
    expect(withDependency("not toml", null, "n")).toBeNull();
  });
});

test("images.yaml is changed through its anchors, in one place only", () => {
  const text = "images:\n  a:\n    stages: { runtime: &r { labels: { x: '1' } } }\n  b:\n    stages: { runtime: *r }\n";
  const edited = withSpec(text, ({ images }) => (images["b"]!.stages["runtime"]!.labels!["x"] = "2"));
  expect(edited).toBe(
    'images:\n  a:\n    stages:\n      runtime:\n        labels:\n          x: "1"\n  b:\n    stages:\n      runtime:\n        labels:\n          x: "2"\n',
  );
});

describe("edits of a folder", () => {
  const { at, put } = scratchFolder();
  const look = () =>
    readdirSync(at("it"), { recursive: true, encoding: "utf8" })
      .sort()
      .map((path) => {
        const { mode, mtimeMs, uid, ino } = lstatSync(join(at("it"), path));
        const isFile = lstatSync(join(at("it"), path)).isFile();
        return [path, mode, uid, ...(isFile ? [mtimeMs, ino, readFileSync(join(at("it"), path), "utf8")] : [])].join(" ");
      });

  test("are all taken back: bytes, modes, owners, times, new folders", () => {
    put("it/a/code.py", "code\n");
    put("it/b");
    utimesSync(at("it/b"), 1_500_000_000.5, 1_500_000_000.25);
    const before = look();
    const owner = process.getuid?.() === 0 ? [{ edit: "owner", paths: ["a", "b"], uid: 4321, gid: 4321 } as const] : [];
    const undo = apply(
      at("it"),
      [
        { edit: "append", path: "a/code.py", text: "more\n" },
        { edit: "write", path: "b", text: "other" },
        { edit: "write", path: "new/deep/er", text: "new" },
        { edit: "write", path: "a/fresh", text: "new" },
        { edit: "mode", paths: ["a/code.py"], to: "executable" },
        { edit: "mode", paths: ["a", "b"], to: "private" },
        { edit: "times", paths: ["a", "a/code.py"], seconds: 1_000_000_000 },
        ...owner,
      ],
      at("aside"),
    );
    const mode = (path: string) => lstatSync(at(path)).mode & 0o777;
    expect([readFileSync(at("it/a/code.py"), "utf8"), readFileSync(at("it/b"), "utf8")]).toEqual(["code\nmore\n", "other"]);
    expect([mode("it/a/code.py"), mode("it/a"), mode("it/b")]).toEqual([0o755, 0o700, 0o600]);
    expect(lstatSync(at("it/a/code.py")).mtimeMs).toBe(1_000_000_000_000);
    expect(lstatSync(at("it/b")).uid).toBe(owner.length === 0 ? process.getuid?.() : 4321);
    undo();
    expect(look()).toEqual(before);
    expect(readdirSync(at(""))).toEqual(["it"]);
  });

  test("that cannot all be made leave nothing behind", () => {
    put("it/a");
    const before = look();
    const edits = [{ edit: "append", path: "a", text: "x" } as const, { edit: "times", paths: ["absent"], seconds: 1 } as const];
    expect(() => apply(at("it"), edits, at("aside"))).toThrow("ENOENT");
    expect(look()).toEqual(before);
  });

  test("that the file system refuses say so", () => {
    const edit = { edit: "mode", paths: ["self/limits"], to: "private" } as const;
    expect(() => apply("/proc", [edit], at("aside"))).toThrow(NoSuchEdit);
  });
});
