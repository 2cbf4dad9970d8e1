import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { actionsOf, built, factory } from "../support/factory.js";
import { lacking } from "../support/needs.js";
import { openTiny, type Tiny } from "../support/tiny.js";

/** A state folder and folders of a project whose names mean something to a URL, to comma-separated values or to a shell. */
const absent = await lacking("docker-registry", "skopeo", "busybox", "runc");

describe.skipIf(absent !== null)(`odd paths${absent === null ? "" : ` (skipped: ${absent})`}`, () => {
  let tiny: Tiny;
  beforeAll(async () => {
    tiny = await openTiny();
  });
  afterAll(() => tiny.close());

  test.each(["a#b", "100%", "%23", "a b", "a?b", "größe", 'comma, "quotes"', "a@b:1=2", `long-${"x".repeat(120)}`])(
    "%s: stages are executed on each other, by the engine that belongs to that state folder",
    async (name) => {
      const folder = join(tiny.root, name);
      await mkdir(folder);
      const env = { ...tiny.env, FACTORY_STATE: join(folder, "state"), TMPDIR: join(folder, "tmp") };
      await mkdir(env.TMPDIR);
      const project = join(folder, "project");
      await rename(await tiny.project("run: [echo one > /one]"), project);
      const yaml = await readFile(join(project, "images.yaml"), "utf8");
      await writeFile(join(project, "images.yaml"), yaml.replace("dependencies: {}", "dependencies: { run: [test -f /one] }"));
      const { record } = await built(project, ["--output", `oci:${join(folder, "out")}`], env);
      expect(actionsOf(record)).toMatchObject({ "base-tools": "execute", dependencies: "execute" });
      const { code, stderr } = await factory(project, ["engine", "stop"], env);
      expect(code, stderr).toBe(0);
    },
  );
});
