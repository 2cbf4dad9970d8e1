import { existsSync } from "node:fs";
import { appendFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { openPublishing, type Publishing } from "../support/publishing.js";
import { setPlatforms } from "../support/toolbox.js";
import { whyNoRegistry } from "../support/registry.js";
import { startTokenRegistry, type TokenRegistry } from "../support/token-registry.js";
import { startFaultyProxy } from "../support/faulty-proxy.js";

/**
 * A registry that gives no answer, or refuses: plan and build go on with one note, publish and REMOTE=require stop before anything
 * runs. Whatever happens, no secret is in any output, state file or log.
 */
const why = await whyNoRegistry();
const login = { user: "ci-bot", password: "correct horse battery: staple" };
const account = { FACTORY_REGISTRY_USER: login.user, FACTORY_REGISTRY_TOKEN: login.password };

/** Every text of a folder in which one of the secrets stands, as it is or encoded. */
const secretsIn = async (folder: string, secrets: readonly string[]): Promise<string[]> => {
  const forms = secrets.flatMap((secret) => [
    secret,
    encodeURIComponent(secret),
    ...[0, 1, 2].map((skip) => Buffer.from(secret.slice(skip)).toString("base64").slice(0, -4)),
  ]);
  const found: string[] = [];
  // A command that keeps nothing makes no state folder.
  for (const entry of existsSync(folder) ? await readdir(folder, { recursive: true, withFileTypes: true }) : []) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const text = await readFile(path, "latin1");
    if (forms.some((form) => text.includes(form))) found.push(path);
  }
  return found;
};

