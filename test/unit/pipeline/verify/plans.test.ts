import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type CacheReport, faultLines } from "../../../../dagger/src/pipeline/verify/case-result.js";
import { proveCache } from "../../../../ci/verify/prove.js";
import { scratchFolder } from "../../../fixtures/scratch.js";
import { worldAt } from "../../../fixtures/world.js";
import { hex, prove, usual, wishOf } from "../../../fixtures/usual-project.js";

const { at, put } = scratchFolder();

/** One line a case; stages as letters: e(xecute), a(ssemble), r(euse), capitals where the key moved. */
const lines = ({ cases }: CacheReport): string[] =>
  cases.map(({ id, verdict, stages, why }) => {
    const letters = stages.map(({ did, moved }) => (moved ? did[0]!.toUpperCase() : did[0])).join("");
    return [id, letters || "-", verdict === "not-applicable" ? `n/a: ${why}` : verdict].join(" ");
  });

/** Every file with its bytes, mode, times and owner. */
const everything = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .sort()
    .map((path) => {
      const { mode, mtimeMs, uid, isFile } = { ...statSync(join(folder, path)), isFile: statSync(join(folder, path)).isFile() };
      return `${path} ${mode} ${uid} ${isFile ? `${mtimeMs} ${readFileSync(join(folder, path), "base64")}` : ""}`;
    });

