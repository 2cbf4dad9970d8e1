import * as fc from "fast-check";
import { pack } from "tar-stream";
import { describe, expect, test } from "vitest";
import { parentIndexOf } from "../../../../dagger/src/pipeline/contents/parent-index.js";
import { installedPackages } from "../../../../dagger/src/pipeline/contents/dpkg-status.js";
import type { FileIndex } from "../../../../dagger/src/pipeline/contents/file-entry.js";
import { IndexFold } from "../../../../dagger/src/pipeline/contents/fold-layers.js";

type Item = {
  name: string;
  type?: string;
  linkname?: string;
  mode?: number;
  uid?: number;
  gid?: number;
  text?: string;
  pax?: Record<string, string>;
};

const tarOf = async (items: readonly Item[]): Promise<Buffer> => {
  const archive = pack();
  for (const { text = "", type = "file", mode = type === "directory" ? 0o755 : 0o644, ...rest } of items) {
    archive.entry({ ...rest, type, mode, mtime: new Date(0) } as Parameters<typeof archive.entry>[0], text);
  }
  archive.finalize();
  const parts: Buffer[] = [];
  for await (const part of archive as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts);
};

const fold = (below: FileIndex | null, layers: readonly Uint8Array[], piece = 1 << 16): FileIndex => {
  const index = new IndexFold(below);
  for (const layer of layers) {
    index.start();
    for (let at = 0; at < layer.length; at += piece) index.push(layer.subarray(at, at + piece));
    index.end();
  }
  return index.index();
};

const paths = (index: FileIndex) => index.entries.map(({ path }) => path);
const folder = (name: string): Item => ({ name, type: "directory" });

