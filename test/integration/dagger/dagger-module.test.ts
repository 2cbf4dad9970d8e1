import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openImage, openProject, planOf } from "../../../ci/project/project.js";
import { readManifest } from "../../../dagger/src/oci-layout/blobs.js";
import type { ImageConfig } from "../../../dagger/src/pipeline/oci/image-config.js";
import type { ImageIndex } from "../../../dagger/src/pipeline/oci/manifest.js";
import { renderedFiles } from "../../../dagger/src/pipeline/render/rendered-files.js";
import type { Platform } from "../../../dagger/src/pipeline/common/stage.js";
import { exportAnswers } from "../../dagger-session/exported.js";
import { callModule, type Told } from "../../dagger-session/module.js";
import { programOf } from "../../dagger-session/program.js";
import type { Call } from "../../dagger-session/query.js";
import { EngineError, openSession, type Session } from "../../dagger-session/session.js";
import { treeAnswers } from "../../dagger-session/tree.js";

/**
 * The module's functions as its runtime runs them: the library's own loading and invoking, planner and assembler at work on an exported
 * folder of a real container's kind, and an engine's end of the protocol that only remembers and gives out files.
 */
const fixture = fileURLToPath(new URL("../fixtures/module", import.meta.url));
let folder: string;
let project: string;
let scratch: string;
let session: Session;
let told: Told[];
const token = "a-very-secret-token";

const has = (chain: readonly Call[], field: string, args: Record<string, unknown> = {}) =>
  chain.some((call) => call.field === field && Object.entries(args).every(([name, value]) => call.args[name] === value));

/** Nothing that is of arm64 works. */
const failing = (chain: readonly Call[]): unknown => {
  const last = chain.at(-1)!;
  if (last.field === "sync" && has(chain, "container", { platform: "linux/arm64" }) && has(chain, "withExec")) {
    const cmd = chain.findLast(({ field }) => field === "withExec")!.args["args"] as string[];
    const [stdout, stderr] = ["Reading lists\n", "E: gone\n"];
    throw new EngineError("process did not complete successfully: exit code 100", { cmd, exitCode: 100, stdout, stderr });
  }
  return undefined;
};

type Secrets = Record<"good" | "twin" | "odd" | "token", string>;
const calls = (workspace: string, empty: string, source: string, odd: string, stale: string, secrets: Secrets) => [
  { name: "plan", args: { workspace } },
  { name: "planJson", args: { workspace, source, platform: "all", buildArgs: ["TASK_VERSION=1.0.0"] } },
  { name: "dockerfile", args: { workspace } },
  { name: "lint", args: { workspace } },
  { name: "build", args: { workspace, platform: "amd64", secrets: [secrets.good] } },
  { name: "baseTools", args: { workspace, image: "bootstrapped" } },
  { name: "image", args: { workspace, platform: "linux/amd64" } },
  { name: "image", args: { workspace: null, source, platform: "linux/amd64" } },
  { name: "build", args: { workspace } },
  { name: "build", args: { workspace: empty } },
  { name: "stage", args: { workspace, name: "runtme" } },
  { name: "plan", args: { workspace, image: "bx" } },
  { name: "plan", args: { workspace, platform: "linux/amd46" } },
  { name: "plan", args: { workspace, buildArgs: ["TASK_VERSION=2.0.0"] } },
  { name: "build", args: { workspace, platform: "all" } },
  { name: "build", args: { workspace, secrets: [secrets.odd] } },
  { name: "build", args: { workspace, secrets: [secrets.good, secrets.twin] } },
  { name: "publish", args: { workspace, registry: "localhost:5000", username: "ann", token: secrets.token } },
  { name: "publish", args: { workspace, username: "ann" } },
  { name: "publish", args: { workspace, cache: "wirte" } },
  { name: "publish", args: { workspace, tags: ["cache-x"] } },
  { name: "lint", args: { workspace: null, source: odd } },
  { name: "image", args: { workspace: null, source: stale, platform: "linux/amd64" } },
  { name: "planJson", args: { workspace: null, source: odd, platform: "amd64,linux/amd64" } },
];

