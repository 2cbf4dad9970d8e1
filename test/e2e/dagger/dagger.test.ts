import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { addRootImage, readTar } from "../../../ci/bootstrap/layout.js";
import { acquireEmbedded, type Lease } from "../../../ci/engines/embedded/lease.js";
import { run } from "../../../ci/host/process.js";
import { gatherSecrets } from "../../../ci/host/secrets.js";
import { stateOf } from "../../../ci/state/state.js";
import { blobPath, readManifest } from "../../../dagger/src/oci-layout/blobs.js";
import type { ImageIndex } from "../../../dagger/src/pipeline/oci/manifest.js";
import type { BuildRecord } from "../../../dagger/src/pipeline/common/build-record.js";
import { builderAnswers } from "../../dagger-session/builder.js";
import { callModule } from "../../dagger-session/module.js";
import type { Call } from "../../dagger-session/query.js";
import { openSession, type Session } from "../../dagger-session/session.js";
import { folderOf, type Places, treeAnswers } from "../../dagger-session/tree.js";
import { actionsOf, built, factory } from "../support/factory.js";
import { lacking } from "../support/needs.js";
import { newerThanEpoch } from "../support/newer-than-epoch.js";
import { startRegistry, type TestRegistry } from "../support/registry.js";
import { openSmall, platform, type Small } from "../support/small.js";

/**
 * What Dagger would be asked to execute, executed: the client library talks to a session that hands each container to a real BuildKit, and
 * what comes out is held against what the rendered Dockerfile makes. Only the engine's own side of its API is missing.
 */
const absent = await lacking("mmdebstrap", "runc", "skopeo", "docker-registry");

