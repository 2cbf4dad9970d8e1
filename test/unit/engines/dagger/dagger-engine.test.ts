import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { daggerEngine } from "../../../../ci/engines/dagger/dagger-engine.js";
import type { Engine, Job } from "../../../../ci/engines/interface/engine.js";
import { readManifest } from "../../../../dagger/src/oci-layout/blobs.js";
import type { BuildEvent } from "../../../../dagger/src/pipeline/common/build-event.js";
import type { ImageIndex } from "../../../../dagger/src/pipeline/oci/manifest.js";
import type { StageName } from "../../../../dagger/src/pipeline/common/stage.js";
import { exportAnswers, exportImported } from "../../../dagger-session/exported.js";
import type { Call } from "../../../dagger-session/query.js";
import { EngineError, openSession, type Session } from "../../../dagger-session/session.js";
import { planOf } from "../../../fixtures/box.js";

/** The engine `dagger` of the command line against a session that remembers: what is asked, told and left behind. */
let folder: string;
let session: Session;
let engine: Engine;
/** What the next command answers with; by its text. */
let outcome: (chain: readonly Call[]) => string | EngineError;

const commandOf = (chain: readonly Call[]): string =>
  String((chain.findLast(({ field }) => field === "withExec")?.args["args"] as string[] | undefined)?.at(-1));
const took = (milliseconds: number, text = "") => `${text}\ntook ${milliseconds} ms\n`;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "dagger-engine-"));
  mkdirSync(join(folder, "context"));
  session = await openSession(
    (chain) => {
      const { field } = chain.at(-1)!;
      if (field !== "sync" && field !== "combinedOutput") return undefined;
      const said = outcome(chain);
      if (said instanceof EngineError) throw said;
      return field === "combinedOutput" ? said : undefined;
    },
    exportImported(folder, "late"),
    exportAnswers,
  );
  Object.assign(process.env, session.env);
});
beforeEach(() => {
  session.asked.length = 0;
  outcome = () => took(0);
  engine = daggerEngine("a session", null);
});
afterAll(async () => {
  delete process.env["DAGGER_SESSION_PORT"];
  delete process.env["DAGGER_SESSION_TOKEN"];
  await session.close();
  rmSync(folder, { recursive: true, force: true });
});

const plan = planOf();
const jobOf = (name: StageName, more: Partial<Job> = {}): Job => ({
  stage: name,
  platform: plan.platform,
  dockerfile: "",
  planned: { plan, stage: plan.stages.find(({ stage }) => stage === name)!, caches: "image-factory-branch-0" },
  context: join(folder, "context"),
  images: {},
  folders: {},
  buildArgs: {},
  secrets: [],
  epoch: plan.epoch,
  labels: [],
  compression: plan.compression,
  noCache: false,
  output: { to: "oci-layout", folder: join(folder, "layout"), name },
  ...more,
});

const execute = async (job: Job, signal = new AbortController().signal) => {
  const events: BuildEvent[] = [];
  try {
    const { digest } = await engine.execute(job, (event) => events.push(event), signal);
    return { digest, events };
  } catch (error) {
    return { error: error as Error, events };
  } finally {
    await engine.release();
  }
};
const told = (events: readonly BuildEvent[]) =>
  events.map((event) => {
    if (event.type === "step-started") return `${event.step} ${event.stage} ${event.name}`;
    if (event.type === "step-ended")
      return `${event.step} ${event.cached ? "cached" : "done"}${event.error === undefined ? "" : ` ${event.error}`}`;
    return event.type === "step-output" ? `${event.step} ${JSON.stringify(event.text)}` : event.type;
  });

