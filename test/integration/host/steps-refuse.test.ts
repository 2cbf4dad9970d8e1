import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { scriptOf } from "../../../dagger/src/pipeline/steps/script.js";
import type { Step, StepOf } from "../../../dagger/src/pipeline/steps/step.js";
import { startWeb, type Web } from "../../e2e/support/web.js";

/**
 * The commands of a step, with the real package managers: what cannot be read ends them, although each of these programs goes on by itself.
 * Nothing is installed on this machine.
 */
const scratch = mkdtempSync(join(tmpdir(), "factory-steps-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
let web: Web;
let bad = "";
beforeAll(async () => {
  web = await startWeb((path) => {
    return path.startsWith("/bad/") ? (_, response) => void response.writeHead(500).end() : undefined;
  });
  bad = `${web.address}/bad`;
});
afterAll(() => web.close());

const has = (program: string, ...words: string[]) => spawnSync(program, words).status === 0;

/** What a shell says of commands, as an engine runs them. */
const sh = (text: string, env: Readonly<Record<string, string>> = {}) =>
  new Promise<{ code: number | null; stderr: string }>((resolve) => {
    const child = spawn("/bin/sh", ["-eu", "-c", text], {
      env: { ...process.env, LC_ALL: "C.UTF-8", ...env },
      stdio: ["ignore", "ignore", "pipe"],
    });
    let stderr = "";
    child.stderr.on("data", (part: Buffer) => (stderr += part.toString()));
    child.once("close", (code) => resolve({ code, stderr }));
  });
const statements = (step: Step): string[] =>
  scriptOf(step, 0)!.statements.map((one) => (typeof one === "string" ? one : one.join(" ")));

const install = (more: Partial<StepOf<"install">>): StepOf<"install"> => ({
  do: "install",
  manager: "apt",
  names: ["nothing"],
  pins: null,
  modules: [],
  repositories: {},
  ...more,
});

describe.skipIf(!has("apt-get", "--version"))("apt", () => {
  const config = (address: string) => {
    const folder = mkdtempSync(join(scratch, "apt-"));
    mkdirSync(join(folder, "lists/partial"), { recursive: true });
    writeFileSync(join(folder, "sources.list"), `deb [trusted=yes] ${address} bookworm main\n`);
    writeFileSync(
      join(folder, "apt.conf"),
      `Dir::State::lists "${folder}/lists";\nDir::Cache "${folder}";\nDir::Etc::sourcelist "${folder}/sources.list";\nDir::Etc::sourceparts "/dev/null";\nAcquire::Retries "0";\n`,
    );
    return { APT_CONFIG: join(folder, "apt.conf") };
  };
  const update = statements(install({})).find((text) => text.endsWith(" update"))!;

  test("an index that cannot be read ends the step", async () => {
    const env = config("http://127.0.0.1:1/debian");
    expect((await sh("apt-get -qq update", env)).code, "apt-get by itself").toBe(0);
    expect((await sh(update, env)).code).not.toBe(0);
    expect((await sh(update, config(`${bad}/debian`))).code).not.toBe(0);
  });

  test("a name that no package has is no pattern for others", async () => {
    const command = statements(install({ names: ["bas."] })).find((text) => text.includes(" install "))!;
    const { code, stderr } = await sh(command.replace("apt-get -qq install", "apt-get -qq install --simulate"));
    expect(stderr).toContain("Unable to locate package bas.");
    expect(code).not.toBe(0);
  });
});

describe.skipIf(!has("apt-get", "--version") || !has("dpkg-deb", "--version"))("apt's cache", () => {
  test("a package in it that is not the one of the package lists is downloaded again; one that is stays", async () => {
    const folder = mkdtempSync(join(scratch, "cache-"));
    const repository = join(folder, "repository");
    for (const name of ["poisoned", "sound"]) {
      mkdirSync(join(folder, name, "DEBIAN"), { recursive: true });
      const control = `Package: ${name}\nVersion: 1\nArchitecture: all\nMaintainer: nobody <a@example.org>\nDescription: ${name}\n`;
      writeFileSync(join(folder, name, "DEBIAN/control"), control);
      mkdirSync(repository, { recursive: true });
      expect(has("dpkg-deb", "--build", join(folder, name), join(repository, `${name}_1_all.deb`))).toBe(true);
    }
    const index = ["poisoned", "sound"].map((name) => {
      const file = join(repository, `${name}_1_all.deb`);
      const bytes = readFileSync(file);
      const sum = createHash("sha256").update(bytes).digest("hex");
      const fields = `Package: ${name}\nVersion: 1\nArchitecture: all\nFilename: ./${name}_1_all.deb\nSize: ${bytes.length}\nSHA256: ${sum}\n`;
      return { file, bytes, fields };
    });
    writeFileSync(join(repository, "Packages"), index.map(({ fields }) => fields).join("\n"));
    for (const part of ["lists/partial", "archives/partial"]) mkdirSync(join(folder, part), { recursive: true });
    writeFileSync(join(folder, "sources.list"), `deb [trusted=yes] file:${repository} ./\n`);
    writeFileSync(
      join(folder, "apt.conf"),
      `Dir::State::lists "${folder}/lists";\nDir::Cache "${folder}";\nDir::Etc::sourcelist "${folder}/sources.list";\nDir::Etc::sourceparts "/dev/null";\nAPT::Sandbox::User "root";\n`,
    );
    // Of the same name and size, as who shares the cache may leave it.
    const [poisoned, sound] = index;
    const archives = join(folder, "archives");
    const damaged = Buffer.from(poisoned!.bytes);
    damaged[damaged.length - 10]! ^= 1;
    writeFileSync(join(archives, "poisoned_1_all.deb"), damaged);
    writeFileSync(join(archives, "sound_1_all.deb"), sound!.bytes);
    const all = statements(install({}));
    const held = all.find((text) => text.includes("dumpavail"))!.replaceAll("/var/cache/apt", folder);
    const { code, stderr } = await sh(`${all.find((text) => text.endsWith(" update"))!}\n${held}`, {
      APT_CONFIG: join(folder, "apt.conf"),
    });
    expect(code, stderr).toBe(0);
    expect(readdirSync(archives).sort()).toEqual(["partial", "sound_1_all.deb"]);
  });
});

describe.skipIf(!has("dnf", "--version") || !has("createrepo_c", "--version"))("dnf", () => {
  const run = async (address: string, own: string, names: string[] = ["nothing"], modules: string[] = []) => {
    const folder = mkdtempSync(join(scratch, "dnf-"));
    for (const part of ["repos", "root", "empty"]) mkdirSync(join(folder, part));
    expect(has("createrepo_c", "-q", join(folder, "empty"))).toBe(true);
    const repository = (id: string, url: string) => `[${id}]\nname=${id}\nbaseurl=${url}\ngpgcheck=0\nskip_if_unavailable=1\n`;
    writeFileSync(join(folder, "repos/all.repo"), repository("first", address) + repository("second", `file://${folder}/empty`));
    writeFileSync(join(folder, "dnf.conf"), `[main]\nretries=1\n${own}`);
    const at = `dnf --config=${folder}/dnf.conf --installroot=${folder}/root --releasever=9 --setopt=reposdir=${folder}/repos --setopt=cachedir=${folder}/cache`;
    const commands = statements(install({ manager: "dnf", names, modules })).filter((text) => text.startsWith("dnf "));
    return sh(commands.map((text) => text.replace("dnf", at)).join("\n"));
  };

  test("a repository that cannot be read ends the step, whatever its file says", async () => {
    for (const address of [bad, "http://127.0.0.1:1"]) {
      const { code, stderr } = await run(address, "");
      expect(stderr).toContain("Failed to download metadata for repo 'first'");
      expect(code).not.toBe(0);
    }
    expect((await run(bad, "", ["nothing"], ["thing:1"])).stderr).toContain("Failed to download metadata for repo 'first'");
  });

  test("a package that no repository has ends the step, whatever dnf.conf says", async () => {
    const folder = mkdtempSync(join(scratch, "empty-"));
    expect(has("createrepo_c", "-q", folder)).toBe(true);
    const { code, stderr } = await run(`file://${folder}`, "strict=0\n");
    expect(stderr).toContain("Unable to find a match: nothing");
    expect(code).not.toBe(0);
  });
});

/** The Python that this machine calls by its version. */
const version = ["3.11", "3.12", "3.13"].find((one) => has(`python${one}`, "-m", "pip", "--version"));
describe.skipIf(version === undefined)("pip", () => {
  const run = (folder: string, env: Readonly<Record<string, string>>) => {
    const step: Step = { do: "python", version: version!, venv: join(folder, "venv"), requires: ["idna"], pins: null };
    const text = statements(step)
      .join("\n")
      .replaceAll(/\/tmp\/(?=requirements\.txt|pip\.log)/g, `${folder}/`);
    return sh(text, {
      PIP_CONFIG_FILE: "/dev/null",
      PIP_RETRIES: "0",
      PIP_NO_CACHE_DIR: "1",
      NO_PROXY: "127.0.0.1",
      no_proxy: "127.0.0.1",
      ...env,
    });
  };

  test("an index that cannot be read ends a step whose requirements are not locked", async () => {
    const folder = mkdtempSync(join(scratch, "pip-"));
    const wheel = join(scratch, "idna-1.0-py3-none-any.whl");
    const made = `import sys, zipfile
with zipfile.ZipFile(sys.argv[1], "w") as z:
    z.writestr("idna-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: idna\\nVersion: 1.0\\n")
    z.writestr("idna-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    z.writestr("idna-1.0.dist-info/RECORD", "")`;
    expect(has("python3", "-c", made, wheel)).toBe(true);
    const links = { PIP_FIND_LINKS: scratch };
    // Another index that answers 404 is one that does not have it: pip goes on, and so does the step.
    expect(await run(folder, { ...links, PIP_INDEX_URL: `${web.address}/none` })).toMatchObject({ code: 0 });
    expect(readdirSync(folder)).toEqual(["venv"]);
    rmSync(join(folder, "venv"), { recursive: true });
    const { code, stderr } = await run(folder, { ...links, PIP_INDEX_URL: bad });
    expect(stderr).toContain("a package index could not be read");
    expect(code).toBe(69);
  });

  test("a Python without pip is said at once, with what to add", async () => {
    const folder = mkdtempSync(join(scratch, "no-pip-"));
    writeFileSync(join(folder, `python${version}`), "#!/bin/sh\necho No module named pip >&2\nexit 1\n", { mode: 0o755 });
    const { code, stderr } = await run(folder, { PATH: `${folder}:${process.env["PATH"]}` });
    expect(stderr).toContain(
      `python${version} has no pip: add it to the packages of base-tools (Debian: python3-pip, dnf: python${version}-pip)`,
    );
    expect(code).toBe(65);
  });
});