/** Images that are called as folders of a function's own are. */
const oddYaml = `registry: registry.example/team
images:${["source", "committed", "images"]
  .map(
    (name) => `
  ${name}:
    repository: ${name}
    platforms: [linux/amd64]
    base: { image: "registry.example/base@sha256:${"0".repeat(64)}", packages: apt }
    stages: { base-tools: {}, dependencies: {}, application: {}, runtime: {} }`,
  )
  .join("")}
`;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "dagger-module-"));
  const repository = join(folder, "repository");
  project = join(repository, "services", "box");
  scratch = join(folder, "scratch");
  cpSync(fixture, project, { recursive: true });
  // What must not travel: ignored trees inside what is wanted, and everything that no step reads.
  for (const junk of ["app/node_modules/big.js", "huge.iso", ".git/objects/pack", "../other/file"]) {
    mkdirSync(join(project, junk, ".."), { recursive: true });
    writeFileSync(join(project, junk), "junk");
  }
  const [below, beside] = [join(project, "app", "src"), join(repository, "services", "other")];
  mkdirSync(join(folder, "odd"));
  writeFileSync(join(folder, "odd", "images.yaml"), oddYaml);
  // A package that images.lock has no version of.
  cpSync(fixture, join(folder, "stale"), { recursive: true });
  const yaml = readFileSync(join(fixture, "images.yaml"), "utf8");
  writeFileSync(join(folder, "stale", "images.yaml"), yaml.replace("packages: [jq]", "packages: [jq, tree]"));
  const workspaces = { below: { root: repository, cwd: below }, beside: { root: repository, cwd: beside } };
  session = await openSession(
    treeAnswers({ workspaces, folders: { source: project, odd: join(folder, "odd"), stale: join(folder, "stale") }, scratch }),
    failing,
    exportAnswers,
    (chain) => (chain.at(-1)?.field === "defaultPlatform" ? "linux/arm64/v8" : undefined),
    (chain) => (chain.at(-1)?.field === "uri" ? String(chain[0]!.args["uri"]) : undefined),
    (chain) => (chain.at(-1)?.field === "name" ? "" : undefined),
    (chain) => (chain.at(-1)?.field === "plaintext" ? token : undefined),
  );
  const id = (field: string, args: Record<string, string>) => session.idOf([{ field, args }]);
  const secrets = {
    good: id("secret", { uri: "env://BOX_INDEX?cacheKey=index" }),
    twin: id("secret", { uri: "env://BOX_INDEX" }),
    odd: id("secret", { uri: "env://OTHER" }),
    token: id("secret", { uri: "env://TOKEN" }),
  };
  const [workspace, empty] = [id("testWorkspace", { name: "below" }), id("testWorkspace", { name: "beside" })];
  const [source, odd, stale] = ["source", "odd", "stale"].map((name) => id("testDirectory", { name })) as [
    string,
    string,
    string,
  ];
  told = await callModule(session, scratch, calls(workspace, empty, source, odd, stale, secrets));
});
afterAll(async () => {
  await session.close();
  rmSync(folder, { recursive: true, force: true });
});

const resultOf = (name: string, at = 0): string => {
  const one = told.filter((call) => call.name === name)[at]!;
  if (one.error !== undefined) throw new Error(`${name}: ${one.error}`);
  return String(one.result);
};
const chainOf = (name: string, at = 0) => session.chainOf(resultOf(name, at))!;

const cliPlan = async (platform: Platform = "linux/amd64") => {
  const world = { cwd: project, env: { FACTORY_STATE: join(folder, "state") } };
  const opened = await openProject(world);
  const open = await openImage(opened, undefined);
  return { opened, open, plan: planOf(opened, open, platform, {}) };
};

