import { appendFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { known } from "../../../dagger/src/registry/reference/lookup.js";
import { openPublishing, type Publishing, short, wholeTags } from "../support/publishing.js";
import { whyNoRegistry } from "../support/registry.js";
import { setPlatforms } from "../support/toolbox.js";

/** Which platforms a publish is for, and what a tag that names several may lose. */
const why = await whyNoRegistry();

describe("platforms", () => {
  let at: Publishing;
  let project: string;
  beforeAll(async () => {
    if (why !== null) return;
    at = await openPublishing();
    project = await at.box.checkout();
  });
  beforeEach((ctx) => {
    if (why !== null) ctx.skip(why);
    at.front.clear();
  });
  afterAll(() => at?.close());

  test("all platforms of images.yaml are published as one index, found again by its keys; none is taken from a tag unasked", async () => {
    await setPlatforms(project, "linux/amd64", "linux/arm64");
    const machine = await at.box.machine("executed");
    const both = await at.publish(project, machine, ["--tag", "2.0.0"]);
    const index = known(await at.repository().manifest("2.0.0"));
    const { manifests } = JSON.parse(String(index?.bytes)) as { manifests: { platform: object }[] };
    expect(index?.digest).toBe(both.digest);
    expect(manifests.map(({ platform }) => platform)).toEqual([
      { os: "linux", architecture: "amd64" },
      { os: "linux", architecture: "arm64" },
    ]);
    await wholeTags(at.repository());
    at.front.clear();
    const again = await at.publish(project, machine);
    expect(again).toMatchObject({ published: "before", digest: both.digest });
    expect(short(at.front.log)).toEqual(["GET manifests/key-…"]);
    await appendFile(join(project, "app/main.sh"), "# more\n");
    expect(await at.publish(project, await at.box.machine("empty"))).toMatchObject({ published: "now" });
    expect((await readdir(join(machine, "runs"))).length).toBe(1);

    const one = ["publish", "--platform", "linux/amd64", "--tag", "2.0.0"];
    const { code, stderr } = await at.run(project, machine, one);
    expect(code).toBe(73);
    expect(stderr).toContain("error TAG_NARROWED: ");
    expect(stderr).toContain("2.0.0 would lose linux/arm64\n");
    expect(known(await at.repository().headManifest("2.0.0"))?.digest).toBe(both.digest);
    expect((await at.run(project, machine, [...one, "--move", "any"])).code).toBe(0);
    expect(known(await at.repository().headManifest("2.0.0"))?.digest).not.toBe(both.digest);
  });
});
