import { describe, expect, test } from "vitest";
import type { ParentIndex } from "../../../../dagger/src/pipeline/contents/parent-index.js";
import type { Entry } from "../../../../dagger/src/pipeline/context/snapshot.js";
import { assembleLayer, describeLayer, layerKeyOf } from "../../../../dagger/src/pipeline/layer/plan-layer.js";
import type { Step } from "../../../../dagger/src/pipeline/steps/step.js";
import { assemble, base, copy, entry, lines, make, sizes, text, user, workdir } from "./layer-base.js";

describe("a copy", () => {
  const app: Entry[] = [
    { kind: "directory", path: "app" },
    entry("app/a b\n.txt"),
    { kind: "directory", path: "app/empty" },
    { kind: "symlink", path: "app/link", target: "a b\n.txt" },
    entry("app/run", true),
  ];

  test("goes where a link below leads, with an entry for each absent directory and none for one that is there", () => {
    expect(lines(assemble(copy(app, "/opt/x/app")).entries)).toEqual([
      "directory 755 0:0 /var/opt/x",
      "directory 755 0:0 /var/opt/x/app",
      "file 644 0:0 /var/opt/x/app/a b\n.txt",
      "directory 755 0:0 /var/opt/x/app/empty",
      "symlink 777 0:0 /var/opt/x/app/link -> a b\n.txt",
      "file 755 0:0 /var/opt/x/app/run",
    ]);
  });

  test("leaves the mode of /tmp, /root and / alone, and /bin a link", () => {
    const tree: Entry[] = [
      { kind: "directory", path: "app" },
      { kind: "directory", path: "app/bin" },
      entry("app/bin/tool", true),
      { kind: "directory", path: "app/root" },
      entry("app/root/x"),
      { kind: "directory", path: "app/tmp" },
      entry("app/tmp/y"),
    ];
    expect(lines(assemble(copy(tree, "/")).entries)).toEqual([
      "file 644 0:0 /root/x",
      "file 644 0:0 /tmp/y",
      "file 755 0:0 /usr/bin/tool",
    ]);
  });

  test("gives its owner to what it makes, the directories that lead there too", () => {
    expect(lines(assemble(copy([entry("app")], "/srv/deep/app", "app", "1001:0")).entries)).toEqual([
      "directory 755 1001:0 /srv",
      "directory 755 1001:0 /srv/deep",
      "file 644 1001:0 /srv/deep/app",
    ]);
  });

  test("the whole context, and a folder without an entry of its own", () => {
    expect(lines(assemble(copy([entry("x"), entry("y/z")], "/srv", ".")).entries)).toEqual([
      "directory 755 0:0 /srv",
      "file 644 0:0 /srv/x",
      "directory 755 0:0 /srv/y",
      "file 644 0:0 /srv/y/z",
    ]);
  });

  test("replaces a file by a file", () => {
    expect(lines(assemble(copy([entry("app")], "/usr/bin/ping")).entries)).toEqual(["file 644 0:0 /usr/bin/ping"]);
  });

  test.each<[string, Step, string]>([
    ["a file over a directory", copy([entry("app")], "/home"), "/home would become a file"],
    ["a directory over a file", copy(app, "/usr/bin/ping"), "/usr/bin/ping is a file"],
    ["a directory of a tree over a file", copy([{ kind: "directory", path: "app/ping" }], "/usr/bin"), "/usr/bin/ping is a file"],
    ["a file over a link", copy([entry("app")], "/etc/os-release"), "a symbolic link to ../usr/lib/os-release"],
    ["a file over a link to a directory", copy([entry("app")], "/bin"), "a symbolic link to usr/bin"],
    [
      "a link over a file",
      copy([{ kind: "symlink", path: "app/ping", target: "x" }], "/usr/bin"),
      "would become a symbolic link",
    ],
    ["a link over a directory", copy([{ kind: "symlink", path: "app/tmp", target: "x" }], "/"), "below it is a directory"],
    ["below a file", copy([entry("app")], "/usr/bin/ping/x"), "/usr/bin/ping is a file"],
    ["through a dangling link", copy([entry("app")], "/dangling/x"), "which leads to nothing"],
    ["through a loop", copy([entry("app")], "/loop/x"), "leads to itself"],
    ["a whiteout", copy([entry("app/.wh.x")], "/srv"), "deletes another file"],
    ["below a whiteout", copy([entry("app")], "/srv/.wh.a/x"), "deletes another file"],
    ["a link itself", copy([{ kind: "symlink", path: "app", target: "x" }], "/srv/x"), "cannot copy app"],
  ])("%s is refused", (_name, step, words) => {
    expect(() => assemble(step)).toThrow(words);
    expect(() => assemble(step)).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
  });

  test("a hundred thousand files", () => {
    const many = Array.from({ length: 100_000 }, (_, at) => entry(`app/${at % 100}/${at}`));
    expect(assemble(copy(many, "/opt/many")).entries).toHaveLength(100_000 + 101);
  });
});

