import { appendFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { known } from "../../../dagger/src/registry/reference/lookup.js";
import { openPublishing, type Publishing, wholeOf, wholeTags } from "../support/publishing.js";
import { whyNoRegistry } from "../support/registry.js";

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
    [...new Set(Object.keys(await wholeTags(at.repository(name))).map((tag) => tag.replace(/-[0-9a-f]{24}$/, "")))].sort();
  const asked = (name: string) => at.front.log.filter(({ path }) => path.startsWith(`/v2/team/${name}/`));

  test("a branch writes nothing but its sibling repository: image, tags and cached stages", async () => {
    const { stderr, name } = await at.publish(project, builder, ["--tag", "pr-7", "--tag", "latest"], branch);
    const sibling = `${at.front.host}/team/small-branches`;
    expect(stderr).toContain(`scope: branch (FACTORY_SCOPE): image, tags and cached stages go to ${sibling}\n`);
    expect(name).toBe(sibling);
    expect(known(await at.repository().tags()) ?? []).toEqual([]);
    expect(await tagsOf("small-branches")).toEqual(["cache-base-tools", "cache-dependencies", "key", "latest", "pr-7"]);
    // Not even the right to write to the image's repository is asked for.
    expect(asked("small").filter(({ method }) => method !== "GET" && method !== "HEAD")).toEqual([]);
  });

  test.each(["promote", "prune"])("%s changes nothing of the image's repository for a branch", async (verb) => {
    const digest = `sha256:${"0".repeat(64)}`;
    const words = verb === "promote" ? ["promote", digest, "stable"] : ["prune", "--yes"];
    const { code, stderr } = await at.run(project, builder, words, branch);
    expect(asked("small").filter(({ method }) => method !== "GET" && method !== "HEAD")).toEqual([]);
    if (verb === "promote") {
      expect(code).toBe(77);
      expect(stderr).toContain("only a protected ref moves tags of this repository, and this counts as a branch (FACTORY_SCOPE)");
    }
  });

  test("another branch build is built on the sibling's refs, and pushes them no more", async () => {
    await appendFile(join(project, "app/main.sh"), "# more\n");
    const done = await at.publish(project, await at.box.machine("empty"), ["--tag", "pr-8"], branch);
    expect(done.published).toBe("now");
    const stageRefs = asked("small-branches").filter(({ method, path }) => method === "PUT" && path.includes("/cache-"));
    expect(stageRefs).toEqual([]);
    expect(at.front.log.filter(({ method, down }) => method === "GET" && down > 100_000)).toEqual([]);
    // The layers of the base are in the sibling already: nothing but the changed one goes up.
    expect(at.front.log.reduce((sum, { up }) => sum + up, 0)).toBeLessThan(250_000);
    await wholeOf(at.repository("small-branches"), "pr-8");
    at.front.clear();
    expect(await at.publish(project, await at.box.machine("empty"), [], branch)).toMatchObject({ published: "before" });
  });

  test("a protected build never reads the sibling", async () => {
    const empty = await at.box.machine("empty");
    const planned = await at.run(project, empty, ["plan"]);
    expect(planned.stdout).toMatch(/base-tools +[0-9a-f]{12} +execute/);
    const refused = await at.run(project, empty, ["publish"]);
    expect(refused.stderr).toContain("error ENGINE_MISSING");
    expect(asked("small-branches")).toEqual([]);

    // Not even out of a state folder that a branch's build filled.
    const shared = await at.box.machine("empty");
    expect((await at.run(project, shared, ["build"], branch)).code).toBe(0);
    at.front.clear();
    expect((await at.run(project, shared, ["plan"])).stdout).toMatch(/base-tools +[0-9a-f]{12} +execute/);

    expect(await at.publish(project, builder, ["--tag", "main"])).toMatchObject({ published: "now" });
    expect(asked("small-branches")).toEqual([]);
    expect(await tagsOf()).toEqual(["cache-base-tools", "cache-dependencies", "key", "main"]);
  });

  test("a branch builds on protected stages first, links their layers, and then writes no cached stages", async () => {
    await appendFile(join(project, "app/main.sh"), "# more\n");
    const done = await at.publish(project, await at.box.machine("empty"), [], branch);
    expect(done.published).toBe("now");
    const stageRefs = asked("small-branches").filter(({ method, path }) => method === "PUT" && path.includes("/cache-"));
    expect(stageRefs).toEqual([]);
    // Layers are linked from one repository to the other: nothing large goes up.
    expect(at.front.log.filter(({ up, down }) => up > 250_000 || down > 250_000)).toEqual([]);
  });

  test("a branch's image is the protected one, where it is made of the same", async () => {
    await appendFile(join(project, "app/main.sh"), "# more\n");
    const { digest } = await at.publish(project, builder);
    expect(await at.publish(project, await at.box.machine("empty"), ["--tag", "pr-9"], branch)).toMatchObject({
      digest,
    });
    expect((await wholeOf(at.repository("small-branches"), "pr-9")).digest).toBe(digest);
  });

  test("a fork reads, builds, and writes nothing", async () => {
    await appendFile(join(project, "app/main.sh"), "# more\n");
    const event = join(at.box.root, "event.json");
    await writeFile(event, JSON.stringify({ pull_request: { head: { repo: { full_name: "mallory/toolbox" } } } }));
    const fork = {
      FACTORY_SCOPE: undefined,
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
