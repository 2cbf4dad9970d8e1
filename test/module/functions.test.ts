import { appendFileSync, cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { run } from "../../ci/host/process.js";
import { whyNot } from "./support/why-not.js";

/** Every function of the module on a real engine, as a person calls it. Runs wherever `dagger` answers. */
const module = fileURLToPath(new URL("../..", import.meta.url));
const fixture = fileURLToPath(new URL("fixtures/tiny", import.meta.url));

const absent = await whyNot();

describe.skipIf(absent !== null)(`the module on an engine${absent === null ? "" : ` (skipped: ${absent})`}`, () => {
  let folder = "";
  let project = "";
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "factory-dagger-"));
    project = join(folder, "tiny");
    cpSync(fixture, project, { recursive: true });
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const dagger = (words: readonly string[]) => run("dagger", ["--silent", ...words], { cwd: folder, timeout: 850_000 });
  const call = (...words: string[]) => {
    const [name = "", ...rest] = words;
    return dagger(["call", "-m", module, name, "--source", project, ...rest]);
  };
  const good = async (...words: string[]) => {
    const { exitCode, stdout, stderr } = await call(...words);
    expect(exitCode, stderr).toBe(0);
    return stdout;
  };

  test("functions lists each function with its first line", async () => {
    const { exitCode, stdout, stderr } = await dagger(["functions", "-m", module]);
    expect(exitCode, stderr).toBe(0);
    const names = ["application", "base-tools", "build", "dependencies", "dockerfile", "explain", "image", "lint", "plan"];
    for (const name of [...names, "plan-json", "publish", "report", "runtime", "stage", "test-image", "verify"])
      expect(stdout).toMatch(new RegExp(`^${name} +\\S+`, "m"));
    expect(stdout).not.toContain("Skipped");
  });

  test("plan and plan-json say the same as ./task plan", async () => {
    expect(await good("plan", "--platform", "linux/amd64")).toContain("tiny for linux/amd64, on Debian bookworm");
    const { format, plans } = JSON.parse(await good("plan-json", "--platform", "linux/amd64", "contents")) as {
      format: number;
      plans: { stages: { key: string }[] }[];
    };
    expect(format).toBe(1);
    const env = { FACTORY_STATE: join(folder, "state"), FACTORY_REMOTE: "off" };
    const local = await run("node", [join(module, ".factory/bin/factory.cjs"), "plan", "--json", "--platform", "linux/amd64"], {
      cwd: project,
      env,
    });
    const ours = JSON.parse(local.stdout) as { plans: { stages: { key: string }[] }[] };
    expect(plans[0]!.stages.map(({ key }) => key)).toEqual(ours.plans[0]!.stages.map(({ key }) => key));
  });

  test("dockerfile gives the rendered file", async () => {
    expect(await good("dockerfile", "contents")).toMatch(/^# tiny: rendered by/);
  });

  test("explain names what differs from another state, and shows the ingredients without one", async () => {
    const older = join(folder, "older");
    cpSync(project, older, { recursive: true });
    writeFileSync(join(older, "app/hello.txt"), "goodbye\n");
    expect(await good("explain", "--since", older, "--platform", "linux/amd64")).toMatch(
      /^application \w+: assemble\n {2}app\/hello\.txt changed \(\w+ → \w+\)$/m,
    );
    expect(await good("explain", "--stage", "base-tools")).toMatch(/^base-tools \w+: execute\n {2}never built: /);
  });

  test("verify proves on plans that keys hold, and is a check", async () => {
    expect(await good("verify", "--platform", "linux/amd64")).toMatch(/\n\d+ passed \(0 by building, \d+ on plans\), 0 failed, /);
    const { exitCode, stdout, stderr } = await dagger(["check", "-m", module, "-l"]);
    expect(exitCode, stderr).toBe(0);
    expect(stdout).toMatch(/(?:^|[\s:])verify(?:\s|$)/m);
  });

  test("report says what the image consists of", async () => {
    const said = await good("report", "--platform", "linux/amd64");
    expect(said).toMatch(/^tiny for linux\/amd64\n {2}stage +layers +packed +unpacked +files\n {2}base-tools +\d/);
    expect(said).toMatch(/^ +\S+ \w+ +\/\S+ +base-tools$/m);
  });

  test("lint passes on a project that is as it should be", async () => {
    await good("lint");
  });

  test("build gives a container whose command runs; the base is bootstrapped without --ca", async () => {
    expect(await good("build", "with-exec", "--args", "cat,app/hello.txt", "stdout")).toBe("hello\n");
    expect(await good("build", "user")).toContain("1001:0");
  });

  test.each(["base-tools", "dependencies", "application", "runtime"])(
    "%s is a container too, by its own name and by stage",
    async (name) => {
      const words = ["with-exec", "--args", "jq,--version", "stdout"];
      expect(await good(name, ...words)).toMatch(/^jq-/);
      expect(await good("stage", "--name", name, ...words)).toMatch(/^jq-/);
    },
  );

  test("image is the assembled layout, and another one after a code change", async () => {
    const layout = join(folder, "layout");
    await good("image", "export", "--path", layout);
    expect(existsSync(join(layout, "oci-layout"))).toBe(true);
    const digest = () =>
      (JSON.parse(readFileSync(join(layout, "index.json"), "utf8")) as { manifests: { digest: string }[] }).manifests[0]!.digest;
    const before = digest();
    appendFileSync(join(project, "app/hello.txt"), "again\n");
    await good("image", "export", "--path", layout);
    expect(digest()).not.toBe(before);
  });

  test("the container and the assembled image are one image to compare", async () => {
    const [layout, tar] = [join(folder, "parity-layout"), join(folder, "parity.tar")];
    await good("image", "export", "--path", layout);
    await good("build", "as-tarball", "export", "--path", tar);
    const factory = join(module, ".factory/bin/factory.cjs");
    const compared = await run("node", [factory, "compare", `oci:${layout}`, `tar:${tar}`], { cwd: project, timeout: 300_000 });
    expect(compared.exitCode, compared.stdout + compared.stderr).toBe(0);
  });

  test("test-image passes", async () => {
    await good("test-image");
  });

  test.each([
    [["build", "--image", "tinny"], "UNKNOWN_IMAGE", "did you mean tiny?"],
    [["stage", "--name", "runtim"], "UNKNOWN_STAGE", "did you mean runtime?"],
    [["build", "--platform", "linux/riscv64"], "UNKNOWN_PLATFORM", "linux/amd64"],
    [["publish", "--registry", "localhost:5000/acme"], "USAGE", "loopback"],
    [["publish", "--registry", "127.0.0.1:1/acme", "--username", "me", "--token", "env:FACTORY_TEST_TOKEN"], "USAGE", "loopback"],
  ])("%s is refused in our words", async (words, code, hint) => {
    const { exitCode, stdout, stderr } = await run(
      "dagger",
      ["--silent", "call", "-m", module, words[0]!, "--source", project, ...words.slice(1)],
      {
        cwd: folder,
        env: { FACTORY_TEST_TOKEN: "a-secret-nobody-may-see" },
        timeout: 850_000,
      },
    );
    expect(exitCode).not.toBe(0);
    expect(stdout + stderr).toContain(code);
    expect(stdout + stderr).toContain(hint);
    expect(stdout + stderr).not.toContain("a-secret-nobody-may-see");
  });
});