describe("files and directories", () => {
  test("a file keeps its mode and owner; absent parents are root's", () => {
    expect(lines(assemble(text("/opt/a/b", "4750", "7:8")).entries)).toEqual([
      "directory 755 0:0 /var/opt/a",
      "file 4750 7:8 /var/opt/a/b",
    ]);
  });

  test("a file of the context needs its size", () => {
    const from = (path: string): Step => ({
      do: "file",
      path: "/x",
      owner: "0:0",
      mode: "644",
      source: { from: path, sha256: "s" },
    });
    expect(assemble(from("in/file")).entries).toEqual([
      { path: "/x", mode: "644", uid: 0, gid: 0, type: "file", size: 3, sha256: "s", content: { from: "in/file" } },
    ]);
    expect(() => assemble(from("in/none"))).toThrow(expect.objectContaining({ code: "INPUT_MISSING" }));
  });

  test("a directory that is there gets mode and owner, through a link too, and no entry where nothing differs", () => {
    expect(lines(assemble(make("/root", "700")).entries)).toEqual(["directory 700 0:0 /root"]);
    expect(lines(assemble(make("/opt", "775", "1:2")).entries)).toEqual(["directory 775 1:2 /var/opt"]);
    expect(assemble(make("/home")).entries).toEqual([]);
    expect(lines(assemble(make("/", "700")).entries)).toEqual(["directory 700 0:0 /"]);
  });

  test("the setgid bit stays and is inherited, the sticky bit goes, as install and mkdir have it", () => {
    expect(lines(assemble(make("/tmp", "755")).entries)).toEqual(["directory 755 0:0 /tmp"]);
    expect(lines(assemble(make("/shared", "700")).entries)).toEqual(["directory 2700 0:0 /shared"]);
    expect(lines(assemble(make("/shared/a/b", "700", "1:2")).entries)).toEqual([
      "directory 2755 0:50 /shared/a",
      "directory 2700 1:2 /shared/a/b",
    ]);
  });

  test("a working directory is made where it is absent, and only there", () => {
    expect(lines(assemble(workdir("/work/x")).entries)).toEqual(["directory 755 0:0 /work", "directory 755 0:0 /work/x"]);
    expect(assemble(workdir("/tmp")).entries).toEqual([]);
  });

  test.each<[string, Step]>([
    ["a directory over a file", make("/usr/bin/ping")],
    ["a directory over a link to a file", make("/etc/os-release")],
    ["a directory over a dangling link", make("/dangling")],
    ["a file over a directory", text("/tmp")],
    ["a working directory that is a file", workdir("/etc/passwd")],
  ])("%s is refused", (_name, step) => {
    expect(() => assemble(step)).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
  });
});

test("the next stage is built on what this one left", () => {
  const { next } = assemble(copy([{ kind: "directory", path: "app" }, entry("app/x")], "/opt/app"), make("/root", "700"));
  expect(assembleLayer([text("/opt/app/y")], next, sizes).entries.map(({ path }) => path)).toEqual(["/var/opt/app/y"]);
  expect(() => assembleLayer([make("/opt/app/x")], next, sizes)).toThrow("/var/opt/app/x is a file");
  expect(assembleLayer([make("/root", "700")], next, sizes).entries).toEqual([]);
});

test("the layer key moves with what is written, and not with the rest of the base", () => {
  const key = (below: ParentIndex, epoch = 1) =>
    layerKeyOf(assembleLayer([text("/opt/x")], below, sizes).entries, epoch, "zstd", "encoder");
  const other = { ...base, directories: [...base.directories, ["/zzz", "755", 0, 0, ""] as const] };
  const elsewhere = { ...base, symlinks: base.symlinks.map(([path, to]) => [path, path === "/opt" ? "/usr" : to] as const) };
  expect(key(other)).toBe(key(base));
  expect(key(elsewhere)).not.toBe(key(base));
  expect(key(base, 2)).not.toBe(key(base));
});

test("a layer in words", () => {
  expect(
    describeLayer("runtime", [user(), make("/work"), workdir("/work"), text("/a"), text("/b"), text("/c"), text("/d")]),
  ).toBe("image-factory runtime: user me, directory /work, workdir /work, 4 files");
});
