import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encoderNames, encoderOf } from "../../../dagger/src/oci-layout/encoders.js";
import { takeSnapshot } from "../../../dagger/src/filesystem/take-snapshot.js";
import { indexLayers } from "../../../dagger/src/oci-layout/index-layers.js";
import type { LayerEntry } from "../../../dagger/src/pipeline/layer/layer-entry.js";
import { layerTar } from "../../../dagger/src/pipeline/layer/write-tar.js";
import { layerKeyOf } from "../../../dagger/src/pipeline/layer/plan-layer.js";
import { writeLayer } from "../../../dagger/src/oci-layout/write-layer.js";

const epoch = 315_619_200;
const owner = { uid: 0, gid: 0 };
let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "factory-large-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What GNU tar lists of a stream. */
const listed = (pieces: AsyncIterable<Uint8Array>): Promise<string[]> =>
  new Promise((resolve, reject) => {
    const tar = spawn("tar", ["--list", "--quoting-style=literal", "--file=-"], { stdio: ["pipe", "pipe", "inherit"] });
    const out: Buffer[] = [];
    tar.stdout.on("data", (part: Buffer) => out.push(part));
    tar.once("error", reject);
    tar.once("close", (code) =>
      code === 0 ? resolve(Buffer.concat(out).toString().split("\n").slice(0, -1)) : reject(new Error(`tar ended with ${code}`)),
    );
    Readable.from(pieces).pipe(tar.stdin);
  });

describe("large layers", () => {
  test("100,000 files are all there for GNU tar, each once and in order", async () => {
    const sha256 = createHash("sha256").update("").digest("hex");
    const entries: LayerEntry[] = [
      { path: "/opt", type: "directory", mode: "755", ...owner },
      ...Array.from({ length: 100_000 }, (_, at): LayerEntry => {
        const path = `/opt/${String(at).padStart(6, "0")} ü ${at % 97 === 0 ? "long ".repeat(30) : ""}x`;
        return { path, type: "file", mode: "644", size: 0, sha256, content: { text: "" }, ...owner };
      }),
    ];
    const names = await listed(layerTar(entries, epoch, () => new Uint8Array()));
    expect(names).toHaveLength(entries.length);
    expect(names.slice(1)).toEqual(entries.slice(1).map(({ path }) => path.slice(1)));
  });

  test("a file of 200 MB and one of no bytes come out as they went in", async () => {
    const context = join(folder, "context");
    mkdirSync(context);
    writeFileSync(join(context, "large"), "a begin");
    truncateSync(join(context, "large"), 200_000_000);
    writeFileSync(join(context, "empty"), "");
    const { entries: snapshot } = await takeSnapshot(context, { roots: ["large", "empty"], texts: [], ignore: [] });
    const entries = snapshot.flatMap((fact): LayerEntry[] =>
      fact.kind === "file"
        ? [
            {
              path: `/${fact.path}`,
              type: "file",
              mode: "644",
              size: fact.size,
              sha256: fact.sha256,
              content: { from: fact.path },
              ...owner,
            },
          ]
        : [],
    );
    const layout = join(folder, "layout");
    const { layer } = await writeLayer(layout, entries, {
      ...{ epoch, context, compression: "zstd" },
      load: () => encoderOf("zstd"),
      known: null,
    });
    const index = await indexLayers(layout, [layer], null);
    const told = index.entries.filter(({ type }) => type === "file").map(({ path, size, sha256 }) => ({ path, size, sha256 }));
    expect(told).toEqual(
      entries.map((entry) => (entry.type === "file" ? { path: entry.path, size: entry.size, sha256: entry.sha256 } : null)),
    );
    expect(layer.size).toBeLessThan(1_000_000);
    expect(layerKeyOf(entries, epoch, "zstd", encoderNames.zstd)).toMatch(/^[0-9a-f]{24}$/);
  });
});