describe("planning", () => {
  test("of the nearest images.yaml above the caller, for what the engine executes, with the keys of the command line", async () => {
    const { plan } = await cliPlan("linux/arm64");
    const text = resultOf("plan");
    for (const { stage, key } of plan.stages) expect(text).toMatch(new RegExp(`${stage} +${key.slice(0, 12)} `));
    expect(text).toContain("context 154 B in 3 files\n");
  });

  test("as JSON, for every platform, of a directory that is handed over", async () => {
    const { plan } = await cliPlan();
    const chain = chainOf("planJson");
    expect(chain.at(-1)).toEqual({ field: "file", args: { path: "plan.json" } });
    const json = JSON.parse(String(chain.at(-2)!.args["contents"])) as {
      plans: { platform: string; stages: { key: string }[] }[];
    };
    expect(json.plans.map(({ platform }) => platform)).toEqual(["linux/amd64", "linux/arm64"]);
    expect(json.plans[0]!.stages.map(({ key }) => key)).toEqual(plan.stages.map(({ key }) => key));
  });

  test("the Dockerfile that `render` writes", async () => {
    const { opened, open } = await cliPlan();
    const plans = open.image.platforms.map((platform) => planOf(opened, open, platform, {}));
    const [{ text }] = renderedFiles(opened.spec, open.name, plans, open.wanted);
    expect(chainOf("dockerfile").at(-2)!.args["contents"]).toBe(text);
  });

  test("a lint that finds nothing, whatever images are called", () => {
    const lints = told.filter(({ name }) => name === "lint");
    expect(lints).toHaveLength(2);
    for (const lint of lints) expect(lint).not.toHaveProperty("error");
  });

  test("a platform that is named twice is one", () => {
    const { plans } = JSON.parse(String(chainOf("planJson", 1).at(-2)!.args["contents"])) as { plans: unknown[] };
    expect(plans).toHaveLength(1);
  });

  test("asks for nothing but what is declared", () => {
    const asked = session.asked.filter((chain) => chain.at(-1)?.field === "export" && has(chain, "testWorkspace"));
    expect(asked.every((chain) => chain.length === 3 && chain[1]!.field === "directory")).toBe(true);
    const patterns = new Set(asked.map((chain) => JSON.stringify(chain[1]!.args["include"])));
    expect([...patterns].sort()).toEqual([
      '["app","conf/box.conf"]',
      '["app/pyproject.toml","app/setup.cfg","app/setup.py"]',
      '["builder/*Dockerfile*"]',
      '["images.yaml","images.lock",".dockerignore"]',
    ]);
    const excluded = asked.flatMap((chain) => JSON.stringify(chain[1]!.args["exclude"]));
    expect(excluded).toContain(JSON.stringify(["**/node_modules", "**/*.md", "**/.git", "**/.factory"]));
  });
});

describe("containers", () => {
  test("build runs every stage before it answers, and hands over what is declared", async () => {
    const synced = session.asked.filter((chain) => chain.at(-1)?.field === "sync" && has(chain, "from"));
    expect(synced.length).toBeGreaterThanOrEqual(4);
    await expect(
      programOf(chainOf("build"), session).replaceAll(/image-factory-\w{6}/g, "image-factory-XXXXXX"),
    ).toMatchFileSnapshot("../fixtures/module.build.txt");
  });

  test("a bootstrapped base is made in a container", async () => {
    await expect(programOf(chainOf("baseTools"), session)).toMatchFileSnapshot("../fixtures/module.bootstrap.txt");
  });
});

describe("the image", () => {
  const layout = (at = 0) => {
    const chain = chainOf("image", at);
    expect(chain[1]).toMatchObject({ field: "workdir" });
    return join(scratch, String(chain[1]!.args["path"]));
  };
  const indexIn = (at: string) => JSON.parse(readFileSync(join(at, "index.json"), "utf8")) as ImageIndex;

  test("is an OCI layout of exactly one image, the engine's layers below and the assembler's above", () => {
    const at = layout();
    const manifest = readManifest(at, indexIn(at).manifests[0]!.digest);
    expect(manifest.layers.map(({ mediaType }) => mediaType.split("+")[1])).toEqual(["gzip", "gzip", "gzip", "zstd", "zstd"]);
    const config = JSON.parse(readFileSync(join(at, "blobs", manifest.config.digest.replace(":", "/")), "utf8")) as ImageConfig;
    expect(config.created).toBe("1980-01-02T00:00:00Z");
    expect(config.history?.map(({ created_by }) => created_by?.split(":")[0])).toEqual([
      "image-factory base-tools",
      "image-factory base-tools",
      "image-factory dependencies",
      "image-factory application",
      "image-factory runtime",
    ]);
    expect(config.config).toMatchObject({ Cmd: ["box"], User: "1001:0", WorkingDir: "/workspace" });
    expect(config.config).not.toHaveProperty("OnBuild");
  });

  test("is the same from a directory that is handed over, although the engine writes other times into what it exports", () =>
    expect(indexIn(layout(1))).toEqual(indexIn(layout())));
});

test("what a function throws is our message, and says no secret", async () => {
  const errors = told.flatMap(({ name, error }) => (error === undefined ? [] : [`${name}\n${error}\n`]));
  await expect(errors.join("\n")).toMatchFileSnapshot("../fixtures/module.errors.txt");
  expect(JSON.stringify([told, session.asked])).not.toContain(token);
});
