import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { run } from "../../../ci/host/process.js";
import { type DockerBuilder, openBuildah, openDocker } from "../support/docker-build.js";
import { built, factory } from "../support/factory.js";
import { lacking } from "../support/needs.js";
import { startRegistry, type TestRegistry } from "../support/registry.js";
import { openSmall, type Small } from "../support/small.js";

/** The rendered Dockerfile in the hands of someone who has Docker (BuildKit, that is) or buildah, and nothing of ours. */
const absent = await lacking("mmdebstrap", "runc", "buildah", "skopeo", "docker-registry");
const cases = fileURLToPath(new URL("../../fixtures/cases/", import.meta.url));

describe.skipIf(absent !== null)(`the rendered Dockerfile${absent === null ? "" : ` (skipped: ${absent})`}`, () => {
  let small: Small;
  let registry: TestRegistry;
  let base = "";
  const builders = new Map<string, DockerBuilder>();
  const contexts = new Map<string, string[]>();
  const builder = (name: string): DockerBuilder => builders.get(name)!;

  beforeAll(async () => {
    small = await openSmall();
    registry = await startRegistry(join(small.root, "registry"));
    const added = await factory(small.project, ["lock", "--tool", "hello", "--version", "2.0.0"], small.env);
    expect(added.code, added.stderr).toBe(0);
    await built(small.project, [], small.env);
    await factory(small.project, ["render"], small.env);
    builders.set("docker", await openDocker(small.root, small.env));
    const buildah = await openBuildah(small.root);
    builders.set("buildah", buildah);
    for (const name of builders.keys()) {
      const { stdout, stderr } = await factory(small.project, ["render", "--cache-args", "--builder", name], small.env);
      contexts.set(name, stdout.match(/(?<=--build-context )\S+/g) ?? []);
      // What is printed for buildah is typed as it stands, with the storage of this test.
      for (const line of stderr.split("\n").filter((one) => one.startsWith("  skopeo copy "))) {
        const [root, runroot] = [buildah.storage[1], buildah.storage[3]];
        const words = line.trim().replace("containers-storage:", `containers-storage:[overlay@${root}+${runroot}]`).split(" ");
        const copied = await run(words[0]!, words.slice(1));
        expect(copied.exitCode, copied.stderr).toBe(0);
      }
    }
    base = (await registry.push(`oci:${join(small.env["FACTORY_STATE"]!, "layout")}:${await baseName()}`, "base")).reference;
  });
  afterAll(() => small.close());
  afterAll(() => registry.close());
  afterAll(async () => {
    for (const one of builders.values()) await one.close();
  });

  const baseName = async (): Promise<string> => {
    const text = await readFile(join(small.env["FACTORY_STATE"]!, "layout/index.json"), "utf8");
    return /"(base-[0-9a-f]{24})"/.exec(text)![1]!;
  };
  /** Only what stands for the base: everything else is built. */
  const onlyBase = (name: string) => contexts.get(name)!.filter((word) => word.startsWith("small-base="));
  const probe = [
    "hello",
    "stat -c '%a %u:%g %n' /etc/small.conf /etc/small.d/inline /workspace /home/small /opt/small/app/begin /opt/small/app/start.sh",
    "cat /etc/small.d/inline",
    "grep -h small /etc/passwd /etc/shadow /etc/subuid /etc/subgid",
    "cd /; /opt/venv/bin/python3 -m small",
    "find /opt/small | sort",
    "jq --version",
  ].join("\n");
  const expected = [
    "hello 1.0.0",
    "640 0:0 /etc/small.conf\n644 0:0 /etc/small.d/inline\n2775 1234:0 /workspace\n775 1234:0 /home/small",
    "777 0:0 /opt/small/app/begin\n755 0:0 /opt/small/app/start.sh",
    "one\ntwo",
    "small:x:1234:0::/home/small:/bin/bash\nsmall:!:3652::::::\nsmall:100000:65536\nsmall:100000:65536",
    "hello: world",
  ].join("\n");

  describe.each(["docker", "buildah"])("with %s", (name) => {
    test("is the image, down to modes, owners and accounts", async () => {
      const { exitCode, output, printed } = await builder(name).build({
        project: small.project,
        contexts: onlyBase(name),
        probe,
      });
      expect(exitCode, output).toBe(0);
      expect(printed.slice(0, expected.length)).toBe(expected);
      const ours = await factory(small.project, ["shell", "--command", probe], small.env);
      expect(printed.replaceAll(/^.*\/(run|tmp):[^]*$/gm, "")).toBe(
        ours.stdout.trimEnd().replaceAll(/^.*\/(run|tmp):[^]*$/gm, ""),
      );
    });

    test("--target ends at that stage", async () => {
      const request = {
        project: small.project,
        contexts: onlyBase(name),
        target: "dependencies",
        probe: "ls /opt /workspace 2>&1",
      };
      const { exitCode, output, printed } = await builder(name).build(request);
      expect(exitCode, output).toBe(0);
      expect(printed).toMatch(/^ls: .*\/workspace.*\n\/opt:\nvenv$/);
    });

    test("--build-arg chooses another locked version, and a third one is refused with what to type", async () => {
      const request = { project: small.project, contexts: onlyBase(name), target: "base-tools" };
      const other = await builder(name).build({ ...request, buildArgs: { HELLO_VERSION: "2.0.0" }, probe: "hello" });
      expect(other.exitCode, other.output).toBe(0);
      expect(other.printed).toBe("hello 2.0.0");
      const refused = await builder(name).build({ ...request, buildArgs: { HELLO_VERSION: "3.0.0" } });
      expect(refused.exitCode).not.toBe(0);
      expect(refused.output).toContain(
        "HELLO_VERSION=3.0.0 has no locked checksum; add it: ./task lock TOOL=hello VERSION=3.0.0\n",
      );
    });

    test("the arguments of render --cache-args replace stages, so that nothing of them runs", async () => {
      await small.edit("app/src/small/__main__.py", (text) => text.replace("world", name));
      const request = {
        project: small.project,
        contexts: contexts.get(name)!,
        probe: "cd /; /opt/venv/bin/python3 -m small; hello",
      };
      const { exitCode, output, printed } = await builder(name).build(request);
      expect(exitCode, output).toBe(0);
      expect(printed, output).toBe(`hello: ${name}\nhello 1.0.0`);
      expect(output).not.toMatch(/apt-get -qq install|pip --python|\/hello-1\.0\.0/);
      await small.edit("app/src/small/__main__.py", (text) => text.replace(name, "world"));
    });

    test.for<[string, string, string]>([
      [
        "users-and-config",
        "cat /etc/motd; cat /etc/no-newline; echo; stat -c '%a %u:%g %s' /etc/no-newline /etc/empty /usr/local/bin/quiet; /usr/local/bin/hello; stat -c '%a %u:%g %n' /var/log/'team logs' /var/cache/service /workspace; echo \"$GREETING|$EMPTY|$LANG\"",
        'It\'s "here": $HOME \\ `ls`\n\n# no comment\none\ntwo\n600 900:900 7\n644 0:0 0\n4755 0:900 21\nhello\n755 0:0 /var/log/team logs\n700 900:900 /var/cache/service\n2775 1001:0 /workspace\nsay "hi" to $USER \\o/||C.UTF-8',
      ],
      [
        "copy",
        "cd /; find opt/app etc/app etc/conf srv -type f -o -type l | sort; stat -c '%a %u:%g' /etc/app/settings.json /srv/data/one /opt/app/start /opt/app/app/app.py; readlink /opt/app/app/latest",
        "etc/app/settings.json\netc/conf/settings.json\nopt/app/app/app.py\nopt/app/app/latest\nopt/app/app/run.sh\nopt/app/app/sub/x.txt\nopt/app/docs/read me.txt\nopt/app/start\nsrv/data/one\nsrv/home/two\n644 1200:1200\n644 33:33\n755 0:0\n644 0:0\napp.py",
      ],
      [
        "run-inputs",
        "cat /etc/one /etc/words /etc/text /etc/odd /usr/local/share/ca-certificates/team.crt",
        "one line\none\ntwo\ntext with $dollars and `ticks`\na name that every builder reads in its own way\n-----BEGIN CERTIFICATE-----",
      ],
      [
        "context-in-subfolder",
        "cd /srv; find . -type f | sort",
        "./www/.dockerignore\n./www/index.html\n./www/pages/a.html\n./www/pages/drafts/kept.html",
      ],
    ])("the case %s says what images.yaml says", async ([project, command, text], context) => {
      // Its excluder leaves an ignored folder before it has looked for what stands below; Docker's does not.
      if (name === "buildah" && project === "context-in-subfolder")
        return context.skip("buildah knows no exception below an ignored folder");
      const folder = join(small.root, `${name}-${project}`);
      await cp(join(cases, project), folder, { recursive: true, verbatimSymlinks: true });
      const yaml = await readFile(join(folder, "images.yaml"), "utf8");
      await writeFile(join(folder, "images.yaml"), yaml.replace(/base: \{ image: ".*?"/, `base: { image: "${base}"`));
      await factory(folder, ["render"], small.env);
      const site = project === "context-in-subfolder" ? join(folder, "site") : folder;
      const { exitCode, output, printed } = await builder(name).build({ project: folder, context: site, probe: command });
      expect(exitCode, output).toBe(0);
      expect(printed).toBe(text);
      if (name !== "docker") return;
      const ours = await built(folder, [], small.env);
      expect(ours.record.platforms).toHaveLength(1);
      const shell = await factory(folder, ["shell", "--command", command], small.env);
      expect(shell.stdout.trimEnd()).toBe(text);
    });
  });
});