describe("without an answer", () => {
  let at: Publishing;
  let project: string;
  beforeAll(async () => {
    if (why !== null) return;
    at = await openPublishing();
    project = await at.box.checkout();
  });
  beforeEach((ctx) => {
    if (why !== null) ctx.skip(why);
    at.front.clear();
  });
  afterAll(() => at?.close());
  /** A port that nobody listens at. */
  const nobody = async () => {
    const gone = await startFaultyProxy("127.0.0.1:1");
    await gone.stop();
    return { FACTORY_REGISTRY: `${gone.host}/team` };
  };
  const forbidden = () =>
    at.front.on({
      path: /./,
      times: 1000,
      fault: { do: "answer", status: 403, body: '{"errors":[{"code":"DENIED","message":"no"}]}' },
    });

  test.each(["plan", "build"])("an unreachable registry never stops %s: one note, and the work goes on", async (verb) => {
    await appendFile(join(project, "app/main.sh"), "# more\n");
    await setPlatforms(project, "linux/amd64", "linux/arm64");
    for (const platform of ["linux/amd64", "all"]) {
      const machine = await at.box.machine("executed");
      const { code, stdout, stderr } = await at.run(project, machine, [verb, "--platform", platform], await nobody());
      expect(code, stderr).toBe(0);
      expect(stdout).toMatch(/application +[0-9a-f]{12} +assemble/);
      // What is here is enough: then nothing is asked, and there is nothing to be said.
      expect(stderr).not.toContain("note: the registry");
      const empty = await at.run(project, await at.box.machine("empty"), ["plan", "--platform", platform], await nobody());
      expect(empty.code, empty.stderr).toBe(0);
      expect(empty.stdout).toMatch(/base-tools +[0-9a-f]{12} +execute/);
      expect(
        empty.stderr.match(/note: the registry gives no answer, going on without it: .*cannot reach 127\.0\.0\.1/g),
      ).toHaveLength(1);
    }
    await setPlatforms(project, "linux/amd64");
  });

  test("REMOTE=require and publish end before anything runs, with the exit code of an outage", async () => {
    const gone = await nobody();
    for (const verb of ["plan", "build"]) {
      const machine = await at.box.machine("empty");
      const { code, stderr } = await at.run(project, machine, [verb, "--remote", "require"], gone);
      expect(stderr).toMatch(/^error REGISTRY_UNREACHABLE: cannot reach 127\.0\.0\.1:\d+\n/);
      expect(code).toBe(69);
    }
    const machine = await at.box.machine("empty");
    const { code, stderr } = await at.run(project, machine, ["publish", "--tag", "1.0.0"], gone);
    expect(stderr).toMatch(
      /^error REGISTRY_UNREACHABLE: cannot reach 127\.0\.0\.1:\d+\n {2}GET .*connect ECONNREFUSED.*\n {2}→ start the registry/,
    );
    expect(code).toBe(69);
    expect((await readdir(machine)).sort()).toEqual(["hashes.json", "users"]);
  });

  test("a refusal is never taken for an absence", async () => {
    forbidden();
    const empty = await at.run(project, await at.box.machine("empty"), ["plan"]);
    expect(empty.code).toBe(0);
    expect(empty.stderr.match(/note: the registry gives no answer, going on without it: not allowed to read /g)).toHaveLength(1);
    for (const [kind, ...words] of [
      ["empty", "build", "--remote", "require"],
      ["executed", "publish"],
    ] as const) {
      const { code, stderr } = await at.run(project, await at.box.machine(kind), words);
      expect(stderr).toMatch(/^error REGISTRY_DENIED: not allowed to read \S+\/team\/small:/);
      expect(code).toBe(77);
    }
    expect(at.front.log.filter(({ method }) => method !== "GET")).toEqual([]);
  });

  test("a registry that may be read and not written refuses before a stage is executed", async () => {
    const body = '{"errors":[{"code":"DENIED","message":"permission_denied: write_package"}]}';
    at.front.on({ method: "POST", path: /uploads/, times: 1000, fault: { do: "answer", status: 403, body } });
    const machine = await at.box.machine("empty");
    const { code, stderr } = await at.run(project, machine, ["publish"]);
    expect(stderr).toContain("error REGISTRY_DENIED: not allowed to push to ");
    expect(stderr).toContain("it answered 403: DENIED: permission_denied: write_package");
    expect(code).toBe(77);
    expect(stderr).not.toContain("engine:");
    // Nothing is to be executed here: the first upload is the question, and nothing went up before it.
    at.front.log.length = 0;
    const built = await at.run(project, await at.box.machine("executed"), ["publish", "--tag", "1.0.0"]);
    expect(built.stderr).toContain("error REGISTRY_DENIED: not allowed to push to ");
    expect(built.code).toBe(77);
    expect(at.front.log.filter(({ up }) => up > 0)).toEqual([]);
  });

  test("a registry in maintenance says so", async (ctx) => {
    const closed = await openPublishing({ readOnly: true });
    ctx.onTestFinished(() => closed.close());
    const where = await closed.box.checkout();
    const { code, stderr } = await closed.run(where, await closed.box.machine("executed"), ["publish"]);
    expect(stderr).toMatch(/error REGISTRY_FAILED: cannot push to \S+\/team\/small.*\n {2}it answered 405/);
    expect(code).toBe(76);
    expect((await closed.run(where, await closed.box.machine("executed"), ["build"])).code).toBe(0);
  });
});

