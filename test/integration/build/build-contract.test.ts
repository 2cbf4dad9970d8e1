import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import type { Client } from "@dagger.io/dagger";
import { afterAll, beforeAll } from "vitest";
import { openImage, openProject } from "../../../ci/project/project.js";
import type { BuildContext, Executor } from "../../../dagger/src/build/ports.js";
import { containerExecutor } from "../../../dagger/src/dagger/container-executor.js";
import { contextOf } from "../../../dagger/src/dagger/sdk-types.js";
import { readBlob, readManifest, writeJson } from "../../../dagger/src/oci-layout/blobs.js";
import { platformNames } from "../../../dagger/src/pipeline/common/stage.js";
import type { ImageConfig } from "../../../dagger/src/pipeline/oci/image-config.js";
import { mediaTypes } from "../../../dagger/src/pipeline/oci/manifest.js";
import type { Plan } from "../../../dagger/src/pipeline/plan/types.js";
import type { Repository } from "../../../dagger/src/registry/client.js";
import { importedBy, layerOf, writeExport } from "../../dagger-session/exported.js";
import { type Answer, openSession, type Session } from "../../dagger-session/session.js";
import { buildContract, noise, type OpenExecutor, stores } from "../support/build-contract.js";
import { clientOf } from "../support/client.js";
import { type Item, layerIn } from "../support/layers.js";
import { startRegistry, type TestRegistry, whyNoRegistry } from "../support/registry.js";
import { startTokenRegistry } from "../support/token-registry.js";
import { openToolbox, type Toolbox } from "../support/toolbox.js";

/** The contract of a build, for each store with each cache and each executor that needs no engine. */
const login = { user: "ann", password: "a-very-secret-token" };
const why = await whyNoRegistry();

let root: string;
let box: Toolbox;
let plans: readonly Plan[];
let source: BuildContext["source"];
let session: Session;
let closeClient: () => Promise<void>;
let client: Client;
/** What the session's engine adds to a stage's content now, and where its files are. */
const engine = { mark: "", scratch: "" };
const registries: Record<string, TestRegistry> = {};

/** What an engine would leave of a stage. */
const itemsOf = (stage: string, mark: string): Item[] => [
  ...(stage === "base-tools"
    ? ([
        ...["etc/", "opt/", "home/", "tmp/"].map((name): Item => ({ name, type: "directory" })),
        { name: "etc/passwd", text: "root:x:0:0:root:/root:/bin/sh\n" },
        { name: "etc/group", text: "root:x:0:\n" },
      ] satisfies Item[])
    : []),
  { name: `opt/${stage}`, text: noise(`${stage} ${mark}`) },
];

/** Writes the stage's image with the files of the layout, as an engine would export it. */
const byLayers: OpenExecutor = ({ layout, mark, done }): Executor => ({
  async execute({ plan, stage, parent }) {
    await parent?.ensureLocal();
    const { diffId, ...layer } = await layerIn(layout, itemsOf(stage.stage, mark));
    const below = parent === null ? null : readManifest(layout, parent.digest);
    const diffs = below === null ? [] : readBlob<ImageConfig>(layout, below.config.digest).rootfs.diff_ids;
    const [os, architecture] = plan.platform.split("/");
    const config = { os, architecture, config: {}, rootfs: { type: "layers", diff_ids: [...diffs, diffId] }, history: [] };
    const { digest } = await writeJson(layout, mediaTypes.manifest, {
      schemaVersion: 2,
      mediaType: mediaTypes.manifest,
      config: await writeJson(layout, mediaTypes.config, config),
      layers: [...(below?.layers ?? []), layer],
    });
    done(stage.stage);
    return { digest, engine: "a test" };
  },
});

/** The module's executor, whose engine is the recorded session. */
const bySession: OpenExecutor = ({ layout, scratch, mark, done }): Executor => {
  Object.assign(engine, { mark, scratch });
  const executor = containerExecutor(
    {
      client,
      context: contextOf((path, include) => client.host().directory(join(source.folder, path), { include: [...include] })),
      secrets: new Map(),
      caches: "image-factory-branch-0",
      call: scratch,
    },
    { layout, scratch, asFile: (path) => client.currentModule().workdirFile(relative(scratch, path)) },
  );
  return {
    async execute(execution) {
      const result = await executor.execute(execution);
      done(execution.stage.stage);
      return result;
    },
  };
};

