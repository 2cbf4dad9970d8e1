import { createReadStream, createWriteStream, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { extract, type Header, pack } from "tar-stream";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { addRootImage, readTar } from "../../../../ci/bootstrap/layout.js";
import { daggerEngine } from "../../../../ci/engines/dagger/dagger-engine.js";
import { blobPath, readBlob, readManifest } from "../../../../dagger/src/oci-layout/blobs.js";
import type { ImageConfig } from "../../../../dagger/src/pipeline/oci/image-config.js";
import { layerType } from "../../../../dagger/src/pipeline/oci/manifest.js";
import { layerBytes } from "../../../../dagger/src/oci-layout/read-layer.js";
import { exportImported } from "../../../dagger-session/exported.js";
import { openSession, type Session } from "../../../dagger-session/session.js";
import { planOf } from "../../../fixtures/box.js";

/** A bootstrapped base under the engine `dagger` of the command line, against a session that gives back what was imported. */
let folder: string;
let session: Session;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "dagger-base-"));
  mkdirSync(join(folder, "context"));
  session = await openSession(
    (chain) => (chain.at(-1)?.field === "combinedOutput" ? "" : undefined),
    exportImported(folder, "late"),
  );
  Object.assign(process.env, session.env);
});
afterAll(async () => {
  delete process.env["DAGGER_SESSION_PORT"];
  delete process.env["DAGGER_SESSION_TOKEN"];
  await session.close();
  rmSync(folder, { recursive: true, force: true });
});

const plan = planOf();
const execute = async (base: string): Promise<string> => {
  const layout = join(folder, "layout");
  const engine = daggerEngine("a session", null);
  try {
    const { digest } = await engine.execute(
      {
        stage: "base-tools",
        platform: plan.platform,
        dockerfile: "",
        planned: { plan, stage: plan.stages[0]!, caches: "image-factory-branch-0" },
        context: join(folder, "context"),
        images: { "box-base": { layout, digest: base } },
        folders: {},
        buildArgs: {},
        secrets: [],
        epoch: plan.epoch,
        labels: [],
        compression: plan.compression,
        noCache: false,
        output: { to: "oci-layout", folder: layout, name: "base-tools" },
      },
      () => undefined,
      new AbortController().signal,
    );
    return digest!;
  } finally {
    await engine.release();
  }
};

describe("a stage on a bootstrapped base", () => {
  /** A bootstrapped base as mmdebstrap leaves it: one layer, not compressed, without a /dev. */
  const bootstrapped = async (): Promise<string> => {
    const [layout, tar] = [join(folder, "layout"), join(folder, "root.tar")];
    const archive = pack();
    archive.entry({ name: "./", type: "directory", mode: 0o755, mtime: new Date(0) });
    archive.entry({ name: "./etc/", type: "directory", mode: 0o755, mtime: new Date(0) });
    archive.finalize();
    await pipeline(archive, createWriteStream(tar));
    const image = { tar, architecture: "amd64", epoch: plan.epoch, createdBy: "mmdebstrap", name: "base" } as const;
    return addRootImage(layout, image, await readTar(tar));
  };

  test("is compressed as all layers are, with a /dev of mode 755 in the base's own layer", async () => {
    const layout = join(folder, "layout");
    const base = await bootstrapped();
    const digest = await execute(base);
    const first = session.asked.find((chain) => chain.at(-1)?.field === "sync");
    expect(first!.slice(0, 3).map(({ field }) => field)).toEqual(["container", "import", "withMountedCache"]);
    const { layers } = readManifest(layout, digest);
    expect(layers.map(({ mediaType }) => mediaType)).toEqual([1, 2].map(() => layerType(plan.compression)));
    const entries: Header[] = [];
    const read = extract();
    read.on("entry", (header, stream, next) => (entries.push(header), stream.on("end", next).resume()));
    await pipeline(layerBytes(createReadStream(blobPath(layout, layers[0]!.digest)), layers[0]!), read);
    const { name, mode, type, mtime, uid, gid } = entries[0]!;
    expect({ name, mode, type, mtime, uid, gid }).toEqual({
      name: "dev/",
      mode: 0o755,
      type: "directory",
      mtime: new Date(plan.epoch * 1000),
      uid: 0,
      gid: 0,
    });
    expect(entries.slice(1).map((entry) => entry.name)).toEqual(["./", "./etc/"]);
    const { rootfs, config } = readBlob<ImageConfig>(layout, readManifest(layout, digest).config.digest);
    expect(rootfs.diff_ids).toHaveLength(2);
    expect(config).toMatchObject({ Env: [expect.stringContaining("PATH=")], Cmd: ["bash"] });
  });

  test("two executions have one digest", async () => {
    const base = await bootstrapped();
    expect(await execute(base)).toBe(await execute(base));
  });
});
