import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { actionsOf, built, factory } from "../support/factory.js";
import { lacking } from "../support/needs.js";
import { startRegistry, type TestRegistry } from "../support/registry.js";
import { makeRpmRepository, rpmSpec } from "../support/rpm-repository.js";
import { platform } from "../support/small.js";
import { startWeb, type Web } from "../support/web.js";

/**
 * The way of dnf, for real: an image on a base that has dnf (Debian's 4.14), read from a registry by digest, with packages from a repository of
 * this machine. Each test goes on from where the one before it ended.
 */
const absent = await lacking("docker-registry", "skopeo", "mmdebstrap", "runc", "rpmbuild", "createrepo_c");

describe.skipIf(absent !== null)(`dnf${absent === null ? "" : ` (skipped: ${absent})`}`, () => {
  let root = "";
  let registry: TestRegistry;
  let web: Web;
  let project = "";
  const packages = () => join(root, "repository/packages");
  const env = () => ({ FACTORY_STATE: join(root, "state") });
  const rpm = (words: readonly string[], more: Record<string, string | undefined> = {}) =>
    factory(project, words, { ...env(), ...more });
  const lockText = () => readFile(join(project, "images.lock"), "utf8");

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "factory-dnf-"));
    registry = await startRegistry(join(root, "registry"));
    web = await startWeb((path) => async (_, response) => {
      const bytes = await readFile(join(packages(), path)).catch(() => null);
      response.writeHead(bytes === null ? 404 : 200).end(bytes);
    });
    await makeRpmRepository(
      join(root, "repository"),
      ["factory-hello", "factory-greeting", "factory-words", "factory-extras"].map(rpmSpec),
    );
    project = join(root, "project");
    await mkdir(project);
    await writeFile(
      join(project, "images.yaml"),
      `registry: registry.example/team
images:
  rpm:
    repository: rpm
    platforms: [${platform}]
    base:
      image: "${await pushBase()}"
      packages: dnf
      repositories: { fixture: { url: "${web.address}" } }
    stages:
      base-tools: { packages: [factory-hello] }
      dependencies: {}
      application: {}
      runtime: { user: { name: someone, uid: 1234 } }
`,
    );
  });
  afterAll(() => rm(root, { recursive: true, force: true }));
  afterAll(() => registry.close());
  afterAll(() => web.close());

  /** Debian with dnf, made by this program and pushed; rpm's database where a distribution of rpm has it. */
  const pushBase = async (): Promise<string> => {
    const folder = join(root, "base");
    await mkdir(folder);
    await writeFile(
      join(folder, "images.yaml"),
      `registry: registry.example/team
images:
  base:
    repository: base
    platforms: [${platform}]
    base: { bootstrap: debian, suite: bookworm, packages: apt, include: [ca-certificates, dnf] }
    stages: { base-tools: { files: { /etc/rpm/macros: "%_dbpath /var/lib/rpm\\n" } }, dependencies: {}, application: {}, runtime: {} }
`,
    );
    await built(folder, ["--output", "oci:out"], env());
    return (await registry.push(`oci:${join(folder, "out")}`, "base")).reference;
  };

  test("a lock holds the whole chain by name, epoch, version, release and architecture", async () => {
    const before = await rpm(["lock", "--check"]);
    expect(before.stdout).toContain("base-tools: images.lock holds no packages");
    const { code, stdout, stderr } = await rpm(["lock"]);
    expect(code, stderr).toBe(0);
    expect(stdout).toBe(
      [
        `  rpm base-tools ${platform}  factory-greeting  + 0:1.0-1.noarch`,
        `  rpm base-tools ${platform}  factory-hello     + 0:1.0-1.noarch`,
        `  rpm base-tools ${platform}  factory-words     + 1:2.5-3.noarch`,
        "images.lock: 3 entries moved",
        "",
      ].join("\n"),
    );
    expect((await rpm(["lock", "--check"])).code).toBe(0);
  });

  test("a build installs exactly what is locked", async () => {
    await built(project, [], env());
    const query = "import rpm\nfor one in rpm.TransactionSet().dbMatch(): print(one['nevra'], one['installtime'])";
    const command = `factory-hello; ls /usr/share/factory /var/lib/rpm; setpriv --reuid 1234 --regid 1234 --clear-groups python3 -c "${query}" | sort`;
    const { code, stdout, stderr } = await rpm(["shell", "--command", command]);
    expect(code, stderr).toBe(0);
    const times = [...stdout.matchAll(/ (\d+)$/gm)].map(([, time]) => Number(time));
    expect(times).toHaveLength(3);
    expect(stdout.replaceAll(/ \d+$/gm, "")).toBe(
      [
        "hello",
        "/usr/share/factory:\ngreeting\nwords\n",
        "/var/lib/rpm:\nrpmdb.sqlite",
        "factory-greeting-1.0-1.noarch",
        "factory-hello-1.0-1.noarch",
        "factory-words-1:2.5-3.noarch",
        "",
      ].join("\n"),
    );
    // The epoch and the seconds after it, one a package: never the time of day.
    expect(times.filter((time) => time < 315_619_200 || time > 315_619_210)).toEqual([]);
  });

  test("and comes out equal when it is done again", async () => {
    const { record, stderr } = await built(project, [], { ...env(), FACTORY_NO_CACHE: "1" });
    expect(actionsOf(record)["base-tools"]).toBe("compare");
    expect(stderr).toMatch(/install 1 packages with dnf \(3 locked\) … done/);
  });

  test("an update in the repository changes nothing until the lock is updated", async () => {
    const before = await lockText();
    await makeRpmRepository(join(root, "repository"), [rpmSpec("factory-greeting-update")]);
    expect((await rpm(["lock", "--check"])).code).toBe(0);
    expect((await rpm(["lock"])).stdout).toBe("images.lock: nothing moved\n");
    expect((await rpm(["plan", "--check"])).code).toBe(0);
    expect(await lockText()).toBe(before);

    const { code, stdout } = await rpm(["lock", "--update"]);
    expect(code).toBe(0);
    expect(stdout).toBe(
      `  rpm base-tools ${platform}  factory-greeting  0:1.0-1.noarch → 0:1.1-1.noarch\nimages.lock: 1 entry moved\n`,
    );
    expect((await rpm(["plan", "--check"])).code).toBe(2);
    const { record } = await built(project, [], env());
    expect(actionsOf(record)["base-tools"]).toBe("execute");
    expect((await rpm(["shell", "--command", "factory-hello"])).stdout).toBe("hello again\n");
  });

  test("a locked version that is gone is named, with what to type", async () => {
    await writeFile(
      join(project, "images.lock"),
      (await lockText()).replace("factory-greeting-0:1.1-1", "factory-greeting-0:0.9-1"),
    );
    const { code, stderr } = await rpm(["build"]);
    expect(stderr).toContain("error PACKAGE_GONE: a version that images.lock holds is gone from its mirror\n");
    expect(stderr.slice(stderr.indexOf("error PACKAGE_GONE"))).toContain("factory-greeting-0:0.9-1.noarch");
    expect(stderr).toContain("→ ./task lock -- --update");
    expect(code).toBe(67);
    expect((await rpm(["lock", "--update"])).code).toBe(0);
    expect((await rpm(["plan", "--check"])).code).toBe(0);
  });

  test("a name that no repository has is told with the likely one", async () => {
    const text = await readFile(join(project, "images.yaml"), "utf8");
    await writeFile(join(project, "images.yaml"), text.replace("[factory-hello]", "[factory-helo]"));
    const { code, stderr } = await rpm(["lock"]);
    expect(stderr).toContain("error CONFIG_INVALID: no package factory-helo in the repositories of rpm\n");
    expect(stderr).toContain("did you mean factory-hello");
    expect(code).toBe(65);
    // What was locked stays, and a build refuses before anything runs.
    const refused = await rpm(["build"], { BUILDKIT_HOST: "unix:///nowhere.sock", FACTORY_BUILDKIT: undefined });
    expect(refused.stderr).toMatch(/error LOCK_STALE: .*\n.*\+factory-helo -factory-hello/);
    expect(refused.code).toBe(67);
    await writeFile(join(project, "images.yaml"), text);
  });

  test("a repository that does not answer is told as that", async () => {
    await writeFile(
      join(project, "images.yaml"),
      (await readFile(join(project, "images.yaml"), "utf8")).replace(web.address, "http://127.0.0.1:1"),
    );
    const { code, stderr } = await rpm(["lock", "--update"]);
    expect(stderr).toContain("error MIRROR_UNREACHABLE: dnf cannot read the repositories of rpm\n");
    expect(code).toBe(69);
  });
});
