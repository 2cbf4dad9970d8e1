import { appendFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { known } from "../../dagger/src/registry/lookup.js";
import { openPublishing, type Publishing, wholeOf, wholeTags } from "./support/publishing.js";
import { whyNoRegistry } from "./support/registry.js";

/** Who may write what, as the registry sees it. */
const why = await whyNoRegistry();
const branch = { FACTORY_SCOPE: "branch" };

describe("scopes", () => {
  let at: Publishing;
  let project: string;
  let builder: string;
  beforeAll(async () => {
    if (why !== null) return;
    at = await openPublishing();
    project = await at.box.checkout();
    builder = await at.box.machine("executed");
  });
  beforeEach((ctx) => {
    if (why !== null) ctx.skip(why);
    at.front.clear();
  });
  afterAll(() => at?.close());
  const tagsOf = async (name?: string) =>
    Object.keys(await wholeTags(at.repository(name)))
      .map((tag) => tag.replace(/-[0-9a-f]{24}$/, ""))
      .sort();
  const asked = (name: string) => at.front.log.filter(({ path }) => path.startsWith(`/v2/team/${name}/`));

  test("a branch puts stage refs into the sibling, and the image into the image's own repository", async () => {
    const { stderr } = await at.publish(project, builder, ["--tag", "pr-7"], branch);
    expect(stderr).toContain(`scope: branch (FACTORY_SCOPE): new stage refs go to ${at.front.host}/team/small-branches\n`);
    expect(await tagsOf()).toEqual(["key-branch", "pr-7"]);
    expect(await tagsOf("small-branches")).toEqual(["cache-base-tools", "cache-dependencies"]);
    // Layers are linked from one repository to the other: nothing large goes up twice.
    expect(asked("small-branches").filter(({ up }) => up > 100_000)).toEqual([]);
  });

  test("another branch build stands on the sibling's refs, and pushes them no more", async () => {
    await appendFile(join(project, "app/main.sh"), "# more\n");
    const done = await at.publish(project, await at.box.machine("empty"), ["--tag", "pr-8"], branch);
    expect(done.published).toBe("now");
    expect(asked("small-branches").filter(({ method }) => method === "PUT")).toEqual([]);
    expect(at.front.log.filter(({ method, down }) => method === "GET" && down > 100_000)).toEqual([]);
    // The layers of the base are in the image's repository already: nothing but the changed one goes up.
    expect(at.front.log.reduce((sum, { up }) => sum + up, 0)).toBeLessThan(250_000);
    await wholeOf(at.repository(), "pr-8");
    at.front.clear();
    expect(await at.publish(project, await at.box.machine("empty"), [], branch)).toMatchObject({ published: "before" });
  });

  test("a protected build never reads the sibling, nor an image by the key of a branch", async () => {
    const empty = await at.box.machine("empty");
    const planned = await at.run(project, empty, ["plan"]);
    expect(planned.stdout).toMatch(/base-tools +[0-9a-f]{12} +execute/);
    const refused = await at.run(project, empty, ["publish"]);
    expect(refused.stderr).toContain("error ENGINE_MISSING");
    expect(asked("small-branches")).toEqual([]);
    expect(asked("small").filter(({ path }) => path.includes("key-branch"))).toEqual([]);

    // Not even out of a state folder that a branch's build filled.
    const shared = await at.box.machine("empty");
    expect((await at.run(project, shared, ["build"], branch)).code).toBe(0);
    at.front.clear();
    expect((await at.run(project, shared, ["plan"])).stdout).toMatch(/base-tools +[0-9a-f]{12} +execute/);

    expect(await at.publish(project, builder, ["--tag", "main"])).toMatchObject({ published: "now" });
    expect(asked("small-branches")).toEqual([]);
    expect(await tagsOf()).toEqual([
      "cache-base-tools",
      "cache-dependencies",
      "key",
      "key-branch",
      "key-branch",
      "main",
      "pr-7",
      "pr-8",
    ]);
  });

  test("a branch stands on protected refs first, and then writes none", async () => {
    await appendFile(join(project, "app/main.sh"), "# more\n");
    const siblings = await wholeTags(at.repository("small-branches"));
    const done = await at.publish(project, await at.box.machine("empty"), [], branch);
    expect(done.published).toBe("now");
    expect(asked("small-branches").map(({ method }) => method)).toEqual(["GET", "GET"]);
    expect(await wholeTags(at.repository("small-branches"))).toEqual(siblings);
  });

  test("a branch takes a protected image for its own, where it is the same", async () => {
    await appendFile(join(project, "app/main.sh"), "# more\n");
    const { digest } = await at.publish(project, builder);
    expect(await at.publish(project, await at.box.machine("empty"), ["--tag", "pr-9"], branch)).toMatchObject({
      digest,
      published: "before",
    });
  });

  test("a fork reads, builds, and writes nothing", async () => {
    await appendFile(join(project, "app/main.sh"), "# more\n");
    const event = join(at.box.root, "event.json");
    await writeFile(event, JSON.stringify({ pull_request: { head: { repo: { full_name: "mallory/toolbox" } } } }));
    const fork = {
      CI: "true",
      GITHUB_ACTIONS: "true",
      GITHUB_EVENT_NAME: "pull_request_target",
      GITHUB_EVENT_PATH: event,
      GITHUB_REPOSITORY: "acme/toolbox",
      GITHUB_REF_PROTECTED: "true",
    };
    const machine = await at.box.machine("empty");
    const refused = await at.run(project, machine, ["publish", "--tag", "latest"], fork);
    expect(refused.code).toBe(77);
    expect(refused.stderr).toMatch(
      /error REGISTRY_DENIED: not allowed to publish to .*\n {2}this is a build of a fork \(GitHub event pull_request_target from mallory\/toolbox\)/,
    );
    expect(at.front.log).toEqual([]);
    const built = await at.run(project, machine, ["build"], fork);
    expect(built.code, built.stderr).toBe(0);
    expect(at.front.log.filter(({ method }) => method !== "GET")).toEqual([]);
    expect(asked("small-branches")).toEqual([]);
    expect(known(await at.repository().headManifest("latest"))).toBeNull();
  });
});
