import { lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { getuid } from "node:process";
import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { findProgram } from "../../../ci/host/programs.js";
import { nameInLayout } from "../../../ci/state/layout-index.js";
import { run } from "../../../ci/host/process.js";
import { unpackLayers } from "../../../ci/host/unpack-layers.js";
import { indexLayers, openIn } from "../../../dagger/src/oci-layout/index-layers.js";
import { writeBlob } from "../../../dagger/src/oci-layout/blobs.js";
import { configText, layerType, manifestText, mediaTypes } from "../../../dagger/src/pipeline/oci/manifest.js";
import type { LayerBlob } from "../../../dagger/src/oci-layout/read-layer.js";
import { type Item, layerIn } from "../support/layers.js";
import { walk } from "../assemble/walk-folder.js";

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

/** Unpacks, and returns the folder as an index has it. */
const unpacked = async (layers: readonly LayerBlob[], name: string) => {
  const root = join(folder, name);
  mkdirSync(root);
  const rest = await unpackLayers(layers, openIn(layout), root);
  return { root, rest, entries: walk(root) };
};

const words = fc.constantFrom("a", "b", "c");
const name = fc.array(words, { minLength: 1, maxLength: 3 }).map((parts) => parts.join("/"));
const whiteout = fc
  .tuple(fc.array(words, { minLength: 1, maxLength: 2 }), fc.constantFrom(".wh.a", ".wh.b", ".wh..wh..opq"))
  .map(([parts, last]) => [...parts, last].join("/"));
const file = fc.record({ name, text: fc.constantFrom("", "x", "yy"), mode: fc.constantFrom(0o644, 0o4755), uid: fc.nat(3) });
const directory = fc.record({
  name,
  type: fc.constant("directory" as const),
  mode: fc.constantFrom(0o700, 0o1777),
  uid: fc.nat(3),
});
/** To a folder that is always there: what leads nowhere, or round in circles, every unpacker takes in its own way. */
const symlink = fc.record({ name, type: fc.constant("symlink" as const), linkname: fc.constantFrom("/t", "/t/u") });
const item: fc.Arbitrary<Item> = fc.oneof({ weight: 4, arbitrary: file }, { weight: 3, arbitrary: directory }, symlink);
const image = fc
  .array(
    fc.record({
      put: fc.uniqueArray(item, { selector: (one) => one.name, maxLength: 6 }),
      gone: fc.uniqueArray(whiteout, { maxLength: 2 }),
      parents: fc.boolean(),
    }),
    { minLength: 1, maxLength: 4 },
  )
  .map((list) => [
    [folderItem("t"), folderItem("t/u")],
    ...list.map((layer) =>
      sound(
        layer,
        list.flatMap(({ put }) => put),
      ),
    ),
  ]);
const folderItem = (path: string): Item => ({ name: path, type: "directory" });

/**
 * A layer as builders write them: folders before what they hold, nothing below a file. With the folders that lead to each path, or
 * without; then the path may lead through a link of a layer below.
 */
const sound = (
  { put, gone, parents }: { put: Item[]; gone: string[]; parents: boolean },
  everywhere: readonly Item[],
): Item[] => {
  const solid = (parents ? put : everywhere).filter(
    ({ type, linkname }) => type !== "directory" && (parents || linkname === undefined),
  );
  const isSound = (path: string) => !solid.some((one) => path.startsWith(`${one.name}/`));
  const kept = put.filter((one) => isSound(one.name));
  const own = new Set(kept.map((one) => one.name));
  const above = parents
    ? kept.flatMap((one) =>
        one.name
          .split("/")
          .slice(0, -1)
          .map((_, at, all) => all.slice(0, at + 1).join("/")),
      )
    : [];
  const added = [...new Set(above)].filter((path) => !own.has(path)).map(folderItem);
  const sorted = [...kept, ...added].sort((a, b) => (a.name < b.name ? -1 : 1));
  return [...gone.filter(isSound).map((path) => ({ name: path })), ...sorted];
};

describe("layers, unpacked", () => {
  test("law: are what the index of the same layers says", async () => {
    let turn = 0;
    await fc.assert(
      fc.asyncProperty(image, async (list) => {
        const blobs = await Promise.all(list.map(layerOf));
        const { entries } = await unpacked(blobs, String((turn += 1)));
        const index = await indexLayers(layout, blobs, null);
        expect(entries.slice(1)).toEqual(index.entries.slice(1));
      }),
      { numRuns: 150 },
    );
  });

  test("law: are what umoci makes of them", async ({ skip }) => {
    if ((await findProgram("umoci", process.env)) === null) skip("umoci is not installed");
    let turn = 0;
    await fc.assert(
      fc.asyncProperty(image, async (list) => {
        turn += 1;
        const blobs = await Promise.all(list.map(layerOf));
        const rootfs = { type: "layers", diff_ids: blobs.map(({ diffId }) => diffId) };
        const config = {
          mediaType: mediaTypes.config,
          ...(await writeBlob(layout, [Buffer.from(configText({ architecture: "amd64", os: "linux", rootfs }))])),
        };
        const manifest = await writeBlob(layout, [Buffer.from(manifestText(config, blobs, []))]);
        await nameInLayout(layout, `it-${turn}`, { mediaType: mediaTypes.manifest, ...manifest });
        const out = join(folder, `umoci-${turn}`);
        const done = await run("umoci", ["unpack", "--image", `${layout}:it-${turn}`, out]);
        expect(`${done.exitCode} ${done.stderr}`).toMatch(/^0 /);
        const { entries } = await unpacked(blobs, `own-${turn}`);
        expect(entries.slice(1)).toEqual(walk(join(out, "rootfs")).slice(1));
      }),
      { numRuns: 25 },
    );
  });

  test("keep times, setuid bits and hard links; what needs a program of its own is told", async () => {
    const layer = await layerOf([
      { name: "tool", text: "x", mode: 0o4755, uid: 7, mtime: 315_619_200 },
      { name: "same", type: "link", linkname: "tool" },
      { name: "cap", pax: { "SCHILY.xattr.security.capability": "cap" } },
    ]);
    const { root, rest, entries } = await unpacked([layer], "root");
    expect(entries.slice(1).map(({ path, mode: bits, uid }) => `${path} ${bits} ${uid}`)).toEqual([
      "/cap 644 0",
      "/same 4755 7",
      "/tool 4755 7",
    ]);
    const [tool, same] = ["tool", "same"].map((path) => lstatSync(join(root, path)));
    expect(tool!.mtimeMs).toBe(315_619_200_000);
    expect(same!.ino).toBe(tool!.ino);
    expect(rest.xattrs).toEqual([{ path: "/cap", name: "security.capability", value: "Y2Fw" }]);
  });

  test("a folder that no layer tells is root's, below a setgid one too", async () => {
    const layer = await layerOf([{ name: "shared", type: "directory", mode: 0o2775, uid: 7 }, { name: "shared/made/x" }]);
    const { entries } = await unpacked([layer], "root");
    expect(entries.slice(1).map(({ path, mode, uid, gid }) => `${path} ${mode} ${uid}:${gid}`)).toEqual([
      "/shared 2775 7:7",
      "/shared/made 755 0:0",
      "/shared/made/x 644 0:0",
    ]);
  });

  test("never leave the folder, whatever a layer says", async () => {
    writeFileSync(join(folder, "outside"), "safe");
    const first = await layerOf([
      { name: "up", type: "symlink", linkname: "../../.." },
      { name: "abs", type: "symlink", linkname: folder },
    ]);
    const second = await layerOf([
      { name: "up/outside", text: "bad" },
      { name: "abs/outside", text: "bad" },
      { name: "abs/.wh.layout" },
    ]);
    const { root } = await unpacked([first, second], "root");
    expect(readFileSync(join(folder, "outside"), "utf8")).toBe("safe");
    expect(readFileSync(join(root, "outside"), "utf8")).toBe("bad");
    expect(lstatSync(layout).isDirectory()).toBe(true);
    await expect(unpacked([await layerOf([{ name: "a/../../x", text: "bad" }])], "other")).rejects.toMatchObject({
      code: "CHECKSUM_MISMATCH",
    });
  });

  test("a damaged one is refused", async () => {
    const layer = await layerOf([{ name: "a", text: "1" }]);
    await expect(
      unpacked([{ ...layer, digest: (await layerOf([{ name: "b" }])).digest, mediaType: layerType("zstd") }], "root"),
    ).rejects.toMatchObject({
      code: "CHECKSUM_MISMATCH",
    });
  });
});
