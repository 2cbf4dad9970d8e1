import { createHash } from "node:crypto";
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { getuid } from "node:process";
import { gzipSync } from "node:zlib";
import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { assembleStage } from "../../../dagger/src/oci-layout/write-stage.js";
import { nameInLayout } from "../../../ci/state/layout-index.js";
import { run } from "../../../ci/host/process.js";
import { takeSnapshot } from "../../../dagger/src/filesystem/take-snapshot.js";
import { indexLayers } from "../../../dagger/src/oci-layout/index-layers.js";
import { parentIndexOf } from "../../../dagger/src/pipeline/contents/parent-index.js";
import type { StageKey } from "../../../dagger/src/pipeline/plan/key.js";
import type { LayerEntry } from "../../../dagger/src/pipeline/layer/layer-entry.js";
import { layerTar } from "../../../dagger/src/pipeline/layer/write-tar.js";
import { configText, layerType, manifestText, mediaTypes } from "../../../dagger/src/pipeline/oci/manifest.js";
import type { PlannedStage } from "../../../dagger/src/pipeline/plan/types.js";
import type { Step } from "../../../dagger/src/pipeline/steps/step.js";
import { walk } from "./walk-folder.js";

const epoch = 315_619_200;
let folder = "";
beforeEach(({ skip }) => {
  skip(getuid?.() !== 0, "only root can give files to others, which is what these tests look at");
  folder = mkdtempSync(join(tmpdir(), "factory-unpack-"));
});
afterEach(() => {
  if (folder !== "") rmSync(folder, { recursive: true, force: true });
});

const sha256 = (bytes: Uint8Array | string) => createHash("sha256").update(bytes).digest("hex");
const gathered = async (pieces: AsyncIterable<Uint8Array>): Promise<Buffer> => {
  const parts: Uint8Array[] = [];
  for await (const piece of pieces) parts.push(piece.slice());
  return Buffer.concat(parts);
};
const succeed = async (program: string, args: readonly string[]) => {
  const { exitCode, stdout, stderr } = await run(program, args);
  expect(`${exitCode} ${stderr}`).toMatch(/^0 /);
  return stdout;
};

const name = fc
  .string({ unit: "grapheme", minLength: 1, maxLength: 70 })
  .filter(
    (text) =>
      !/[/\0]/.test(text) && Buffer.from(text).toString() === text && !/^\.{1,2}$/.test(text) && Buffer.byteLength(text) < 250,
  );
const id = fc.integer({ min: 0, max: 2 ** 31 - 1 });
const common = { uid: id, gid: id };
const leaf = fc.oneof(
  fc.record({
    ...common,
    type: fc.constant("symlink" as const),
    mode: fc.constant("777"),
    target: fc.string({ minLength: 1, maxLength: 150 }).filter((text) => !text.includes("\0")),
  }),
  fc.tuple(fc.integer({ min: 0, max: 0o7777 }), id, id, fc.string({ maxLength: 1200 })).map(([mode, uid, gid, text]) => ({
    type: "file" as const,
    mode: mode.toString(8),
    uid,
    gid,
    size: Buffer.byteLength(text),
    sha256: sha256(text),
    content: { text },
  })),
);
/** Directories one in another, and in each of them leaves. */
const entries = fc
  .array(
    fc.record({
      name,
      mode: fc.constantFrom("700", "755", "1777", "2775"),
      ...common,
      leaves: fc.dictionary(name, leaf, { maxKeys: 3 }),
    }),
    { minLength: 1, maxLength: 5 },
  )
  .map((folders) => {
    let path = "";
    return folders.flatMap(({ name: own, mode, uid, gid, leaves }, depth): LayerEntry[] => {
      path += `/${own}`;
      const next = folders[depth + 1]?.name;
      const here = path;
      const inside = Object.entries(leaves).flatMap(([at, one]) =>
        at === next ? [] : [{ ...one, path: `${here}/${at}` } as LayerEntry],
      );
      return [{ path, type: "directory", mode, uid, gid }, ...inside];
    });
  });