describe("a fold of layers", () => {
  test("tells type, mode, owner, size, hash and link target of every path", async () => {
    const index = fold(null, [
      await tarOf([
        { name: "./", type: "directory", mode: 0o755 },
        { name: "tmp/", type: "directory", mode: 0o1777 },
        { name: "usr/bin/x", text: "hello", mode: 0o4755, uid: 7, gid: 8 },
        { name: "bin", type: "symlink", linkname: "usr/bin" },
        { name: "usr/bin/y", type: "link", linkname: "usr/bin/x" },
        { name: "dev/null", type: "character-device" },
      ]),
    ]);
    const sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    expect(index.entries).toEqual([
      { path: "/", type: "directory", mode: "755", uid: 0, gid: 0 },
      { path: "/bin", type: "symlink", mode: "777", uid: 0, gid: 0, target: "usr/bin" },
      { path: "/dev", type: "directory", mode: "755", uid: 0, gid: 0 },
      { path: "/dev/null", type: "character", mode: "644", uid: 0, gid: 0 },
      { path: "/tmp", type: "directory", mode: "1777", uid: 0, gid: 0 },
      { path: "/usr", type: "directory", mode: "755", uid: 0, gid: 0 },
      { path: "/usr/bin", type: "directory", mode: "755", uid: 0, gid: 0 },
      { path: "/usr/bin/x", type: "file", mode: "4755", uid: 7, gid: 8, size: 5, sha256 },
      { path: "/usr/bin/y", type: "file", mode: "4755", uid: 7, gid: 8, size: 5, sha256, hardlink: "/usr/bin/x" },
    ]);
  });

  test("takes away what a whiteout names, below it and no other", async () => {
    const first = await tarOf([folder("a/"), { name: "a/one" }, { name: "a/two" }, { name: "ab" }]);
    const second = await tarOf([{ name: "a/.wh.one" }, { name: ".wh.ab" }, { name: "a/three" }]);
    expect(paths(fold(null, [first, second]))).toEqual(["/", "/a", "/a/three", "/a/two"]);
  });

  test("empties an opaque directory of the layers below, wherever the marker stands in its layer", async () => {
    const first = await tarOf([folder("a/"), { name: "a/old" }, folder("a/deep/"), { name: "a/deep/old" }]);
    const marker = { name: "a/.wh..wh..opq" };
    const own = [folder("a/"), { name: "a/new" }];
    const wanted = ["/", "/a", "/a/new"];
    expect(paths(fold(null, [first, await tarOf([...own, marker])]))).toEqual(wanted);
    expect(paths(fold(null, [first, await tarOf([folder("a/"), marker, { name: "a/new" }])]))).toEqual(wanted);
  });

  test("a directory over a directory keeps what it holds; a file over it does not, nor over a link", async () => {
    const first = await tarOf([
      folder("a/"),
      { name: "a/x" },
      folder("b/"),
      { name: "b/x" },
      { name: "l", type: "symlink", linkname: "a" },
    ]);
    const second = await tarOf([{ name: "a/", type: "directory", mode: 0o700 }, { name: "b", text: "file" }, folder("l/")]);
    const index = fold(null, [first, second]);
    expect(paths(index)).toEqual(["/", "/a", "/a/x", "/b", "/l"]);
    expect(index.entries.map(({ type, mode }) => `${type} ${mode}`)).toEqual([
      "directory 755",
      "directory 700",
      "file 644",
      "file 644",
      "directory 755",
    ]);
  });

  test("follows links below as an extracting runtime does, and never leaves the root", async () => {
    const first = await tarOf([folder("var/opt/"), { name: "opt", type: "symlink", linkname: "var/opt" }]);
    const out = { name: "out", type: "symlink", linkname: "../../../etc" };
    const second = await tarOf([{ name: "opt/app/x" }, out, { name: "out/passwd", text: "root:x:0:0::/:/bin/sh\n" }]);
    expect(paths(fold(null, [first, second]))).toContain("/var/opt/app/x");
    expect(paths(fold(null, [first, second]))).toContain("/etc/passwd");
  });

  test("reads PAX: long and odd names, large ids, file capabilities", async () => {
    const long = `${"ä b\n".repeat(60)}end`;
    const index = fold(null, [
      await tarOf([
        { name: long, pax: { uid: "3000000" } },
        { name: "ping", pax: { "SCHILY.xattr.security.capability": "cap" } },
      ]),
    ]);
    expect(index.entries[2]).toMatchObject({ path: `/${long}`, uid: 3_000_000 });
    expect(index.entries[1]).toMatchObject({ path: "/ping", xattrs: { "security.capability": "Y2Fw" } });
  });

  test("keeps account files and the packages of dpkg, as the last layer left them", async () => {
    const status = (version: string) =>
      `Package: jq\nStatus: install ok installed\nArchitecture: amd64\nVersion: ${version}\nDescription: a\n Version: no\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n`;
    const first = await tarOf([
      { name: "etc/passwd", text: "a\n" },
      { name: "var/lib/dpkg/status", text: status("1") },
    ]);
    const below = fold(null, [first]);
    expect(below).toMatchObject({ accounts: { "/etc/passwd": "a\n" }, packages: { manager: "dpkg", installed: ["jq=1"] } });
    const second = await tarOf([{ name: "etc/group", text: "b\n" }]);
    expect(fold(below, [second])).toMatchObject({
      accounts: { "/etc/passwd": "a\n", "/etc/group": "b\n" },
      packages: { installed: ["jq=1"] },
    });
    const third = await tarOf([{ name: "var/lib/dpkg/status", text: status("2") }, { name: "etc/.wh.passwd" }]);
    const after = fold(below, [third]);
    expect(after.packages).toEqual({ manager: "dpkg", installed: ["jq=2"] });
    expect(after.accounts).toEqual({});
  });

  test("says of an rpm database that it is there, and what it cannot say", async () => {
    const index = fold(null, [await tarOf([{ name: "var/lib/rpm/rpmdb.sqlite", text: "x" }])]);
    expect(index.packages).toEqual({ manager: "rpm", database: "/var/lib/rpm/rpmdb.sqlite", installed: null });
  });

  test.each([
    ["cut off", (tar: Buffer) => tar.subarray(0, 700), "cut off"],
    ["damaged", (tar: Buffer) => Buffer.concat([Buffer.from("x"), tar.subarray(1)]), "checksum"],
  ])("a %s tar is an error", async (_name, damage, words) => {
    const tar = await tarOf([{ name: "a", text: "b".repeat(600) }]);
    expect(() => fold(null, [damage(tar)])).toThrow(words);
  });

  test("holds a million paths, folders on the way among them, and no more", async () => {
    const deep = "/d".repeat(2000);
    const layer = await tarOf(Array.from({ length: 501 }, (_, at) => ({ name: `${at}${deep}` })));
    expect(() => fold(null, [layer])).toThrow("more than 1000000 paths");
  });

  test("law: pieces of any size and a fold in two parts give the same index", async () => {
    const layers = [
      await tarOf([folder("a/"), { name: "a/x", text: "1".repeat(1500) }, { name: "etc/passwd", text: "root\n" }]),
      await tarOf([{ name: `${"n".repeat(150)}/y`, text: "2" }, { name: "a/.wh.x" }]),
      await tarOf([
        { name: "a", type: "symlink", linkname: "b" },
        { name: "etc/passwd", text: "root\nme\n" },
      ]),
    ];
    const whole = fold(null, layers);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2000 }), fc.integer({ min: 0, max: 3 }), (piece, cut) => {
        const below = JSON.parse(JSON.stringify(fold(null, layers.slice(0, cut), piece))) as FileIndex;
        expect(fold(cut === 0 ? null : below, layers.slice(cut), piece)).toEqual(whole);
      }),
      { numRuns: 60 },
    );
  });
});

test("the small part of an index knows directories, links, taken names and accounts", async () => {
  const index = fold(null, [
    await tarOf([
      { name: "etc/passwd", text: "root:x:0:0::/root:/bin/sh\n" },
      { name: "etc/shadow", text: "root:*:::::::\n", mode: 0o640, gid: 42 },
      { name: "opt", type: "symlink", linkname: "var/opt" },
      { name: "root/", type: "directory", mode: 0o550 },
    ]),
  ]);
  expect(parentIndexOf(index)).toEqual({
    format: 1,
    directories: [
      ["/", "755", 0, 0, ""],
      ["/etc", "755", 0, 0, "passwd/shadow"],
      ["/root", "550", 0, 0, ""],
    ],
    symlinks: [["/opt", "var/opt"]],
    accounts: {
      "/etc/passwd": { text: "root:x:0:0::/root:/bin/sh\n", mode: "644", uid: 0, gid: 0 },
      "/etc/shadow": { text: "root:*:::::::\n", mode: "640", uid: 0, gid: 42 },
    },
  });
});

test("dpkg names a foreign architecture", () => {
  const paragraph = (name: string, architecture: string) =>
    `Package: ${name}\nStatus: install ok installed\nArchitecture: ${architecture}\nVersion: 1\n`;
  const text = [paragraph("dpkg", "amd64"), paragraph("libc6", "i386"), paragraph("tzdata", "all")].join("\n");
  expect(installedPackages(text)).toEqual(["dpkg=1", "libc6:i386=1", "tzdata=1"]);
});
