import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { BuildEvent } from "../../../dagger/src/pipeline/common/build-event.js";
import { type Binaries, ensureBinaries } from "../../../ci/engines/embedded/binaries.js";
import type { Setup } from "../../../ci/engines/embedded/lease.js";
import { embeddedCandidate } from "../../../ci/engines/candidates.js";
import { buildkitEngine } from "../../../ci/engines/buildkit/buildkit-engine.js";
import type { Engine, Job } from "../../../ci/engines/interface/engine.js";
import { ensureHostPrograms } from "../../../ci/host/programs.js";
import { stateOf } from "../../../ci/state/state.js";

/** An engine on a state folder of its own, and folders to build from; `close` ends the daemon and removes both. */
export type Bench = {
  setup: Setup;
  engine: Engine;
  folder(name: string, files: Readonly<Record<string, string>>): Promise<string>;
  /** A job whose Dockerfile starts from `base`: a static busybox and nothing else. */
  job(dockerfile: string, more?: Partial<Job>): Promise<Job>;
  execute(job: Job, signal?: AbortSignal): Promise<{ digest: string | null; events: BuildEvent[]; output: string }>;
  setupBinaries(): Promise<Binaries>;
  path(...parts: string[]): string;
  close(): Promise<void>;
};

const base = 'FROM scratch AS base\nCOPY --from=box busybox /bin/busybox\nSHELL ["/bin/busybox", "sh", "-c"]\n';

export async function openBench(options: { shared?: boolean } = {}): Promise<Bench> {
  const root = await mkdtemp(join(tmpdir(), "factory-engine-"));
  const shared = options.shared === true ? process.env["FACTORY_TEST_STATE"] : undefined;
  const env = { ...process.env, FACTORY_STATE: shared ?? join(root, "state") };
  const setup: Setup = { env, state: stateOf(root, env), report: () => undefined };
  const engine = buildkitEngine((await embeddedCandidate(setup)).connection);
  const busybox = (await ensureHostPrograms([{ program: "busybox", apt: "busybox-static" }], env, () => undefined)).get(
    "busybox",
  );
  await mkdir(join(root, "box"));
  await copyFile(busybox ?? "", join(root, "box", "busybox"));
  return {
    setup,
    engine,
    setupBinaries: () => ensureBinaries(setup.state.cache, env, () => undefined),
    path: (...parts) => join(root, ...parts),
    async folder(name, files) {
      for (const [path, text] of Object.entries(files)) {
        await mkdir(dirname(join(root, name, path)), { recursive: true });
        await writeFile(join(root, name, path), text);
      }
      return join(root, name);
    },
    async job(dockerfile, more = {}) {
      await mkdir(join(root, "empty"), { recursive: true });
      return {
        stage: "base-tools",
        platform: process.arch === "arm64" ? "linux/arm64" : "linux/amd64",
        dockerfile: `${base}FROM base AS base-tools\n${dockerfile}\n`,
        context: join(root, "empty"),
        images: {},
        folders: { box: join(root, "box") },
        buildArgs: {},
        secrets: [],
        epoch: 315_619_200,
        compression: "zstd",
        noCache: false,
        labels: [],
        output: { to: "oci-layout", folder: join(root, "layout"), name: "base-tools" },
        ...more,
      };
    },
    async execute(job, signal = new AbortController().signal) {
      const events: BuildEvent[] = [];
      const { digest } = await engine.execute(job, (event) => events.push(event), signal);
      const output = events.map((event) => (event.type === "step-output" ? event.text : "")).join("");
      return { digest, events, output };
    },
    async close() {
      await engine.release();
      await rm(root, { recursive: true, force: true });
    },
  };
}

type Descriptor = { digest: string; annotations?: Record<string, string> };
export type Manifest = { mediaType: string; config: Descriptor; layers: Descriptor[] };

export const blobPath = (layout: string, digest: string) => join(layout, "blobs", "sha256", digest.replace("sha256:", ""));

export const manifestOf = async (layout: string, digest: string | null): Promise<Manifest> =>
  JSON.parse(await readFile(blobPath(layout, digest ?? ""), "utf8")) as Manifest;

export const namesIn = async (layout: string): Promise<Record<string, string>> => {
  const index = JSON.parse(await readFile(join(layout, "index.json"), "utf8")) as {
    manifests: Descriptor[];
  };
  return Object.fromEntries(index.manifests.map((one) => [one.annotations?.["org.opencontainers.image.ref.name"], one.digest]));
};
