import { zstdDecompressSync } from "node:zlib";
import { chmod, mkdir, readdir, readFile, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Bench, blobPath, manifestOf, namesIn, openBench } from "./buildkit.jobs.js";

let bench: Bench;
beforeAll(async () => {
  bench = await openBench({ shared: true });
});
afterAll(async () => {
  await bench.close();
});

describe("an OCI layout", () => {
  test("is a single manifest with the rewritten layers, under the job's name", async () => {
    const { digest } = await bench.execute(await bench.job("RUN echo hello > /greeting"));
    const layout = bench.path("layout");
    const manifest = await manifestOf(layout, digest);
    expect(manifest.mediaType).toBe("application/vnd.oci.image.manifest.v1+json");
    expect(manifest.layers.map((layer) => layer.annotations?.["buildkit/rewritten-timestamp"])).toEqual([
      "315619200",
      "315619200",
    ]);
    expect(await namesIn(layout)).toMatchObject({ "base-tools": digest });
    expect((await readdir(layout)).sort()).toEqual(["blobs", "index.json", "oci-layout"]);
  });

  test("keeps the images that it held, and two jobs write into it at once", async () => {
    const folder = bench.path("together");
    const named = (name: string) => ({ output: { to: "oci-layout", folder, name } as const });
    const jobs = await Promise.all(["one", "two", "three"].map((name) => bench.job(`RUN echo ${name} > /name`, named(name))));
    const digests = await Promise.all(jobs.map(async (job) => (await bench.execute(job)).digest));
    expect(await namesIn(folder)).toEqual({ one: digests[0], two: digests[1], three: digests[2] });
    const layers = await Promise.all(digests.map(async (digest) => (await manifestOf(folder, digest)).layers[0]?.digest));
    expect(new Set(layers).size).toBe(1);
    const blobs = await readdir(join(folder, "blobs", "sha256"));
    expect(blobs).toHaveLength(1 + 3 * 3);
  });

  test("of an earlier job stands in for a stage by name", async () => {
    const lower = await bench.execute(await bench.job("RUN echo from below > /below"));
    const job = await bench.job("", {
      stage: "dependencies",
      dockerfile: 'FROM base-tools AS dependencies\nSHELL ["/bin/busybox", "sh", "-c"]\nRUN /bin/busybox cat /below\n',
      images: { "base-tools": { layout: bench.path("layout"), digest: lower.digest ?? "" } },
    });
    const { output, digest } = await bench.execute(job);
    expect(output).toBe("from below\n");
    const [below, above] = await Promise.all([lower.digest, digest].map((one) => manifestOf(bench.path("layout"), one)));
    expect(above?.layers.slice(0, 2).map((layer) => layer.digest)).toEqual(below?.layers.map((layer) => layer.digest));
  });

  test("is the same when its steps run again without the cache, and cached when they need not", async () => {
    const job = await bench.job("RUN echo same > /same");
    const [first, second] = [await bench.execute(job), await bench.execute({ ...job, noCache: true })];
    expect(second.digest).toBe(first.digest);
    const again = await bench.execute(job);
    expect(again.events).toContainEqual(expect.objectContaining({ type: "step-ended", cached: true }));
  });
});

test("what a killed export left is swept by the next one", async () => {
  const job = await bench.job("RUN echo hello > /greeting");
  await bench.execute(job);
  const left = bench.path("layout", ".export-4194304-1-00000000");
  await mkdir(join(left, "ingest"), { recursive: true });
  await bench.execute(job);
  expect((await readdir(bench.path("layout"))).filter((name) => name.startsWith("."))).toEqual([]);
});

test("two empty states give one digest", async () => {
  const other = await openBench();
  try {
    const digests = [];
    for (const one of [bench, other]) {
      const context = await one.folder("inputs", { "a/b.txt": "b", "c.txt": "c" });
      const job = await one.job("COPY . /in\nRUN --mount=type=bind,target=/src /bin/busybox sha256sum /src/c.txt > /sum", {
        context,
      });
      digests.push((await one.execute(job)).digest);
    }
    expect(digests[1]).toBe(digests[0]);
  } finally {
    await other.close();
  }
});

