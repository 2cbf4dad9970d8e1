import { cp, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { BuildRecord } from "../../../dagger/src/pipeline/common/build-record.js";
import { run } from "../../../ci/host/process.js";
import { actionsOf, built, factory } from "../support/factory.js";
import { lacking } from "../support/needs.js";
import { openSmall, platform, type Small } from "../support/small.js";

/** The small image, built as a person builds it; each test goes on from where the one before it ended. */
const absent = await lacking("mmdebstrap", "runc");
const reused = { "base-tools": "reuse", dependencies: "reuse", application: "reuse", runtime: "reuse" };
/** An address at which no engine can be. */
const nowhere = { BUILDKIT_HOST: "unix:///nowhere/buildkitd.sock", FACTORY_BUILDKIT: "BUILDKIT_HOST" };

describe.skipIf(absent !== null)(`the small image${absent === null ? "" : ` (skipped: ${absent})`}`, () => {
  let small: Small;
  let cold: BuildRecord;
  const build = (words: readonly string[] = [], env: Record<string, string | undefined> = {}) =>
    built(small.project, words, { ...small.env, ...env });
  const state = (path: string) => join(small.env["FACTORY_STATE"]!, path);

  beforeAll(async () => {
    small = await openSmall();
  });
  afterAll(() => small.close());

  test("a first build executes every stage and ends with the digest", async () => {
    const { code, stdout, stderr } = await factory(small.project, ["build"], { ...small.env, FACTORY_VERSION: "1.2.3" });
    expect(code, stderr).toBe(0);
    expect(stdout).toMatch(
      new RegExp(
        [
          `^small for ${platform}`,
          "  base-tools {4}[0-9a-f]{12}  executed +[\\d.]+ MB in \\d+ layers?  [\\d.]+ (?:s|min \\d+ s)",
          "  dependencies  [0-9a-f]{12}  executed +.*",
          "  application .*",
          "  runtime .*",
          "  total .*",
          "sha256:[0-9a-f]{64}",
          "next: \\./task shell IMAGE=small.*",
          "log: .*events\\.jsonl\n$",
        ].join("\n"),
      ),
    );
    expect(stderr).toContain("engine: buildkit (embedded): FACTORY_BUILDKIT asks for it");
    expect(stderr).not.toContain("images.lock");
    // The daemon ended with the build that it served.
    expect(await readdir(state("engine/holders"))).toEqual([]);
  });

  test("a second one reuses everything, and looks for no engine", async () => {
    const { record, stderr } = await build([], nowhere);
    cold = record;
    expect(actionsOf(record)).toEqual(reused);
    expect(stderr).not.toContain("engine:");
    expect((await factory(small.project, ["plan", "--check"], { ...small.env, ...nowhere })).code).toBe(0);
  });

  test("its commands work as its user would expect", async () => {
    const command =
      "hello; stat -c '%a %u' /etc/small.conf; cat /etc/small.d/inline; python3 -m small; stat -c '%a %u:%g' /workspace; grep small /etc/passwd /etc/subuid";
    const { code, stdout, stderr } = await factory(small.project, ["shell", "--command", command], small.env);
    expect(code, stderr).toBe(0);
    expect(stdout).toBe(
      "hello 1.0.0\n640 0\none\ntwo\nhello: world\n2775 1234:0\n/etc/passwd:small:x:1234:0::/home/small:/bin/bash\n/etc/subuid:small:100000:65536\n",
    );
    expect((await factory(small.project, ["shell", "--stage", "base-tools", "--command", "exit 7"], small.env)).code).toBe(7);
  });

  test("every form of output is the image", async () => {
    const into = join(small.root, "out");
    for (const [output, source] of [
      ["oci:../out/layout", `oci:${into}/layout:registry.example/team/small:1.2.3`],
      ["tar:../out/small.tar", `oci-archive:${into}/small.tar`],
      ["docker:../out/docker.tar", `docker-archive:${into}/docker.tar`],
    ] as const) {
      const { record } = await build(["--output", output, "--version", "1.2.3"], nowhere);
      expect(record.digest).toBe(cold.digest);
      const inspected = await run("skopeo", ["inspect", source]);
      expect(inspected.exitCode, inspected.stderr).toBe(0);
      const { Digest, Labels } = JSON.parse(inspected.stdout) as { Digest: string; Labels: Record<string, string> };
      expect(Labels["org.opencontainers.image.title"]).toBe("small");
      // A docker archive has a manifest of its own; its image is named by the config.
      if (output.startsWith("docker:")) {
        const raw = await run("skopeo", ["inspect", "--raw", source]);
        expect((JSON.parse(raw.stdout) as { config: { digest: string } }).config.digest).toBe(await configOf(cold.digest));
      } else expect(Digest).toBe(cold.digest);
    }
    expect((await readdir(into)).sort()).toEqual(["docker.tar", "layout", "small.tar"]);
  });

  test("podman loads the docker archive, with the name that was asked for", async (context) => {
    const missing = await lacking("podman");
    if (missing !== null) return context.skip(missing);
    const storage = [
      "--root",
      join(small.root, "containers"),
      "--runroot",
      join(small.root, "containers-run"),
      "--storage-driver",
      "overlay",
    ];
    try {
      const loaded = await run("podman", [...storage, "load", "--quiet", "--input", join(small.root, "out/docker.tar")]);
      expect(loaded.exitCode, loaded.stderr).toBe(0);
      expect(loaded.stdout).toBe("Loaded image: registry.example/team/small:1.2.3\n");
      const inspected = await run("podman", [
        ...storage,
        "image",
        "inspect",
        "--format",
        "{{.Id}} {{.User}}",
        "registry.example/team/small:1.2.3",
      ]);
      expect(inspected.stdout).toBe(`${(await configOf(cold.digest)).replace("sha256:", "")} 1234:0\n`);
    } finally {
      await run("podman", [...storage, "rmi", "--all", "--force"]);
      await run("umount", [join(small.root, "containers/overlay")]);
    }
  });

  const configOf = async (digest: string): Promise<string> => {
    const manifest = await readFile(state(`layout/blobs/${digest.replace(":", "/")}`), "utf8");
    return (JSON.parse(manifest) as { config: { digest: string } }).config.digest;
  };

  test("a changed file of the application leaves what stands below it alone", async () => {
    await small.edit("app/src/small/__main__.py", (text) => text.replace("world", "moon"));
    const { record } = await build();
    expect(actionsOf(record)).toMatchObject({ "base-tools": "reuse", dependencies: "reuse" });
    expect(actionsOf(record)["application"]).not.toBe("reuse");
    expect(record.digest).not.toBe(cold.digest);
    const below = ({ platforms }: BuildRecord) => platforms[0]!.stages.slice(0, 2);
    expect(below(record)).toEqual(below(cold));
    const { stdout } = await factory(small.project, ["shell", "--command", "python3 -m small"], small.env);
    expect(stdout).toBe("hello: moon\n");
  });

  test("a change that is taken back is the image that was there", async () => {
    await small.edit("app/src/small/__main__.py", (text) => text.replace("moon", "world"));
    expect((await build([], nowhere)).record).toMatchObject({ digest: cold.digest });
  });

  test("a changed description executes no dependencies", async () => {
    await small.edit("app/pyproject.toml", (text) => text.replace("in small", "in the small"));
    const { stdout } = await factory(small.project, ["plan", "--json"], small.env);
    const { plans } = JSON.parse(stdout) as { plans: { stages: { stage: string; action: string }[] }[] };
    expect(plans[0]!.stages.filter(({ action }) => action === "reuse").map(({ stage }) => stage)).toEqual([
      "base-tools",
      "dependencies",
    ]);
    await small.edit("app/pyproject.toml", (text) => text.replace("in the small", "in small"));
  });

  test("STAGE ends the build there", async () => {
    const { record } = await build([], { ...nowhere, FACTORY_STAGE: "dependencies" });
    expect(actionsOf(record)).toEqual({ "base-tools": "reuse", dependencies: "reuse" });
    expect(record.digest).toBe(cold.platforms[0]!.stages[1]!.digest);
  });

  test("NO_CACHE executes everything again, and it comes out equal", async () => {
    const { record, stderr } = await build([], { FACTORY_NO_CACHE: "1" });
    expect(actionsOf(record)).toMatchObject({ "base-tools": "compare", dependencies: "compare" });
    expect(record.digest).toBe(cold.digest);
    // What is named by its checksum is not asked for again.
    expect(stderr.split("\n").filter((line) => line.endsWith("CACHED") && !line.includes("download hello"))).toEqual([]);
  });

  test("another machine, with nothing but the checkout and the base, gets the same digest", async () => {
    const other = await mkdtemp(join(tmpdir(), "factory-other-"));
    try {
      await cp(small.project, join(other, "elsewhere"), { recursive: true });
      const env = { FACTORY_STATE: join(other, "state") };
      await small.giveBase(env.FACTORY_STATE);
      const { record } = await built(join(other, "elsewhere"), [], env);
      expect(actionsOf(record)).toMatchObject({ "base-tools": "execute", dependencies: "execute" });
      expect(record.digest).toBe(cold.digest);
    } finally {
      await rm(other, { recursive: true, force: true });
    }
  });
});
