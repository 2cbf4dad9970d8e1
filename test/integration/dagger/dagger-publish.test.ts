import { appendFileSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { run } from "../../../ci/host/process.js";
import { exportAnswers, exportImported } from "../../dagger-session/exported.js";
import { callModule, type Told } from "../../dagger-session/module.js";
import type { Call } from "../../dagger-session/query.js";
import { openSession, type Session } from "../../dagger-session/session.js";
import { treeAnswers } from "../../dagger-session/tree.js";
import { clientOf } from "../support/client.js";
import { startFaultyProxy } from "../support/faulty-proxy.js";
import { type Outside, outsideAddress, outsideOf, whyNoOutside } from "../support/outside.js";
import { startRegistry, type TestRegistry, whyNoRegistry } from "../support/registry.js";

/**
 * `publish` of the module into a real registry that asks for a login. A session stands in for the engine, whose exported folder holds
 * layers of the right kind; planner, assembler, refs and the registry's client are the module's own, in its own runtime.
 */
const why = (await whyNoRegistry()) ?? whyNoOutside();
const root = fileURLToPath(new URL("../../../", import.meta.url));
const login = { user: "ann", password: "a-very-secret-token" };

/** An image whose last stage runs something, on one that is assembled. */
const lateYaml = `  late:
    repository: late
    platforms: [linux/amd64, linux/arm64]
    base: { image: docker.io/library/debian:12, packages: apt }
    stages:
      base-tools: { packages: [jq] }
      dependencies: {}
      application: { to: /opt/box, copy: [app] }
      runtime: { run: ["touch /late"] }
`;

describe("publish", () => {
  let folder: string;
  let project: string;
  let registry: TestRegistry;
  /** The registry at an address that is not loopback: from a function, loopback is the function's own. */
  let outside: Outside;
  let first: string;

  beforeAll(async () => {
    if (why !== null) return;
    folder = mkdtempSync(join(tmpdir(), "dagger-publish-"));
    project = join(folder, "project");
    cpSync(fileURLToPath(new URL("../fixtures/module", import.meta.url)), project, { recursive: true });
    registry = await startRegistry({ auth: login });
    outside = await outsideOf(registry.host);
    const file = join(project, "images.yaml");
    const yaml = readFileSync(file, "utf8").replace("registry.example", outside.host);
    writeFileSync(file, yaml.replace(/^tools:$/m, `${lateYaml}tools:`));
  });
  beforeEach((ctx) => {
    if (why !== null) ctx.skip(why);
  });
  afterAll(async () => {
    await outside?.close();
    await registry?.stop();
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  });

  /** One call of `publish` in a runtime of its own, and everything that it asked the engine for. */
  const publish = async (
    args: Record<string, unknown>,
    password = login.password,
    ca = "",
    late = "late",
  ): Promise<{ told: Told; asked: Session["asked"] }> => {
    const scratch = mkdtempSync(join(folder, "scratch-"));
    const session = await openSession(
      treeAnswers({ workspaces: { here: { root: project, cwd: project } }, scratch }),
      exportImported(scratch, late),
      exportAnswers,
      (chain) => {
        if (chain.at(-1)?.field !== "plaintext") return undefined;
        return chain[0]!.args["uri"] === "file://ca.pem" ? readFileSync(ca, "utf8") : password;
      },
    );
    try {
      const workspace = session.idOf([{ field: "testWorkspace", args: { name: "here" } }]);
      const token = session.idOf([{ field: "secret", args: { uri: "env://TOKEN" } }]);
      const common = { workspace, platform: "linux/amd64", username: login.user, token, plainHttp: true };
      const trust =
        ca === "" ? {} : { ca: session.idOf([{ field: "secret", args: { uri: "file://ca.pem" } }]), plainHttp: false };
      const [told] = await callModule(session, scratch, [{ name: "publish", args: { ...common, ...trust, ...args } }]);
      expect(JSON.stringify([told, session.asked])).not.toContain(password);
      return { told: told!, asked: session.asked };
    } finally {
      await session.close();
    }
  };
  const executed = (asked: readonly (readonly Call[])[]) =>
    asked.filter((chain) => chain.some(({ field }) => field === "container")).map((chain) => chain.map(({ field }) => field));
  const tagged = async (tag: string) => clientOf(registry.host, login).repository("team/box").headManifest(tag);

  test("pushes the image, its stages' refs and the tags, and answers with the digest", async () => {
    const { told, asked } = await publish({ tags: ["1.0", "latest"] });
    expect(told.error).toBeUndefined();
    first = String(told.result);
    expect(first).toMatch(new RegExp(`^${outside.host.replaceAll(".", String.raw`\.`)}/team/box@sha256:[0-9a-f]{64}$`));
    const digest = first.split("@")[1];
    for (const tag of ["1.0", "latest"]) expect(await tagged(tag)).toMatchObject({ state: "found", value: { digest } });
    const tags = await clientOf(registry.host, login).repository("team/box").tags();
    const kinds = (tags.state === "found" ? tags.value : []).map((tag) => tag.replace(/[0-9a-f]{24}$/, ""));
    expect(kinds.sort()).toEqual(["1.0", "cache-base-tools-", "cache-dependencies-", "key-", "latest"]);
    expect(executed(asked).filter((fields) => fields.at(-1) === "export")).toHaveLength(2);
  });

  test("again: only tags move", async () => {
    const { told, asked } = await publish({ tags: ["1.1"] });
    expect(told.result).toBe(first);
    expect(await tagged("1.1")).toMatchObject({ value: { digest: first.split("@")[1] } });
    expect(executed(asked)).toEqual([]);
  });

  /** `publish` of the command line: which image it names, and whether that was published before. */
  const commandLine = async (...flags: string[]) => {
    const env = {
      FACTORY_STATE: join(folder, "state"),
      FACTORY_PLAIN_HTTP: outside.host,
      FACTORY_SCOPE: "protected",
      FACTORY_REGISTRY: `${outside.host}/team`,
      FACTORY_REGISTRY_USER: login.user,
      FACTORY_REGISTRY_TOKEN: login.password,
    };
    const tsx = join(root, "node_modules/tsx/dist/loader.mjs");
    const words = ["--import", tsx, join(root, "ci/main.ts"), "publish", ...flags, "--json"];
    const done = await run(process.execPath, words, { cwd: project, env });
    expect(done.exitCode, done.stderr).toBe(0);
    const { name, digest, published } = JSON.parse(done.stdout) as Record<string, string>;
    return { name: `${name}@${digest}`, published };
  };

  test("the command line finds it published", async () => {
    const found = await commandLine("--platform", "linux/amd64", "--tag", "1.2");
    expect(found).toEqual({ name: first, published: "before" });
  });

  test("a registry that refuses cached stages and the key tag gets the image and its tags all the same", async () => {
    const front = await startFaultyProxy(registry.host);
    const far = await outsideOf(front.host);
    try {
      const body = JSON.stringify({ errors: [{ code: "MANIFEST_INVALID", message: "unknown media type" }] });
      front.on({ path: /manifests\/(cache|key)-/, times: 1000, fault: { do: "answer", status: 400, body } });
      const { told } = await publish({ registry: `${far.host}/strict`, tags: ["1.0"] });
      expect(told.error).toBeUndefined();
      expect(String(told.result).split("@")[1]).toBe(first.split("@")[1]);
      const tags = await clientOf(registry.host, login).repository("strict/box").tags();
      expect(tags).toMatchObject({ state: "found", value: ["1.0"] });
      // What the image itself needs is still an error.
      front.on({ method: "PUT", path: /manifests\/2\.0$/, times: 1000, fault: { do: "answer", status: 400, body } });
      const refused = await publish({ registry: `${far.host}/strict`, tags: ["2.0"] });
      expect(String(refused.told.error)).toContain("REGISTRY_FAILED");
    } finally {
      await far.close();
      await front.stop();
    }
  });

  test("a changed file of the application executes nothing, and no container is asked for", async () => {
    appendFileSync(join(project, "app/src/box/cli.py"), "# changed\n");
    const { told, asked } = await publish({ tags: ["2.0"] });
    expect(told.error).toBeUndefined();
    expect(told.result).not.toBe(first);
    expect(executed(asked)).toEqual([]);
  });

  test("noCache and cache=off execute again, and the image is the same", async () => {
    const { told, asked } = await publish({ noCache: true, cache: "off" });
    expect(told.error).toBeUndefined();
    expect(await tagged("2.0")).toMatchObject({ value: { digest: String(told.result).split("@")[1] } });
    expect(executed(asked).filter((fields) => fields.at(-1) === "export")).toHaveLength(2);
  });

  test("several platforms: the second time only tags move, and the command line finds them published", async () => {
    const { told } = await publish({ platform: "all" });
    expect(told.error).toBeUndefined();
    const { told: again, asked } = await publish({ platform: "all", tags: ["both"] });
    expect(again.result).toBe(told.result);
    expect(executed(asked)).toEqual([]);
    expect(await commandLine("--platform", "all")).toEqual({ name: told.result, published: "before" });
  });

  test("a stage that runs something on an assembled one gets all that is below it from the registry", async () => {
    const { told } = await publish({ image: "late" });
    expect(told.error).toBeUndefined();
    appendFileSync(join(project, "app/src/box/cli.py"), "# changed\n");
    const { told: changed, asked } = await publish({ image: "late" });
    expect(changed.error).toBeUndefined();
    expect(changed.result).not.toBe(told.result);
    expect(executed(asked).filter((fields) => fields.at(-1) === "export")).toHaveLength(1);
    expect(executed(asked).flat()).not.toContain("from");
  });

  test("what comes out different under a key that is kept is an error, and overwrites nothing", async () => {
    const { told } = await publish({ image: "late" });
    const { told: other } = await publish({ image: "late", noCache: true }, login.password, "", "another late");
    expect(other.error).toMatch(/^error NOT_REPRODUCIBLE: runtime came out different/);
    const { told: same } = await publish({ image: "late", noCache: true });
    expect(same.result).toBe(told.result);
  });

  test("a wrong token is told before anything runs", async () => {
    appendFileSync(join(project, "app/src/box/cli.py"), "# changed again\n");
    const { told, asked } = await publish({ tags: ["3.0"] }, "another-secret-token");
    expect(told.error).toMatch(/^error REGISTRY_DENIED: /);
    expect(told.error).toContain("the login is from --username and --token");
    expect(told.error).toContain("--username NAME --token env:TOKEN");
    expect(executed(asked)).toEqual([]);
    expect(await tagged("3.0")).toEqual({ state: "absent" });
  });

  test("a registry that is not there is told by its address", async () => {
    const gone = await outsideOf(registry.host);
    await gone.close();
    const { told, asked } = await publish({ registry: `${gone.host}/team` });
    expect(told.error).toMatch(new RegExp(`^error REGISTRY_UNREACHABLE: cannot reach ${gone.host}\n`));
    expect(executed(asked)).toEqual([]);
  });

  test("a registry without TLS is told so", async () => {
    const { told } = await publish({ plainHttp: false });
    expect(told.error).toMatch(/^error REGISTRY_UNREACHABLE: /);
    expect(told.error).toMatch(/→ if .* speaks plain http and you trust the network to it: --plain-http/);
  });

  test("a registry with a certificate of one's own CA, and the image is that of the other registry", async () => {
    const other = await startRegistry({ auth: login, tls: true, names: [outsideAddress] });
    const place = await outsideOf(other.host);
    try {
      const { told } = await publish({ registry: `${place.host}/elsewhere`, cache: "off" }, login.password, other.ca);
      expect(told.error).toBeUndefined();
      const { told: same } = await publish({});
      expect(String(same.result).split("@")[1]).toBe(String(told.result).split("@")[1]);
    } finally {
      await place.close();
      await other.stop();
    }
  });
});
