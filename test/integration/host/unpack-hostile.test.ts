import { lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { getuid } from "node:process";
import { afterEach, beforeEach, expect, test } from "vitest";
import { unpackLayers } from "../../../ci/host/unpack-layers.js";
import { indexLayers, openIn } from "../../../dagger/src/oci-layout/index-layers.js";
import type { LayerBlob } from "../../../dagger/src/oci-layout/read-layer.js";
import { type Item, layerIn } from "../support/layers.js";
import { walk } from "../assemble/walk-folder.js";

/** Layers that no builder writes: nothing of them leaves the folder, and none is half believed. */
let folder = "";
let layout = "";
beforeEach(({ skip }) => {
  skip(getuid?.() !== 0, "only root can give files to others, which is what these tests look at");
  folder = mkdtempSync(join(tmpdir(), "factory-unpack-"));
  layout = join(folder, "layout");
  mkdirSync(join(layout, "blobs/sha256"), { recursive: true });
});
afterEach(() => {
  if (folder !== "") rmSync(folder, { recursive: true, force: true });
});

const layerOf = (items: readonly Item[]) => layerIn(layout, items);
const unpacked = async (layers: readonly LayerBlob[], name: string) => {
  const root = join(folder, name);
  mkdirSync(root);
  const rest = await unpackLayers(layers, openIn(layout), root);
  return { root, rest, entries: walk(root) };
};

test("an attribute goes to the file that it was told of, or to none: a folder that became a link leads nowhere", async () => {
  const attribute = { "SCHILY.xattr.user.mark": "x" };
  const first = await layerOf([
    { name: "a", type: "directory", pax: attribute },
    { name: "a/tool", pax: attribute },
    { name: "b/tool", pax: attribute },
    { name: "kept/tool", pax: attribute },
  ]);
  const second = await layerOf([
    { name: "a", type: "symlink", linkname: folder },
    { name: "b", type: "symlink", linkname: folder },
    { name: "b/tool", text: "b" },
  ]);
  const { rest } = await unpacked([first, second], "root");
  expect(rest.xattrs.map(({ path }) => path)).toEqual(["/kept/tool"]);
});

test.for([".wh.", ".wh..", ".wh...", "a/.wh.", "a/.wh..", "a/.wh...", "a/.wh.../", "./.wh..."])(
  "the whiteout %s names no file and is refused",
  async (name) => {
    writeFileSync(join(folder, "outside"), "safe");
    const layer = await layerOf([{ name: "a/b" }, { name }]);
    await expect(unpacked([layer], "root")).rejects.toMatchObject({ code: "CHECKSUM_MISMATCH" });
    await expect(indexLayers(layout, [layer], null)).rejects.toMatchObject({ code: "CHECKSUM_MISMATCH" });
    expect(readFileSync(join(folder, "outside"), "utf8")).toBe("safe");
    expect(lstatSync(layout).isDirectory()).toBe(true);
  },
);

test.for([
  ["a name by PAX that leads out", { name: "a", pax: { path: "../x" } }],
  ["a name with a NUL", { name: "a", pax: { path: "a\0b" } }],
  ["a hard link to a folder", { name: "b", type: "link", linkname: "folder" }],
  ["a hard link to the root", { name: "b", type: "link", linkname: "/" }],
  ["a hard link that leads out", { name: "b", type: "link", linkname: "../outside" }],
  ["a hard link to what is not there", { name: "b", type: "link", linkname: "/etc/passwd" }],
  ["a root that is a file", { name: "/", pax: { path: "." } }],
  ["a root that is a link", { name: "/", type: "symlink", linkname: "/etc" }],
  ["a name of 256 characters", { name: "n".repeat(256) }],
  ["an owner that chown leaves alone", { name: "a", pax: { uid: "4294967295" } }],
  ["an owner that is no number", { name: "a", pax: { gid: "root" } }],
  ["an attribute of a name that no program can be handed", { name: "a", pax: { "SCHILY.xattr.user.a\0b": "x" } }],
  ["an attribute larger than Linux keeps", { name: "a", pax: { "SCHILY.xattr.user.a": "x".repeat(70_000) } }],
] as const)("%s is refused", async ([, item]) => {
  writeFileSync(join(folder, "outside"), "safe");
  await expect(unpacked([await layerOf([{ name: "folder", type: "directory" }, item])], "root")).rejects.toMatchObject({
    code: "CHECKSUM_MISMATCH",
  });
  expect(readFileSync(join(folder, "outside"), "utf8")).toBe("safe");
});

test("devices and pipes are told and not made; a name told twice is what was told last", async () => {
  const { rest, entries } = await unpacked(
    [
      await layerOf([
        { name: "disk", type: "block-device", devmajor: 8, devminor: 0 },
        { name: "pipe", type: "fifo" },
        { name: "a", text: "1" },
        { name: "a", text: "22", mode: 0o600 },
      ]),
    ],
    "root",
  );
  expect(rest.devices).toEqual(["/disk", "/pipe"]);
  expect(entries.slice(1).map(({ path, mode, size }) => `${path} ${mode} ${size}`)).toEqual(["/a 600 2"]);
});
