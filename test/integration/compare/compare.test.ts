import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { pack } from "tar-stream";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { compare } from "../../../ci/commands/compare.js";
import { nameInLayout } from "../../../ci/state/layout-index.js";
import { findProgram } from "../../../ci/host/programs.js";
import { run } from "../../../ci/host/process.js";
import { parseOutput } from "../../../ci/outputs/index.js";
import { FactoryError } from "../../../dagger/src/pipeline/common/error.js";
import { configText, type Descriptor, layerType, manifestText, mediaTypes } from "../../../dagger/src/pipeline/oci/manifest.js";
import { blobPath, writeBlob } from "../../../dagger/src/oci-layout/blobs.js";
import { sha256 } from "../../fixtures/scratch.js";
import { quietWorld } from "../../fixtures/quiet-world.js";

let folder = "";
let layout = "";
let one: Descriptor;
let other: Descriptor;
const at = (path: string) => join(folder, path);

const tarOf = async (files: Readonly<Record<string, string>>): Promise<Buffer> => {
  const archive = pack();
  for (const [name, text] of Object.entries(files)) archive.entry({ name, mtime: new Date(0), mode: 0o644 }, text);
  archive.finalize();
  const parts: Buffer[] = [];
  for await (const part of archive as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts);
};

/** An image of these layers, under a name in the layout. */
const addImage = async (name: string, layers: readonly Readonly<Record<string, string>>[]): Promise<Descriptor> => {
  const tars = await Promise.all(layers.map(tarOf));
  const blobs = await Promise.all(tars.map((tar) => writeBlob(layout, [gzipSync(tar)])));
  const rootfs = { type: "layers", diff_ids: tars.map((tar) => `sha256:${sha256(tar)}`) };
  const config = configText({ architecture: "amd64", os: "linux", config: { Env: ["PATH=/bin"], Cmd: ["sh"] }, rootfs });
  const described = { mediaType: mediaTypes.config, ...(await writeBlob(layout, [Buffer.from(config)])) };
  const manifest = manifestText(
    described,
    blobs.map((blob) => ({ mediaType: layerType("gzip"), ...blob })),
    [],
  );
  const descriptor = { mediaType: mediaTypes.manifest, ...(await writeBlob(layout, [Buffer.from(manifest)])) };
  await nameInLayout(layout, name, descriptor);
  return descriptor;
};

const output = async (form: string, root: Descriptor, name: string) => {
  const { output: writer, target } = parseOutput(`${form.split(":")[0]}:${at(form.slice(form.indexOf(":") + 1))}`);
  await writer.write({ layout, root, name }, target, new AbortController().signal);
};

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "factory-compare-"));
  layout = at("layout");
  mkdirSync(join(layout, "blobs/sha256"), { recursive: true });
  one = await addImage("registry.example/team/it:one", [{ "etc/x": "1", "etc/y": "2" }, { "etc/z": "3" }]);
  other = await addImage("other", [
    { "etc/x": "1", "etc/y": "2" },
    { "etc/z": "4", "opt/new": "" },
  ]);
  await output("oci:one", one, "registry.example/team/it:one");
  await output("tar:one.tar", one, "it:one");
  await output("docker:one.docker", one, "it:one");
  await output("tar:other.tar", other, "other");
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const told = async (...words: string[]) => {
  const { world, printed } = quietWorld({ cwd: folder });
  const exitCode = await compare.run(words, world);
  return { exitCode, text: printed.stdout() };
};
const failure = async (...words: string[]) => {
  const error: unknown = await told(...words).then(
    () => null,
    (reason: unknown) => reason,
  );
  if (!(error instanceof FactoryError)) throw new Error(`no FactoryError but ${String(error)}`);
  return { code: error.code, ...error.explanation };
};

describe("one image in every form is one image", () => {
  test.each([
    "oci:one",
    "oci:layout:registry.example/team/it:one",
    "tar:one.tar",
    "tar:one.tar:it:one",
    "docker:one.docker",
    "docker:one.docker:it:one",
  ])("%s", async (form) => {
    expect(await told("oci:one", form)).toMatchObject({
      exitCode: 0,
      text: expect.stringContaining("equal: 5 paths and the config") as string,
    });
    expect(await told(form, "oci:one", "--strict")).toMatchObject({ exitCode: 0 });
  });

  test("by its digest", async () => {
    expect(await told(`oci:layout:${one.digest}`, "oci:one")).toMatchObject({ exitCode: 0 });
  });

  test("as skopeo writes it: a docker archive, a layout, one with zstd", async ({ skip }) => {
    if ((await findProgram("skopeo", process.env)) === null) skip("skopeo is not installed");
    for (const target of [`docker-archive:${at("s.docker")}:it:one`, `oci-archive:${at("s.tar")}`, `oci:${at("zstd")}:it`]) {
      const words = target.startsWith("oci:") ? ["--dest-compress-format", "zstd"] : [];
      const copied = await run("skopeo", ["--insecure-policy", "copy", "--quiet", ...words, `oci:${at("one")}`, target]);
      expect(copied).toMatchObject({ exitCode: 0 });
    }
    for (const form of ["docker:s.docker", "tar:s.tar", "oci:zstd"])
      expect(await told("oci:one", form)).toMatchObject({ exitCode: 0 });
  });

  test("a root filesystem on its own: files only", async () => {
    writeFileSync(at("rootfs.tar"), await tarOf({ "etc/x": "1", "etc/y": "2", "etc/z": "3" }));
    expect(await told("oci:one", "rootfs:rootfs.tar")).toMatchObject({
      exitCode: 0,
      text: expect.stringContaining("files only") as string,
    });
  });
});