test.each([
  {
    reads: "RUN --mount=type=bind",
    dockerfile: "RUN --mount=type=bind,target=/src /bin/busybox cat /src/file",
  },
  { reads: "COPY", dockerfile: "COPY file /file\nRUN /bin/busybox cat /file" },
  {
    reads: "COPY --from a folder",
    dockerfile: "COPY --from=named file /file\nRUN /bin/busybox cat /file",
  },
])("a change of equal size and time is not sent stale: $reads", async ({ reads, dockerfile }) => {
  const name = reads.replace(/\W/g, "");
  const folder = await bench.folder(name, { file: `${name} one` });
  const named = { named: folder, box: bench.path("box") };
  const job = await bench.job(dockerfile, {
    context: folder,
    folders: named,
    output: { to: "nothing" },
  });
  const { mtime, size } = await stat(join(folder, "file"));
  expect((await bench.execute(job)).output).toBe(`${name} one`);
  await writeFile(join(folder, "file"), `${name} two`);
  await utimes(join(folder, "file"), mtime, mtime);
  expect(await stat(join(folder, "file"))).toMatchObject({ size, mtime });
  expect((await bench.execute(job)).output).toBe(`${name} two`);
});

test("inputs keep symlinks, modes, empty directories and a .dockerignore of their own", async () => {
  const context = await bench.folder("shapes", {
    "bin/tool": "#!",
    ".dockerignore": "**",
    plain: "p",
  });
  await chmod(join(context, "bin/tool"), 0o755);
  await mkdir(join(context, "void"), { recursive: true });
  await symlink("bin/tool", join(context, "link"));
  const job = await bench.job(
    "COPY . /in\nRUN cd /in && /bin/busybox find . | /bin/busybox sort && /bin/busybox readlink link && /bin/busybox stat -c %a bin/tool",
    {
      context,
      output: { to: "nothing" },
    },
  );
  const { output } = await bench.execute(job);
  expect(output.trim().split("\n")).toEqual([
    ".",
    "./.dockerignore",
    "./bin",
    "./bin/tool",
    "./link",
    "./plain",
    "./void",
    "bin/tool",
    "755",
  ]);
});

test("a folder takes the files of the result", async () => {
  const folder = bench.path("exported");
  const job = await bench.job("", {
    dockerfile: "FROM scratch AS base-tools\nCOPY --from=box busybox /found\n",
    output: { to: "folder", folder },
  });
  expect((await bench.execute(job)).digest).toBeNull();
  expect(await readdir(folder)).toEqual(["found"]);
});

test("a secret reaches its step and no layer, no config and no event", async () => {
  const secret = `s3cr3t-${process.pid}-${Math.random()}`;
  const file = join(await bench.folder("secrets", { token: secret }), "token");
  const job = await bench.job(
    'RUN --mount=type=secret,id=token --mount=type=secret,id=token,env=TOKEN test "$(/bin/busybox cat /run/secrets/token)" = "$TOKEN" && /bin/busybox sha256sum /run/secrets/token > /sum',
    { secrets: [{ id: "token", file }], noCache: true },
  );
  const { digest, events } = await bench.execute(job);
  const layout = bench.path("layout");
  const manifest = await manifestOf(layout, digest);
  const config = await readFile(blobPath(layout, manifest.config.digest), "utf8");
  const layers = await Promise.all(manifest.layers.map((layer) => readFile(blobPath(layout, layer.digest))));
  const contents = layers.map((layer) => Buffer.from(zstdDecompressSync(layer)).toString("latin1"));
  expect(contents.some((content) => content.includes("/run/secrets/token"))).toBe(true);
  for (const text of [config, JSON.stringify(manifest), JSON.stringify(events), ...contents]) expect(text).not.toContain(secret);
});

test("platforms name the machine's own", async () => {
  expect(await bench.engine.platforms()).toContain(process.arch === "arm64" ? "linux/arm64" : "linux/amd64");
});
