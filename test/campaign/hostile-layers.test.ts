import {
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { getuid } from "node:process";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { openRoot } from "../../ci/runc/rootfs.js";
import { findProgram } from "../../ci/host/programs.js";
import { type State, stateOf } from "../../ci/state/state.js";
import { readManifest } from "../../dagger/src/oci-layout/blobs.js";
import { openIn, indexLayers } from "../../dagger/src/oci-layout/index-layers.js";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import { unpackLayers } from "../../ci/host/unpack-layers.js";
import { imageIn, type Item } from "../integration/support/layers.js";
import { walk } from "../integration/assemble/walk-folder.js";
import { type Random, randomOf, rounds, seed, tally } from "./rounds.js";

/** Layers that want out of the folder that they are unpacked into: nothing outside is created, changed or deleted. */
let folder = "";
let outside = "";
let state: State;
const absent =
  getuid?.() !== 0
    ? "only root can unpack an image"
    : (await findProgram("setfattr", process.env)) === null
      ? "setfattr is not installed"
      : null;
beforeEach(({ skip }) => skip(absent !== null, absent ?? ""));

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "factory-hostile-"));
  outside = join(folder, "outside");
  mkdirSync(join(outside, "a/b"), { recursive: true });
  for (const name of ["victim", "a/victim", "a/b/c", "b"]) writeFileSync(join(outside, name), "safe");
  symlinkSync("victim", join(outside, "link"));
  linkSync(join(outside, "victim"), join(outside, "twin"));
  state = stateOf(folder, { FACTORY_STATE: join(folder, "state") });
  mkdirSync(join(state.layout, "blobs/sha256"), { recursive: true });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** All that the kernel tells of what is outside; its change time moves with every attribute. */
const seen = (): string[] => {
  const look = (path: string): string[] => {
    const { mode, uid, gid, nlink, size, mtimeMs, ctimeMs, ino } = lstatSync(path);
    const own = `${path} ${[mode, uid, gid, nlink, size, mtimeMs, ctimeMs, ino].join(" ")}`;
    if (lstatSync(path).isSymbolicLink()) return [`${own} ${readlinkSync(path)}`];
    return lstatSync(path).isDirectory() ? [own, ...readdirSync(path).flatMap((name) => look(join(path, name)))] : [own];
  };
  return [...look(outside), ...readdirSync(folder)];
};

const words = ["a", "b", "c", "victim", "link", "up", "abs", "out"];
const odd = [
  "..",
  ".",
  "",
  ".wh.a",
  ".wh.victim",
  ".wh.",
  ".wh..",
  ".wh...",
  ".wh..wh..opq",
  ".wh..wh.aufs",
  "x\0y",
  "n".repeat(256),
];

const path = (random: Random): string => {
  const length = 1 + random.below(4);
  const parts = Array.from({ length }, () => (random.below(40) === 0 ? random.oneOf(odd) : random.oneOf(words)));
  const start = random.below(20) === 0 ? random.oneOf(["../", `${outside}/`, "proc/self/root/", "a/../../"]) : "";
  const last = random.below(10) === 0 ? `/${random.oneOf([".wh.a", ".wh.up", ".wh.abs", ".wh..wh..opq"])}` : "";
  return start + parts.join("/") + last;
};
const target = (random: Random): string =>
  random.oneOf([
    outside,
    `${outside}/a`,
    "/",
    "..",
    "../../..",
    `../../../..${outside}`,
    "a",
    "/proc/self/cwd",
    "up",
    path(random),
  ]);

const item = (random: Random, earlier: readonly string[]): Item => {
  const name = path(random);
  const common = { name, uid: random.below(3) * 1000, mode: random.oneOf([0o644, 0o4755, 0o1777, 0o2775, 0]) };
  const xattrs = {
    "SCHILY.xattr.security.capability": "\x01\0\0\x02\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    "SCHILY.xattr.user.mark": "hostile",
  };
  const override = random.below(20) === 0 ? { path: path(random), linkpath: target(random) } : {};
  const pax = random.below(3) === 0 ? { ...xattrs, ...override } : override;
  switch (random.below(8)) {
    case 0:
    case 1:
      return { ...common, type: "symlink", linkname: target(random), pax };
    case 2:
      return {
        ...common,
        type: "link",
        linkname: earlier.length > 0 && random.below(10) > 0 ? random.oneOf(earlier) : target(random),
        pax,
      };
    case 3:
      return { ...common, type: "directory", pax };
    case 4:
      return { ...common, type: random.oneOf(["fifo", "character-device", "block-device"] as const), devmajor: 8, devminor: 0 };
    default:
      return { ...common, text: "hostile", pax };
  }
};

test("nothing outside the root is created, changed or deleted, and nothing else than an error of ours is thrown", async () => {
  const random = randomOf("hostile layers");
  const outcomes = tally();
  const before = seen();
  for (let round = 0; round < rounds({ short: 120, long: 20_000 }); round += 1) {
    const earlier: string[] = [];
    const layers = Array.from({ length: 1 + random.below(3) }, () =>
      Array.from({ length: 1 + random.below(6) }, () => {
        const one = item(random, earlier);
        earlier.push(one.name);
        return one;
      }),
    );
    const told = `seed ${seed}, round ${round}: ${JSON.stringify(layers)}`;
    const digest = await imageIn(state.layout, layers);
    try {
      const root = await openRoot(digest, { state, env: process.env, report: () => undefined });
      root.close();
      const flat = join(state.root, "flat");
      mkdirSync(flat);
      const blobs = readManifest(state.layout, digest).layers;
      const { devices } = await unpackLayers(blobs, openIn(state.layout), flat);
      const index = await indexLayers(state.layout, blobs, null);
      const made = index.entries.filter((entry) => !devices.includes(entry.path));
      expect(
        walk(flat).map(({ path: at, type }) => `${at} ${type}`),
        told,
      ).toEqual(made.map(({ path: at, type }) => `${at} ${type}`));
      rmSync(flat, { recursive: true });
      outcomes.add("unpacked");
    } catch (error) {
      if (!(error instanceof FactoryError)) throw new Error(told, { cause: error });
      outcomes.add(`refused ${error.code}`);
    }
    expect(seen(), told).toEqual(before);
    expect(readdirSync(join(state.root, "roots")), told).toEqual([]);
  }
  outcomes.print("hostile layers");
});
