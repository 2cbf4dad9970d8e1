import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { binariesIn } from "../../../ci/engines/embedded/binaries.js";
import { type Places as DaemonPlaces, placesOf, startDaemon, stopDaemon } from "../../../ci/engines/embedded/daemon.js";
import { daemonConfig } from "../../../ci/engines/embedded/daemon-config.js";
import { findProgram } from "../../../ci/host/programs.js";
import { stateOf } from "../../../ci/state/state.js";
import type { ImageIndex } from "../../../dagger/src/pipeline/oci/manifest.js";
import { builderAnswers } from "../../dagger-session/builder.js";
import { callModule } from "../../dagger-session/module.js";
import { openSession } from "../../dagger-session/session.js";
import { folderOf, treeAnswers } from "../../dagger-session/tree.js";
import { built, factory } from "../support/factory.js";
import { lacking } from "../support/needs.js";
import { openSmall, platform, type Small } from "../support/small.js";

/** The module's own bootstrap of Debian, executed: a command with all capabilities, in an image that stands for debian:bookworm-slim. */
const absent = await lacking("mmdebstrap", "runc");

describe.skipIf(absent !== null)(`the module's bootstrapped base${absent === null ? "" : ` (skipped: ${absent})`}`, () => {
  let small: Small;
  let places: DaemonPlaces;
  let buildctl: string;
  beforeAll(async () => {
    small = await openSmall();
    const env = { ...process.env, ...small.env };
    await built(small.project, ["--stage", "base-tools"], small.env);
    places = placesOf(join(small.root, "daemon"));
    mkdirSync(places.holders, { recursive: true });
    writeFileSync(join(places.holders, "keep"), "");
    const binaries = await binariesIn(stateOf(small.project, env).cache);
    buildctl = binaries.buildctl;
    const runc = (await findProgram("runc", env))!;
    const words = ["--config", places.config, "--root", places.root, "--addr", `unix://${places.socket}`];
    const config = daemonConfig({ runc, sockets: places.sockets, disk: "20GB", plainHttp: [], rootless: false });
    await startDaemon(places, [binaries.buildkitd, ...words, "--allow-insecure-entitlement", "security.insecure"], config, env);
  });
  afterAll(async () => {
    if (places !== undefined) await stopDaemon(places);
    await small?.close();
  });

  test("is made without --ca, and base-tools on it is what the command line makes", async () => {
    const layout = join(small.env["FACTORY_STATE"]!, "layout");
    const { manifests } = JSON.parse(readFileSync(join(layout, "index.json"), "utf8")) as ImageIndex;
    const { digest } = manifests.find(({ annotations }) => annotations!["org.opencontainers.image.ref.name"] === small.base)!;
    const scratch = join(small.root, "scratch");
    mkdirSync(scratch);
    const tree = { workspaces: { here: { root: small.project, cwd: small.project } }, scratch };
    const builder = builderAnswers({ buildctl, address: `unix://${places.socket}` }, (chain) => folderOf(chain, tree), {
      images: { "docker.io/library/debian:bookworm-slim": { layout, digest } },
    });
    const session = await openSession(builder, treeAnswers(tree), (chain) =>
      chain.at(-1)?.field === "defaultPlatform" ? platform : undefined,
    );
    try {
      const workspace = session.idOf([{ field: "testWorkspace", args: { name: "here" } }]);
      const [told] = await callModule(session, scratch, [{ name: "baseTools", args: { workspace } }]);
      expect(told!.error).toBeUndefined();
      const tar = join(scratch, "container.tar");
      const chain = session.chainOf(String(told!.result))!;
      await builder([...chain, { field: "export", args: { path: tar, forcedCompression: "Zstd" } }], session);
      const words = ["compare", "stage:small/base-tools", `tar:${tar}`, "--limit", "40"];
      const { stdout, stderr } = await factory(small.project, words, small.env);
      const differences = stdout.split("\n").filter((line) => line.startsWith("  ") && !/^ {2}[AB] {2}/.test(line));
      // Python compiles a module that it uses before dpkg's trigger does; BuildKit sets a folder to work in.
      const known = /^ {2}(?:\/usr\/(?:share|lib)\/python3\/\S+\.pyc: content|config\.WorkingDir: absent → \/$)/;
      expect(differences.filter((line) => !known.test(line))).toEqual([]);
      expect(stdout, stderr).toMatch(/^(?:different in \d points|equal: \d+ paths)/m);
    } finally {
      await session.close();
    }
  });
});