describe.skipIf(absent !== null)(`Dagger's containers, executed${absent === null ? "" : ` (skipped: ${absent})`}`, () => {
  let small: Small;
  let registry: TestRegistry;
  let lease: Lease;
  let ours: BuildRecord;
  const layout = () => join(small.env["FACTORY_STATE"]!, "layout");

  beforeAll(async () => {
    small = await openSmall();
    writeFileSync(join(small.root, "token"), "swordfish");
    registry = await startRegistry(join(small.root, "registry"));
    // One daemon for everything here.
    await factory(small.project, ["engine", "start"], small.env);
    await built(small.project, ["--stage", "base-tools"], small.env);
    const reference = await pushBase();
    await small.edit("images.yaml", (text) =>
      text.replace(/ {6}bootstrap: debian\n.*\n.*\n/, `      image: ${reference}\n`).replace(
        /\ntools:\n/,
        `
  odd:
    repository: odd
    platforms: [${platform}]
    base: { image: "${reference}", packages: apt }
    stages:
      base-tools: {}
      dependencies: {}
      application: { to: /opt/odd, copy: [conf] }
      runtime: { run: ["cat /opt/odd/conf/small.conf > /srv/made"], workdir: /srv/odd/place, entrypoint: [/bin/cat] }
  boot:
    repository: boot
    platforms: [${platform}]
    base: { bootstrap: debian, suite: bookworm, include: [ca-certificates, python3, python3-pip, python3-venv], packages: apt }
    stages:
      base-tools: { packages: [jq], run: ["touch /tmp/x; rm -rf /tmp/* && echo gone > /dev/null"] }
      dependencies: {}
      application: {}
      runtime: {}
  broken:
    repository: broken
    platforms: [${platform}]
    base: { image: "${reference}", packages: apt }
    stages:
      base-tools: { tools: [hello], run: [rm /usr/local/bin/hello] }
      dependencies: {}
      application: {}
      runtime: { user: { name: small, uid: 1234 }, run: [chmod 700 /home/small] }
tools:
`,
      ),
    );
    // The pushed base is the bootstrapped one: what was locked on that holds on it.
    await small.edit("images.lock", (text) => text.replaceAll(/^(\s+on: ).*$/gm, `$1${reference.split("@")[0]}`));
    const { code, stderr } = await factory(small.project, ["lock"], small.env);
    if (code !== 0) throw new Error(stderr);
    await built(small.project, [], small.env);
    await built(small.project, ["--image", "odd"], small.env);
    await built(small.project, ["--image", "boot"], small.env);
    const env = { ...process.env, ...small.env };
    lease = await acquireEmbedded({ state: stateOf(small.project, env), env, report: () => undefined });
  });
  afterAll(async () => {
    await lease?.release();
    await registry?.close();
    await small.close();
  });

  /** The bootstrapped base as other people's images are: with a /dev. */
  const pushBase = async (): Promise<string> => {
    const { manifests } = JSON.parse(readFileSync(join(layout(), "index.json"), "utf8")) as ImageIndex;
    const base = manifests.find(({ annotations }) => annotations!["org.opencontainers.image.ref.name"]!.startsWith("base-"))!;
    const [layer] = readManifest(layout(), base.digest).layers;
    const [folder, tar] = [join(small.root, "base"), join(small.root, "base.tar")];
    mkdirSync(join(folder, "dev"), { recursive: true });
    copyFileSync(blobPath(layout(), layer!.digest), tar);
    const words = ["--append", "--file", tar, "--directory", folder, "--mtime=@0", "--owner=0", "--group=0", "dev"];
    expect(await run("tar", words)).toMatchObject({ exitCode: 0 });
    const image = {
      tar,
      architecture: platform === "linux/arm64" ? "arm64" : "amd64",
      epoch: 0,
      name: "base",
      createdBy: "base",
    } as const;
    await addRootImage(folder, image, await readTar(tar));
    return (await registry.push(`oci:${folder}:base`, "base")).reference;
  };

  /** A session over the BuildKit of this file. */
  const opened = async <T>(
    noCache: boolean,
    scratch: string,
    work: (session: Session, places: Places) => Promise<T>,
  ): Promise<T> => {
    mkdirSync(scratch, { recursive: true });
    const places = { workspaces: { here: { root: small.project, cwd: small.project } }, scratch };
    const session = await openSession(
      builderAnswers(lease, (chain: readonly Call[]) => folderOf(chain, places), { noCache }),
      treeAnswers(places),
      (chain) => (chain.at(-1)?.field === "defaultPlatform" ? platform : undefined),
    );
    try {
      return await work(session, places);
    } finally {
      await session.close();
    }
  };

  const compared = async (a: string, b: string) => {
    const { code, stdout, stderr } = await factory(small.project, ["compare", a, b, "--limit", "40"], small.env);
    expect(code, `${stdout}${stderr}`).toBe(0);
    return stdout;
  };

  describe("by the command line", () => {
    const build = (state: string, words: readonly string[], noCache = false) =>
      opened(noCache, join(small.root, "scratch"), (session) =>
        built(small.project, ["--verbose", ...words], {
          FACTORY_STATE: join(small.root, state),
          FACTORY_ENGINE: "dagger",
          FACTORY_BUILDKIT: undefined,
          ...{ FACTORY_SECRETS: `id=token,src=${join(small.root, "token")}`, ...session.env },
        }),
      );

    test("a build with ENGINE=dagger is the image that BuildKit makes of the Dockerfile", async () => {
      const { record, stderr } = await build("dagger-state", ["--output", "oci:../dagger"]);
      expect(actionsOf(record)).toEqual({
        "base-tools": "execute",
        dependencies: "execute",
        application: "assemble",
        runtime: "assemble",
      });
      expect(stderr).toContain("engine: dagger (session of dagger run): dagger was asked for");
      expect(stderr).toContain("the token has 9 characters");
      await compared("stage:small", "oci:../dagger");
      ours = record;
    });

    test("nothing in its layers is newer than the epoch", async () => {
      const folder = join(small.root, "dagger");
      const { layers } = readManifest(folder, ours.digest);
      expect((await Promise.all(layers.map((layer) => newerThanEpoch(folder, layer)))).flat()).toEqual([]);
    });

    test("executed again elsewhere, it has the same digest", async () => {
      const { record } = await build("other-state", [], true);
      expect(record.digest).toBe(ours.digest);
    });

    test("on a bootstrapped base it has the layers that BuildKit makes: as many, compressed, with a /dev that can be used", async () => {
      await small.giveBase(join(small.root, "boot-state"));
      const { record } = await build("boot-state", ["--image", "boot", "--output", "oci:../boot"]);
      const { record: other } = await built(small.project, ["--image", "boot"], small.env);
      const layersOf = (folder: string, digest: string) => readManifest(folder, digest).layers.map(({ mediaType }) => mediaType);
      expect(layersOf(join(small.root, "boot"), record.digest)).toEqual(layersOf(layout(), other.digest));
      await compared("stage:boot", "oci:../boot");
      const { layers } = readManifest(join(small.root, "boot"), record.digest);
      expect((await Promise.all(layers.map((layer) => newerThanEpoch(join(small.root, "boot"), layer)))).flat()).toEqual([]);
    });

    test("a step that fails is told by its name, with what it printed", async () => {
      const [good, bad] = ['echo "the token has ${#token} characters"', 'echo "no token"; false'];
      await small.edit("images.yaml", (text) => text.replace(good, bad));
      try {
        await expect(build("failed-state", [])).rejects.toThrow(
          /"code":"STEP_FAILED".*"what":"a step of base-tools failed with exit code 1: run .*","why":"no token"/,
        );
      } finally {
        await small.edit("images.yaml", (text) => text.replace(bad, good));
      }
    });
  });

  describe("by the module's functions", () => {
    const call = (name: string, args: Record<string, unknown>) => {
      const scratch = join(small.root, `module-${name}-${String(args["image"])}`);
      return opened(false, scratch, async (session, places) => {
        const workspace = session.idOf([{ field: "testWorkspace", args: { name: "here" } }]);
        const bundle = gatherSecrets({}, process.env, "fork").list.find((one) => "file" in one);
        const ca =
          bundle === undefined ? {} : { ca: session.idOf([{ field: "secret", args: { uri: `file://${bundle.file}` } }]) };
        const [told] = await callModule(session, scratch, [{ name, args: { workspace, ...ca, ...args } }]);
        if (told!.error !== undefined) throw new Error(told!.error);
        if (name === "testImage") return "";
        if (name === "report") return String(told!.result);
        const chain = session.chainOf(String(told!.result))!;
        if (name === "image") return folderOf(chain, places);
        const tar = join(scratch, "container.tar");
        const exported = [...chain, { field: "export", args: { path: tar, forcedCompression: "Zstd" } }];
        await builderAnswers(lease, (one) => folderOf(one, places))(exported, session);
        return tar;
      });
    };
    test("`image` is the command line's image with its digest", async () => {
      const folder = await call("image", { image: "small" });
      const { manifests } = JSON.parse(readFileSync(join(folder, "index.json"), "utf8")) as ImageIndex;
      expect(manifests.map(({ digest }) => digest)).toEqual([ours.digest]);
    });

    test("`build` is a container with the same config and root filesystem", async () => {
      await compared("stage:small", `tar:${await call("build", { image: "small" })}`);
    });

    test("`report` says of it what the command line says", async () => {
      const env = { ...small.env, FACTORY_STATE: join(small.root, "dagger-state"), FACTORY_REMOTE: "off" };
      const { code, stdout, stderr } = await factory(small.project, ["report"], env);
      expect(code, stderr).toBe(0);
      expect(stdout).toMatch(/^small for /);
      expect(await call("report", { image: "small" })).toBe(stdout.replace("; all of them: -- --json", ""));
    });

    test("`testImage` finds in it what the plan promises", async () => {
      await expect(call("testImage", { image: "small" })).resolves.toBe("");
      await expect(call("testImage", { image: "broken" })).rejects.toThrow(
        /^error IMAGE_FAILED: the image broken for .*\n {2}tool hello: exit \d+: .*\n {2}any uid \/home\/small: exit \d+: .*Permission denied\n/,
      );
    });

    test("a stage that runs something on an assembled one is built on what the assembler made", async () => {
      await compared("stage:odd", `oci:${await call("image", { image: "odd" })}`);
      await compared("stage:odd", `tar:${await call("build", { image: "odd" })}`);
    });
  });
});