describe("what others make of the bytes", () => {
  test("law: GNU tar takes out what was put in, with the epoch as every time", async () => {
    let turn = 0;
    await fc.assert(
      fc.asyncProperty(entries, async (list) => {
        const out = join(folder, String((turn += 1)));
        mkdirSync(out);
        writeFileSync(`${out}.tar`, await gathered(layerTar(list, epoch, () => new Uint8Array(0))));
        await succeed("tar", [
          "--extract",
          "--preserve-permissions",
          "--numeric-owner",
          "--file",
          `${out}.tar`,
          "--directory",
          out,
        ]);
        const wanted = list.map((entry) => {
          if (entry.type !== "file") return entry;
          const { content: _bytes, ...rest } = entry;
          return rest;
        });
        const found = walk(out).slice(1);
        expect(found).toEqual(wanted.sort((a, b) => (a.path < b.path ? -1 : 1)));
        for (const { path } of found) expect(lstatSync(join(out, path)).mtimeMs).toBe(epoch * 1000);
      }),
      { numRuns: 40 },
    );
  });

  test("umoci and skopeo: an assembled image on a base with links, setgid, sticky and narrow directories", async () => {
    const layout = join(folder, "layout");
    mkdirSync(join(layout, "blobs", "sha256"), { recursive: true });
    const root = join(folder, "root");
    for (const path of ["etc", "root", "tmp", "usr/bin", "var/opt", "shared"]) mkdirSync(join(root, path), { recursive: true });
    symlinkSync("usr/bin", join(root, "bin"));
    symlinkSync("/var/opt", join(root, "opt"));
    writeFileSync(join(root, "etc/passwd"), "root:x:0:0::/root:/bin/sh\n");
    for (const [path, mode] of [
      ["root", 0o550],
      ["tmp", 0o1777],
      ["shared", 0o2775],
    ] as const)
      chmodSync(join(root, path), mode);
    chownSync(join(root, "shared"), 0, 50);
    chmodSync(join(root, "shared"), 0o2775);
    writeFileSync(join(folder, "base.tar"), "");
    await succeed("tar", ["--create", "--sort=name", "--file", join(folder, "base.tar"), "--directory", root, "."]);
    const put = (bytes: string | Uint8Array) => {
      writeFileSync(join(layout, "blobs", "sha256", sha256(bytes)), bytes);
      return { digest: `sha256:${sha256(bytes)}`, size: Buffer.byteLength(bytes) };
    };
    const tar = readFileSync(join(folder, "base.tar"));
    const base = { mediaType: layerType("gzip"), ...put(gzipSync(tar)) };
    const rootfs = { type: "layers", diff_ids: [`sha256:${sha256(tar)}`] };
    const config = { mediaType: mediaTypes.config, ...put(configText({ architecture: "amd64", os: "linux", rootfs })) };
    const parent = put(manifestText(config, [base], []));
    const below = await indexLayers(layout, [base], null);

    const context = join(folder, "context");
    mkdirSync(join(context, "app/bin"), { recursive: true });
    writeFileSync(join(context, "app/bin/tool"), "#!/bin/sh\n", { mode: 0o755 });
    writeFileSync(join(context, "app/naïve name\n.txt"), "");
    symlinkSync("bin/tool", join(context, "app/link"));
    const snapshot = await takeSnapshot(context, { roots: ["app"], texts: [], ignore: [] });
    const steps: Step[] = [
      {
        do: "user",
        account: {
          name: "me",
          uid: 1001,
          gid: 0,
          home: "/home/me",
          shell: "/bin/sh",
          subordinate: { start: 100_000, count: 65_536 },
        },
      },
      { do: "directory", path: "/shared/x", owner: "1001:0", mode: "2775" },
      { do: "file", path: "/root/.rc", owner: "0:0", mode: "600", source: { text: "x" } },
      { do: "copy", to: "/opt/app", owner: "1001:0", items: [{ from: "app", to: "/opt/app" }], entries: snapshot.entries },
      {
        do: "copy",
        to: "/",
        owner: "0:0",
        items: [{ from: "app/bin", to: "/bin" }],
        entries: snapshot.entries.filter(({ path }) => path.startsWith("app/bin")),
      },
    ];
    const stage = {
      stage: "application",
      key: "k" as StageKey,
      kind: "assembled",
      ingredients: { steps: steps.map((step) => ({ step, script: null })) },
    } as unknown as PlannedStage;
    const made = await assembleStage({
      layout,
      parentDigest: parent.digest,
      parentIndex: parentIndexOf(below),
      plan: { epoch, compression: "gzip", stages: [stage] },
      stage,
      contextFolder: context,
      snapshot,
      remembered: new Map(),
      encoder: { name: "test", load: async () => (piece) => gzipSync(piece) },
    });
    await nameInLayout(layout, "it", { mediaType: mediaTypes.manifest, digest: made.digest, size: made.size });
    expect(await succeed("skopeo", ["inspect", `oci:${layout}:it`])).toContain(made.layer!.digest);
    await succeed("umoci", ["unpack", "--image", `${layout}:it`, join(folder, "out")]);
    const whole = await indexLayers(layout, [made.layer!], below);
    expect(walk(join(folder, "out", "rootfs"))).toEqual(whole.entries);
    // What assembling says it left is what is there.
    expect(parentIndexOf(whole)).toEqual(made.index);
    expect(
      whole.entries
        .filter(({ path }) => ["/bin", "/tmp", "/root", "/usr/bin/tool", "/var/opt/app"].includes(path))
        .map(({ type, mode, uid }) => `${type} ${mode} ${uid}`),
    ).toEqual(["symlink 777 0", "directory 550 0", "directory 1777 0", "file 755 0", "directory 755 1001"]);
  });
});
