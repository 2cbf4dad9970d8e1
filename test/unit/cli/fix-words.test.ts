import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { taskWording } from "../../../ci/cli/fix-words.js";
import { callWording } from "../../../dagger/src/module/fix-words.js";
import { type Fix, fixText } from "../../../dagger/src/pipeline/common/fix.js";

const root = fileURLToPath(new URL("../../../", import.meta.url));

test.each<[fix: Fix, task: string, call: string]>([
  ["check the name", "check the name", "check the name"],
  [{ run: "lock", words: { IMAGE: "box" } }, "./task lock IMAGE=box", "`lock IMAGE=box` of image-factory's command line"],
  [
    ["build it again: ", { run: "build", words: { IMAGE: "box", NO_CACHE: "1", REFRESH: "1" } }],
    "build it again: ./task build IMAGE=box NO_CACHE=1 REFRESH=1",
    "build it again: dagger call image --image box --no-cache --cache off",
  ],
  [{ run: "clean", flags: "--all" }, "./task clean -- --all", "`clean -- --all` of image-factory's command line"],
  [{ plainHttp: "host:5000" }, "FACTORY_PLAIN_HTTP=host:5000", "--plain-http"],
  [{ trustFile: "/ca.pem" }, "FACTORY_CA_FILE=/ca.pem", "--ca file:/ca.pem"],
  [
    { login: "ghcr.io" },
    "docker login ghcr.io   (or podman login; in CI set FACTORY_REGISTRY_USER and FACTORY_REGISTRY_TOKEN)",
    "--username NAME --token env:TOKEN",
  ],
])("%j is told in the words of each user", (fix, task, call) => {
  expect([fixText(fix, taskWording), fixText(fix, callWording)]).toEqual([task, call]);
});

test("what both users read names no command of one of them", () => {
  const shared = globSync("dagger/src/**/*.ts", { cwd: root }).filter((path) => !path.includes("/pipeline/render/"));
  const told = shared.flatMap((path) =>
    readFileSync(join(root, path), "utf8")
      .split("\n")
      .filter((line) => line.includes("./task") && !/^\s*(?:\*|\/\/|\/\*\*)/.test(line))
      .map((line) => `${path}: ${line.trim()}`),
  );
  expect(told).toEqual([]);
});