/** An export has a layer for each stage that its container was made of, on what was imported. */
const exports: Answer = async (chain, { chainOf }) => {
  const last = chain.at(-1)!;
  if (last.field !== "export") return undefined;
  const below = await importedBy(chain, { chainOf }, engine.scratch);
  const names = chain.flatMap(({ field, args }) => (field === "withAnnotation" ? [String(args["name"]).split(".").at(-1)!] : []));
  const own = await Promise.all(
    names.map((stage) =>
      layerOf(
        itemsOf(stage, engine.mark).map(({ text = "", mode, name, type }) => {
          return { name, text, ...(type === "directory" ? { type } : {}), mode: mode ?? (type === "directory" ? 0o755 : 0o644) };
        }),
      ),
    ),
  );
  await writeExport(chain, [...(below?.layers ?? []), ...own], below?.config ?? {});
  return last.args["path"];
};

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), "build-contract-"));
  box = await openToolbox();
  const project = await box.checkout();
  plans = await Promise.all(
    platformNames.map(async (one): Promise<Plan> => ({ ...(await box.plan(project, one)), compression: "gzip" })),
  );
  const open = await openImage(await openProject({ cwd: project, env: { FACTORY_STATE: join(root, "unused") } }), undefined);
  source = { folder: open.folder, snapshot: open.snapshot };
  session = await openSession(exports);
  Object.assign(process.env, session.env);
  const { connection, dag } = await import("@dagger.io/dagger");
  client = await new Promise<Client>((resolve, reject) => {
    const ended = Promise.withResolvers<void>();
    const whole = connection(async () => {
      resolve(dag);
      await ended.promise;
    });
    whole.catch(reject);
    closeClient = async () => {
      ended.resolve();
      await whole;
    };
  });
  if (why !== null) return;
  registries["basic"] = await startRegistry({ auth: login, delete: true });
  registries["tls"] = await startRegistry({ auth: login, tls: true });
  registries["tokens"] = await startTokenRegistry(login);
});
afterAll(async () => {
  await closeClient?.();
  delete process.env["DAGGER_SESSION_PORT"];
  delete process.env["DAGGER_SESSION_TOKEN"];
  await session?.close();
  for (const registry of Object.values(registries)) await registry.stop();
  await box?.close();
  rmSync(root, { recursive: true, force: true });
});

let count = 0;
const repositoryOf = (name: string) => (): Repository => {
  const { host, ca } = registries[name]!;
  const env = ca === undefined ? {} : { FACTORY_CA_FILE: ca };
  return clientOf(host, login, { env }).repository(`team/box-${++count}`, "push");
};
const lose = async ({ repository }: Repository, digest: string): Promise<void> => {
  const authorization = `Basic ${Buffer.from(`${login.user}:${login.password}`).toString("base64")}`;
  const url = `${registries["basic"]!.url}/v2/${repository}/blobs/${digest}`;
  const answer = await fetch(url, { method: "DELETE", headers: { authorization } });
  if (answer.status !== 202) throw new Error(`${answer.status} ${await answer.text()}`);
};
/** Nothing listens there: the port was given back. */
const unreachable = (): Repository => clientOf("127.0.0.1:1").repository("team/box", "push");

const caches: Readonly<Record<string, string | null>> = {
  "no cache": null,
  "registry with basic auth": "basic",
  "registry with TLS": "tls",
  "registry with tokens": "tokens",
};
const executors: Readonly<Record<string, OpenExecutor>> = { layers: byLayers, "recorded Dagger session": bySession };

for (const store of Object.keys(stores))
  for (const [cache, registry] of Object.entries(caches))
    for (const [executor, openExecutor] of Object.entries(executors)) {
      // How a registry is logged in to is no matter of the executor.
      if (executor !== "layers" && registry !== null && registry !== "basic") continue;
      buildContract({
        ...{ store, cache, executor, openExecutor },
        skip: registry === null ? null : why,
        repository: registry === null ? null : repositoryOf(registry),
        lose: registry === "basic" ? lose : null,
        unreachable: registry === null ? null : unreachable,
        root: () => root,
        plans: () => ({ plans, source }),
      });
    }