describe("a proof on plans", () => {
  test("of a usual project: each change moves what it may, and the rest stays", async () => {
    usual(put);
    const before = everything(at(""));
    const report = await prove(at(""));
    expect(faultLines(report)).toEqual([]);
    expect(lines(report)).toEqual([
      "folder rrrr pass",
      "nothing rrrr pass",
      "code rrAA not-tested",
      "taskfile rrAA pass",
      "comment rrAA pass",
      "enrolment rrAA pass",
      "label rrAA pass",
      "description rrAA pass",
      "setup-py - n/a: no Python project of the image has a setup.py",
      "readme rrrr pass",
      "readme-copied rrAA pass",
      "tests rrrr pass",
      "junk rrrr pass",
      "times rrrr pass",
      "umask rrrr pass",
      "mode rrAA pass",
      process.getuid?.() === 0 ? "owner rrrr pass" : "owner - n/a: only root can give files away",
      "dependency-removed rEAA pass",
      "dependency-added rEAA pass",
      "dependency-changed rEAA pass",
      "again rrrr pass",
      "tool-version EERA pass",
      "locked-package EERA pass",
      "base EERA pass",
    ]);
    expect(report.cases.find(({ id }) => id === "code")?.why).toBe(
      "base-tools and dependencies are not kept here: ./task build IMAGE=it",
    );
    // The user's files and state folder are what they were.
    expect(everything(at(""))).toEqual(before);
  });

  test("of a project that copies everything and has no lock", async () => {
    put(
      "images.yaml",
      `registry: registry.example
images:
  it:
    repository: it
    platforms: [linux/amd64]
    base: { image: "registry.example/base:1@sha256:${hex("a")}", packages: dnf }
    stages:
      base-tools: {}
      dependencies: {}
      application: { to: /opt/it, copy: ["."] }
      runtime: {}
`,
    );
    put("main.go", "package main\n");
    const report = await prove(at(""));
    expect(faultLines(report)).toEqual([]);
    expect(lines(report).filter((line) => !/ r+ pass$/.test(line))).toEqual([
      "code rrAR not-tested",
      "taskfile rrAR pass",
      "comment rrAR pass",
      "enrolment rrAR pass",
      "label rrAA pass",
      "description - n/a: the image has no Python project with a pyproject.toml that says what it requires",
      "setup-py - n/a: no Python project of the image has a setup.py",
      "readme - n/a: the whole context is copied, its README too",
      "readme-copied - n/a: no stage copies a README",
      "tests rrAR pass",
      "mode rrAR pass",
      ...(process.getuid?.() === 0 ? [] : ["owner - n/a: only root can give files away"]),
      "dependency-removed - n/a: the image has no Python project with a pyproject.toml that says what it requires",
      "dependency-added - n/a: the image has no Python project with a pyproject.toml that says what it requires",
      "dependency-changed - n/a: the image has no Python project with a pyproject.toml that says what it requires",
      "tool-version - n/a: the image has no tools",
      "locked-package - n/a: images.lock holds no packages of base-tools",
      "base ERAR pass",
    ]);
  });

  test("of a context of its own, with setup.py, rpm packages, a bootstrapped base and a second version of a tool", async () => {
    usual(put);
    const edited = (name: string, ...changes: [string | RegExp, string][]) =>
      put(
        name,
        changes.reduce(
          (text, [from, to]) => {
            expect(text).toMatch(from);
            return text.replace(from, to);
          },
          readFileSync(at(name), "utf8"),
        ),
      );
    edited(
      "images.yaml",
      ["repository: it", "repository: it\n    context: sub"],
      ["{ image: registry.example/base:1, packages: apt }", "{ bootstrap: debian, suite: bookworm, packages: apt }"],
      ["app/pyproject.toml", "app/setup.py"],
      ["[app, Taskfile.yaml, images.yaml]", "[app]"],
    );
    edited(
      "images.lock",
      [
        / {4}packages: .*\n/,
        `    packages: { base-tools: { linux/amd64: { requested: [jq], packages: ["jq-0:1.6-2.el9.x86_64"] } } }\n    bootstrap: { linux/amd64: { requested: [ca-certificates], packages: [bash=5, ca-certificates=1] } }\n`,
      ],
      [
        / {4}python:[\s\S]*tools:/,
        `    dynamic: { app/setup.py: { inputs: ${hex("f")}, metadata: { name: app, version: "1", summary: null, requires: [pyyaml], requiresPython: null, extras: [], entryPoints: [] } } }\ntools:`,
      ],
      ["1.0.0:", `1.1.0: { linux/amd64: { sha256: ${hex("9f").slice(64)} } }, 1.0.0:`],
    );
    for (const path of ["main.py", "setup.py"]) put(`sub/app/${path}`, `# ${path}\n`);
    put("sub/.dockerignore", "**/tests\n");
    const report = await prove(at(""));
    expect(faultLines(report)).toEqual([]);
    const of = (id: string) => lines(report).find((line) => line.startsWith(`${id} `));
    expect(of("setup-py")).toBe("setup-py rrAA pass");
    expect(of("taskfile")).toBe("taskfile rrrr pass");
    expect(of("enrolment")).toBe("enrolment rrrr pass");
    expect(of("label")).toBe("label rrrA pass");
    expect(of("tests")).toBe("tests rrrr pass");
    expect(of("tool-version")).toBe("tool-version EERA pass");
    expect(of("locked-package")).toBe("locked-package EERA pass");
    expect(of("base")).toBe("base EERA pass");
    const says = (id: string) => report.cases.find((one) => one.id === id)?.says;
    expect(says("tool-version")).toBe("TASK_VERSION asks for 1.1.0");
    expect(says("locked-package")).toBe("images.lock holds jq-0:1.6.verify1-2.el9.x86_64 instead of jq-0:1.6-2.el9.x86_64");
    expect(says("base")).toBe("the base asks for bash by name");
  });

  test("that is stopped leaves nothing behind", async () => {
    usual(put);
    const before = everything(at(""));
    const stop = new AbortController();
    const told: string[] = [];
    const wish = {
      ...wishOf(),
      told: ({ id }: { id: string }) => {
        told.push(id);
        stop.abort();
      },
    };
    const proof = proveCache({ ...worldAt(at("")).world, signal: stop.signal }, wish, String);
    await expect(proof).rejects.toMatchObject({ code: "INTERRUPTED" });
    expect(told).toEqual(["folder"]);
    expect(everything(at(""))).toEqual(before);
  });

  test("is of one platform", async () => {
    usual(put);
    await expect(proveCache(worldAt(at("")).world, { ...wishOf(), platform: "amd64,arm64" }, String)).rejects.toMatchObject({
      code: "USAGE",
    });
  });
});
