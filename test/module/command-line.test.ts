import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { run } from "../../ci/host/process.js";
import { readManifest } from "../../dagger/src/oci-layout/blobs.js";
import type { BuildRecord } from "../../dagger/src/pipeline/common/build-record.js";
import { whyNot } from "./support/why-not.js";

/** The command line with a real Dagger engine, as a person types it. Runs wherever `dagger` answers. */
const root = fileURLToPath(new URL("../..", import.meta.url));
const absent = await whyNot();

describe.skipIf(absent !== null)(`the command line on an engine${absent === null ? "" : ` (skipped: ${absent})`}`, () => {
  let folder = "";
  let project = "";
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "factory-dagger-"));
    project = join(folder, "tiny");
    cpSync(fileURLToPath(new URL("fixtures/tiny", import.meta.url)), project, { recursive: true });
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const build = async (state: string, ...words: string[]) => {
    const program = join(root, ".factory/bin/factory.cjs");
    const done = await run(process.execPath, [program, "build", "--json", "--platform", "linux/amd64", ...words], {
      cwd: project,
      env: { FACTORY_STATE: join(folder, state), FACTORY_REMOTE: "off", BUILDKIT_HOST: undefined, FACTORY_BUILDKIT: undefined },
      timeout: 850_000,
    });
    expect(done.exitCode, done.stderr).toBe(0);
    return { record: JSON.parse(done.stdout) as BuildRecord, stderr: done.stderr };
  };
  const layersOf = (state: string, { digest }: BuildRecord) => readManifest(join(folder, state, "layout"), digest).layers;

  test("a build takes Dagger by itself, in the first start of the program and in the second", async () => {
    for (const state of ["first", "second"]) {
      const { record, stderr } = await build(state);
      expect(stderr).toContain("engine: dagger (");
      expect(record.platforms[0]!.stages[0]!.action).toBe("execute");
    }
  });

  test("its layers are as many, of the same kind and about as large as those that BuildKit makes under the same keys", async () => {
    const [ours, other] = [await build("dagger", "--engine", "dagger"), await build("buildkit", "--engine", "buildkit")];
    const keys = ({ platforms }: BuildRecord) => platforms[0]!.stages.map(({ key }) => key);
    expect(keys(ours.record)).toEqual(keys(other.record));
    const [here, there] = [layersOf("dagger", ours.record), layersOf("buildkit", other.record)];
    expect(here.map(({ mediaType }) => mediaType)).toEqual(there.map(({ mediaType }) => mediaType));
    const sum = (layers: readonly { size: number }[]) => layers.reduce((all, { size }) => all + size, 0);
    expect(sum(here) / sum(there)).toBeCloseTo(1, 1);
  });
});
