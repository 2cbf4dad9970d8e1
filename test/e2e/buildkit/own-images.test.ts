import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ImageTest } from "../../../ci/image-test/test-image.js";
import type { CacheReport } from "../../../dagger/src/pipeline/verify/case-result.js";
import { actionsOf, built, factory } from "../support/factory.js";
import { lacking } from "../support/needs.js";
import { takeSharedBase } from "../support/shared-base.js";

/** The image of this repository that needs no registry, built, proved and tested as README says. It compiles a program: minutes. */
const absent = await lacking("mmdebstrap", "runc");
const root = fileURLToPath(new URL("../../../", import.meta.url));
const image = ["--image", "builder-debian"];

describe.skipIf(absent !== null)(`builder-debian${absent === null ? "" : ` (skipped: ${absent})`}`, () => {
  let env: Record<string, string>;
  beforeAll(async () => {
    env = { FACTORY_STATE: await mkdtemp(join(tmpdir(), "factory-own-")) };
    await takeSharedBase(root, env, "builder-debian");
    const { record } = await built(root, image, env);
    expect(actionsOf(record)).toMatchObject({ "base-tools": "execute", dependencies: "execute" });
  });
  afterAll(async () => {
    await factory(root, ["engine", "stop"], env);
    await rm(env["FACTORY_STATE"]!, { recursive: true, force: true });
  });

  test("its cache holds: a code change by its bytes, every other change on plans", async () => {
    const { code, stdout, stderr } = await factory(root, ["verify:cache", ...image, "--fast", "--json"], env);
    expect(code, stderr).toBe(0);
    const { cases } = JSON.parse(stdout) as CacheReport;
    const odd = cases.filter(({ verdict }) => verdict !== "pass").map(({ id, verdict }) => `${id} ${verdict}`);
    expect(odd).toEqual(["setup-py not-applicable", ...(process.getuid?.() === 0 ? [] : ["owner not-applicable"])]);
    expect(cases.find(({ id }) => id === "code")).toMatchObject({
      proof: "build",
      stages: [{ did: "reused" }, { did: "reused" }, { did: "assembled" }, {}],
    });
  });

  test("it is what its plan says: the venv is on PATH, and the healthcheck finds its interpreter", async () => {
    const { code, stdout, stderr } = await factory(root, ["test-image", ...image, "--json"], env);
    expect(code, stdout + stderr).toBe(0);
    const { checks } = JSON.parse(stdout) as ImageTest;
    expect(checks.filter(({ verdict }) => verdict !== "pass")).toEqual([]);
    const { stdout: path } = await factory(root, ["shell", ...image, "--command", "printenv PATH; command -v python3"], env);
    expect(path).toBe("/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n/opt/venv/bin/python3\n");
  });
});