describe("a stage", () => {
  test("its commands as events: what each printed, and whether its result was remembered", async () => {
    outcome = (chain) => (commandOf(chain).includes("apt-get") ? took(1_000_000, "Reading lists\n") : took(0));
    const { digest, events } = await execute(jobOf("base-tools"));
    expect(digest).toMatch(/^sha256:/);
    expect(told(events)).toEqual([
      "base-tools/amd64/0 base-tools install 2 packages with apt (3 locked)",
      'base-tools/amd64/0 "Reading lists\\n"',
      "base-tools/amd64/0 cached",
      "base-tools/amd64/1 base-tools unpack task 1.0.0",
      "base-tools/amd64/1 done",
      "base-tools/amd64/2 base-tools place /etc/box.conf, /etc/from",
      "base-tools/amd64/2 done",
      "base-tools/amd64/export base-tools export the layers",
      "base-tools/amd64/export done",
    ]);
  });

  test("is an image in the layout, named, and nothing else of it is left", async () => {
    const { digest } = await execute(jobOf("base-tools"));
    const layout = join(folder, "layout");
    const { manifests } = JSON.parse(readFileSync(join(layout, "index.json"), "utf8")) as ImageIndex;
    expect(manifests.filter(({ annotations }) => annotations?.["org.opencontainers.image.ref.name"] === "base-tools")).toEqual([
      expect.objectContaining({ digest, platform: { os: "linux", architecture: "amd64" } }),
    ]);
    expect(readManifest(layout, digest!).layers).toHaveLength(2);
    expect(readdirSync(layout).filter((name) => name.startsWith(".dagger-"))).toEqual([]);
  });

  test("is built on its parent, which the engine is given as a tar", async () => {
    const layout = join(folder, "layout");
    const parent = (await execute(jobOf("base-tools"))).digest!;
    session.asked.length = 0;
    const { digest } = await execute(jobOf("dependencies", { images: { "base-tools": { layout, digest: parent } } }));
    const first = session.asked.find((chain) => chain.at(-1)?.field === "sync");
    expect(first!.slice(0, 2).map(({ field }) => field)).toEqual(["container", "import"]);
    expect(session.chainOf(first![1]!.args["source"])!.map(({ field }) => field)).toEqual(["host", "file"]);
    const [below, whole] = [parent, digest!].map((one) => readManifest(layout, one).layers);
    expect(whole!.slice(0, below!.length)).toEqual(below);
    expect(whole).toHaveLength(below!.length + 1);
  });

  test("noCache executes again what the engine remembers", async () => {
    const variables = () =>
      session.asked
        .flat()
        .flatMap(({ field, args }) =>
          field === "withEnvVariable" && args["name"] === "IMAGE_FACTORY_FRESH" ? [args["value"]] : [],
        );
    await execute(jobOf("base-tools"));
    expect(variables()).toEqual([]);
    await execute(jobOf("base-tools", { noCache: true }));
    const once = new Set(variables());
    expect(once.size).toBe(1);
    await execute(jobOf("base-tools", { noCache: true }));
    expect(new Set(variables()).size).toBe(2);
  });

  test("a secret's value is never asked for, and another value runs nothing again", async () => {
    await execute(jobOf("base-tools", { secrets: [{ id: "host-ca", file: "/somewhere/ca.pem" }] }));
    const secrets = session.asked.filter(([first]) => first?.field === "secret");
    expect(secrets.map(([first]) => first!.args)).toContainEqual({
      uri: "file:///somewhere/ca.pem",
      cacheKey: "image-factory-host-ca",
    });
    expect(session.asked.some((chain) => chain.at(-1)?.field === "plaintext")).toBe(false);
  });
});

describe("what goes wrong", () => {
  test("a command that fails ends the stage, by its name and with what it printed", async () => {
    outcome = (chain) => {
      if (!commandOf(chain).includes("apt-get")) return took(0);
      const cmd = ["/bin/sh", "-eu", "-c", commandOf(chain)];
      return new EngineError("process did not complete successfully: exit code 100", {
        cmd,
        exitCode: 100,
        stdout: "Reading\n",
        stderr: "E: gone\n",
      });
    };
    const { error, events } = await execute(
      jobOf("base-tools", { output: { to: "oci-layout", folder: join(folder, "none"), name: "x" } }),
    );
    expect(error).toMatchObject({
      code: "STEP_FAILED",
      explanation: { what: expect.stringContaining("exit code 100: install 2 packages with apt"), why: "Reading\nE: gone" },
    });
    expect(told(events).at(-1)).toMatch(/^base-tools\/amd64\/0 done .*exit code 100/);
    expect(existsSync(join(folder, "none", "index.json"))).toBe(false);
  });

  test.each([
    ["failed to resolve docker.io/library/debian:12: pull access denied", "BASE_UNREACHABLE"],
    ["http checksum mismatch: expected sha256:aa, got sha256:bb", "CHECKSUM_MISMATCH"],
    ["write /x: no space left on device", "DISK_FULL"],
    ["exec /bin/sh: exec format error", "PLATFORM_UNSUPPORTED"],
    ["something nobody has seen", "ENGINE_FAILED"],
  ])("%s is %s", async (message, code) => {
    outcome = () => new EngineError(message);
    expect((await execute(jobOf("base-tools"))).error).toMatchObject({ code });
  });

  test("another output than an image is refused before anything is asked", async () => {
    const { error } = await execute(jobOf("base-tools", { output: { to: "tar", file: join(folder, "x.tar") } }));
    expect(error).toMatchObject({ code: "ENGINE_FAILED" });
    expect(session.asked.filter(([first]) => first?.field === "container")).toEqual([]);
  });

  test("an interruption does not wait for the engine", async () => {
    const stop = new AbortController();
    outcome = () => {
      stop.abort();
      return took(0);
    };
    expect((await execute(jobOf("base-tools"), stop.signal)).error).toMatchObject({ code: "INTERRUPTED" });
  });
});
