import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { acquireEmbedded, type Lease } from "../../ci/engines/embedded.js";
import { stateOf } from "../../ci/io/state.js";
import { readManifest } from "../../dagger/src/layout.js";
import type { ImageIndex } from "../../dagger/src/pipeline/oci.js";
import type { BuildRecord } from "../../dagger/src/pipeline/record.js";
import { builderAnswers } from "../dagger-session/builder.js";
import { callModule } from "../dagger-session/module.js";
import type { Call } from "../dagger-session/query.js";
import { openSession, type Session } from "../dagger-session/session.js";
import { folderOf, type Places, treeAnswers } from "../dagger-session/tree.js";
import { actionsOf, built, factory } from "./support/factory.js";
import { lacking } from "./support/needs.js";
import { startRegistry, type TestRegistry } from "./support/registry.js";
import { openSmall, platform, type Small } from "./support/small.js";

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
    registry = await startRegistry(join(small.root, "registry"));
    // One daemon for everything here.
    await factory(small.project, ["engine", "start"], small.env);
    await built(small.project, ["--stage", "base-tools"], small.env);
    const { manifests } = JSON.parse(readFileSync(join(layout(), "index.json"), "utf8")) as ImageIndex;
    const base = manifests
      .map(({ annotations }) => annotations!["org.opencontainers.image.ref.name"]!)
      .find((name) => name.startsWith("base-"));
    const { reference } = await registry.push(`oci:${layout()}:${base}`, "base");
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
tools:
`,
      ),
    );
    const { code, stderr } = await factory(small.project, ["lock"], small.env);
    if (code !== 0) throw new Error(stderr);
    ours = (await built(small.project, [], small.env)).record;
    await built(small.project, ["--image", "odd"], small.env);
    const env = { ...process.env, ...small.env };
    lease = await acquireEmbedded({ state: stateOf(small.project, env), env, report: () => undefined });
  });
  afterAll(async () => {
    await lease?.release();
    await registry?.close();
    await small.close();
  });

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
    let record: BuildRecord;
    let stderr: string;
    const state = (name: string) => ({
      FACTORY_STATE: join(small.root, name),
      FACTORY_ENGINE: "dagger",
      FACTORY_BUILDKIT: undefined,
    });

    test("a build with ENGINE=dagger is the image that BuildKit makes of the Dockerfile", async () => {
      await opened(false, join(small.root, "scratch"), async (session) => {
        ({ record, stderr } = await built(small.project, ["--output", "oci:../dagger", "--verbose"], {
          ...state("dagger-state"),
          ...session.env,
        }));
      });
      expect(actionsOf(record)).toEqual({
        "base-tools": "execute",
        dependencies: "execute",
        application: "assemble",
        runtime: "assemble",
      });
      expect(stderr).toContain("engine: dagger (session of dagger run): dagger was asked for");
      await compared("stage:small", "oci:../dagger");
    });
  });

  test("x", () => expect(callModule).toBeDefined());
  test("y", () => expect(readManifest(layout(), ours.digest)).toBeDefined());
});