describe("a registry with a login", () => {
  let at: Publishing;
  let tokens: TokenRegistry;
  let project: string;
  let env: Record<string, string>;
  beforeAll(async () => {
    if (why !== null) return;
    tokens = await startTokenRegistry(login);
    at = await openPublishing();
    project = await at.box.checkout();
    env = { FACTORY_REGISTRY: `${tokens.host}/team` };
  });
  beforeEach((ctx) => {
    if (why !== null) ctx.skip(why);
  });
  afterAll(async () => {
    await at?.close();
    await tokens?.stop();
  });

  test("publishes with one token, and the login stands nowhere", async () => {
    const machine = await at.box.machine("executed");
    const done = await at.run(project, machine, ["publish", "--tag", "1.0.0"], { ...env, ...account, FACTORY_DEBUG: "1" });
    expect(done.code, done.stderr).toBe(0);
    expect(new Set(tokens.asked.map(({ user }) => user))).toEqual(new Set([login.user]));
    expect(tokens.asked.length).toBe(1);
    const given = [login.password, Buffer.from(`${login.user}:${login.password}`).toString("base64")];
    expect(given.filter((secret) => (done.stdout + done.stderr).includes(secret))).toEqual([]);
    expect(await secretsIn(machine, given)).toEqual([]);
  });

  test("a login of docker's configuration is found, and stands nowhere else", async () => {
    const home = join(at.box.root, "home");
    await mkdir(join(home, ".docker"), { recursive: true });
    const auth = Buffer.from(`${login.user}:${login.password}`).toString("base64");
    await writeFile(join(home, ".docker/config.json"), JSON.stringify({ auths: { [tokens.host]: { auth } } }));
    const machine = await at.box.machine("empty");
    const done = await at.run(project, machine, ["publish"], { ...env, HOME: home });
    expect(done.code, done.stderr).toBe(0);
    expect(done.stdout).toContain("published before ");
    expect(await secretsIn(machine, [login.password, auth])).toEqual([]);
  });

  test("a wrong password is told as such, and not told", async () => {
    const wrong = { FACTORY_REGISTRY_USER: login.user, FACTORY_REGISTRY_TOKEN: "guessed-and-wrong" };
    const machine = await at.box.machine("executed");
    const { code, stdout, stderr } = await at.run(project, machine, ["publish"], { ...env, ...wrong, FACTORY_DEBUG: "1" });
    expect(code).toBe(77);
    expect(stderr).toContain("error REGISTRY_DENIED: not allowed to read ");
    expect(stderr).toContain("its token service refused: it answered 401: UNAUTHORIZED: authentication required");
    expect(stderr).toContain("the login is from FACTORY_REGISTRY_USER and FACTORY_REGISTRY_TOKEN");
    expect(stdout + stderr).not.toContain("guessed-and-wrong");
    expect(await secretsIn(machine, ["guessed-and-wrong"])).toEqual([]);
    const planned = await at.run(project, await at.box.machine("empty"), ["plan"], { ...env, ...wrong });
    expect(planned.code).toBe(0);
    expect(planned.stderr.match(/note: /g)?.length).toBe(1 + (planned.stderr.match(/note: images\.lock/g)?.length ?? 0));
  });

  test("without a login publish names the way to one; plan goes on", async () => {
    const { code, stderr } = await at.run(project, await at.box.machine("executed"), ["publish"], env);
    expect(code).toBe(77);
    expect(stderr).toContain(`docker login ${tokens.host}`);
    expect((await at.run(project, await at.box.machine("executed"), ["plan"], env)).code).toBe(0);
  });

  test("a token service that refuses (as GHCR does for what is private or not there) is no absence", async () => {
    tokens.tokens.refuse = {
      status: 403,
      body: '{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}',
    };
    const planned = await at.run(project, await at.box.machine("empty"), ["plan"], env);
    expect(planned.code).toBe(0);
    expect(planned.stderr).toContain("note: the registry gives no answer, going on without it: not allowed to read ");
    const refused = await at.run(project, await at.box.machine("executed"), ["publish"], { ...env, ...account });
    expect(refused.code).toBe(77);
    expect(refused.stderr).toContain(
      "its token service refused: it answered 403: DENIED: requested access to the resource is denied",
    );
    tokens.tokens.refuse = null;
  });

  test("a registry that says too much says nothing of ours", async () => {
    const echo = JSON.stringify({ errors: [{ code: "DENIED", message: `${login.user} with ${login.password} may not` }] });
    const front = await startFaultyProxy(tokens.host);
    front.on({ method: "PUT", path: /manifests/, times: 9, fault: { do: "answer", status: 403, body: echo } });
    await appendFile(join(project, "app/main.sh"), "# more\n");
    const machine = await at.box.machine("executed");
    const told = { FACTORY_REGISTRY: `${front.host}/team`, ...account };
    const { code, stdout, stderr } = await at.run(project, machine, ["publish", "--tag", "latest"], told);
    await front.stop();
    expect(code, stderr).toBe(77);
    expect(stderr).toContain("ci-bot with … may not");
    expect(stdout + stderr).not.toContain(login.password);
    expect(await secretsIn(machine, [login.password])).toEqual([]);
  });
});