describe("two images", () => {
  test("that differ: exit 2, and what differs", async () => {
    const { exitCode, text } = await told("oci:one", "tar:other.tar");
    expect(exitCode).toBe(2);
    expect(text).toContain("different in 2 points");
    expect(text).toContain(
      "/etc/z: content 4e07408562be (1 B) → 4b227777d4dd (1 B)\n  /opt: only in B (directory with 1 path below)",
    );
  });

  test("for a program", async () => {
    const { exitCode, text } = await told("oci:one", "tar:other.tar", "--json");
    expect(exitCode).toBe(2);
    expect(JSON.parse(text)).toMatchObject({
      format: 1,
      equal: false,
      a: { name: "oci:one", digest: one.digest },
      differences: [
        { differs: "content", path: "/etc/z" },
        { differs: "presence", only: "b", below: 1 },
      ],
    });
  });

  test("no more is printed than is asked for", async () => {
    expect((await told("oci:one", "tar:other.tar", "--limit", "1")).text).toContain("and 1 more");
  });

  test("--rules says what is left out and why", async () => {
    expect(await told("--rules")).toMatchObject({ exitCode: 0, text: expect.stringContaining("times of files") as string });
  });
});

describe("what cannot be compared", () => {
  test("is named, with the forms or names there are", async () => {
    expect(await failure("oci:one")).toMatchObject({ code: "USAGE", what: "compare takes two images, not 1" });
    expect(await failure("oic:one", "oci:one")).toMatchObject({ code: "USAGE", fix: expect.stringContaining("oci") as string });
    expect(await failure("oci:none", "oci:one")).toMatchObject({ code: "INPUT_MISSING" });
    expect(await failure("tar:none.tar", "oci:one")).toMatchObject({ code: "INPUT_MISSING" });
    expect(await failure("oci:layout", "oci:one")).toMatchObject({
      code: "IMAGE_INVALID",
      fix: "name one of them: registry.example/team/it:one, other",
    });
    expect(await failure("docker:one.docker:it:two", "oci:one")).toMatchObject({
      code: "IMAGE_INVALID",
      fix: "name one of them: it:one",
    });
    expect(await failure("docker:one.tar", "oci:one")).toMatchObject({
      code: "IMAGE_INVALID",
      why: expect.stringContaining("manifest.json") as string,
    });
    expect(await failure("stage:it/runtime", "oci:one")).toMatchObject({ code: "INPUT_MISSING", what: "no images.yaml" });
  });

  test("a docker archive whose config is not the one that its name tells", async () => {
    const bytes = readFileSync(at("one.docker"));
    const changed = Buffer.from(bytes);
    changed.write('"Cmd":["zh"]', changed.indexOf('"Cmd":["sh"]'));
    writeFileSync(at("changed.docker"), changed);
    expect(await failure("docker:changed.docker", "oci:one")).toMatchObject({
      code: "IMAGE_INVALID",
      why: expect.stringContaining("another digest") as string,
    });
  });

  test("a compressed archive says so", async () => {
    writeFileSync(at("one.docker.gz"), gzipSync(readFileSync(at("one.docker"))));
    expect(await failure("docker:one.docker.gz", "oci:one")).toMatchObject({
      code: "IMAGE_INVALID",
      why: expect.stringContaining("gzip") as string,
    });
  });

  test("a damaged layer is never taken for an equal one", async () => {
    const bad = await addImage("bad", [{ "etc/x": "bad" }]);
    const layer = (JSON.parse(readFileSync(blobPath(layout, bad.digest), "utf8")) as { layers: Descriptor[] }).layers[0]!;
    writeFileSync(blobPath(layout, layer.digest), gzipSync(await tarOf({ "etc/x": "bax" })));
    expect(await failure("oci:layout:bad", "oci:one")).toMatchObject({
      code: "CHECKSUM_MISMATCH",
      fix: "oci:layout:bad is damaged; make it again",
    });
  });
});
