import { appendFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { known } from "../../../dagger/src/registry/reference/lookup.js";
import type { Manifest } from "../../../dagger/src/pipeline/oci/manifest.js";
import { clientOf } from "../support/client.js";
import { startFaultyProxy } from "../support/faulty-proxy.js";
import { gitOf, openPublishing, type Publishing, wholeTags } from "../support/publishing.js";
import { whyNoRegistry } from "../support/registry.js";

/** Several builders at once, and builders that end in the middle: the registry and the state folder hold whole images at every moment. */
const why = await whyNoRegistry();

describe("publish", () => {
  let at: Publishing;
  let project: string;
  beforeAll(async () => {
    if (why !== null) return;
    at = await openPublishing();
    project = await at.box.checkout();
    gitOf(project).commit("one");
  });
  beforeEach((ctx) => {
    if (why !== null) ctx.skip(why);
    at.front.clear();
  });
  afterAll(() => at?.close());
  /** A namespace of the registry that nobody used yet. */
  const team = (name: string) => ({
    env: { FACTORY_REGISTRY: `${at.front.host}/${name}` },
    repository: clientOf(at.registry.host).repository(`${name}/small`),
  });
  const layersOf = async (repository: ReturnType<typeof team>["repository"], digest: string) =>
    (JSON.parse(String(known(await repository.manifest(digest))?.bytes)) as Manifest).layers.map((layer) => layer.digest);

  test.each([2, 8])(
    "%i builders that executed the same key each for itself: every image is whole, and of one builder",
    async (count) => {
      const { env, repository } = team(`race${count}`);
      const machines = await Promise.all(
        Array.from({ length: count }, async (_, n) => {
          const state = await at.box.machine("empty");
          await at.box.executed(state, project, `builder ${n}`);
          return state;
        }),
      );
      const results = await Promise.all(machines.map((state) => at.publish(project, state, ["--tag", "latest"], env)));
      const tags = await wholeTags(repository);
      const digests = [...new Set(results.map(({ digest }) => digest))];
      expect(digests).toContain(tags["latest"]);
      const executed = (await Promise.all(digests.map((digest) => layersOf(repository, digest)))).map((layers) =>
        layers.slice(0, 2),
      );
      // No image is built on one builder's base and another's dependencies: two images share both of these layers, or none.
      expect(new Set(executed.flat()).size).toBe(2 * new Set(executed.map(String)).size);

      // From here on there is one answer, on every machine.
      await appendFile(join(project, "app/main.sh"), `# after the race of ${count}\n`);
      const after = await Promise.all(
        [...machines.slice(0, 2), await at.box.machine("empty")].map((state) => at.publish(project, state, [], env)),
      );
      expect(new Set(after.map(({ digest }) => digest)).size).toBe(1);
      await wholeTags(repository);
    },
  );

  test("a machine that executed a stage anew publishes on what the registry has of it", async () => {
    const { env, repository } = team("adopt");
    const first = await at.publish(project, await at.box.machine("executed"), [], env);
    await appendFile(join(project, "app/main.sh"), "# adopted\n");
    const other = await at.box.machine("empty");
    await at.box.executed(other, project, "another result");
    expect((await at.run(project, other, ["build"], { ...env, FACTORY_REMOTE: "off" })).code).toBe(0);
    const done = await at.publish(project, other, [], env);
    expect(done.stderr).toMatch(
      /note: \S+\/adopt\/small has dependencies of this key from another machine: the image is built on that one/,
    );
    expect((await layersOf(repository, done.digest)).slice(0, 2)).toEqual((await layersOf(repository, first.digest)).slice(0, 2));
    expect(await at.publish(project, await at.box.machine("empty"), [], env)).toMatchObject({ digest: done.digest });
  });

  test("builders of one state folder do not get into each other's way", async () => {
    const { env, repository } = team("shared");
    const state = await at.box.machine("executed");
    await appendFile(join(project, "app/main.sh"), "# shared\n");
    const results = await Promise.all([1, 2, 3].map(() => at.publish(project, state, ["--tag", "latest"], env)));
    expect(new Set(results.map(({ digest }) => digest)).size).toBe(1);
    await wholeTags(repository);
  });

  test("a builder that is killed at any request leaves nothing that is not whole, and the next one ends the work", async () => {
    await appendFile(join(project, "app/main.sh"), "# killed\n");
    const words = ["publish", "--tag", "latest"];
    const { env } = team("calm");
    const { digest } = await at.publish(project, await at.box.machine("executed"), words.slice(1), env);
    const requests = at.front.log.length;
    expect(requests).toBeGreaterThan(40);

    const killAt = async (nth: number) => {
      const name = `killed${nth}`;
      const state = await at.box.machine("executed");
      let seen = 0;
      let kill: () => Promise<void> = async () => undefined;
      const front = await startFaultyProxy(at.registry.host, async () => {
        if (++seen === nth) await kill();
      });
      const place = { FACTORY_REGISTRY: `${front.host}/${name}` };
      const repository = clientOf(at.registry.host).repository(`${name}/small`);
      const running = at.start(project, state, words, place);
      kill = async () => {
        running.process.kill("SIGKILL");
        await running.ended;
      };
      const ended = await running.ended;
      const left = await wholeTags(repository);
      if (left["latest"] !== undefined) expect(left["latest"]).toBe(digest);
      const next = await at.publish(project, state, words.slice(1), place);
      expect(next.digest).toBe(digest);
      expect((await wholeTags(repository))["latest"]).toBe(digest);
      await front.stop();
      return { nth, code: ended.code };
    };
    const queue = Array.from({ length: requests }, (_, n) => n + 1);
    const codes = new Map<number, number>();
    const lane = async () => {
      for (let nth = queue.shift(); nth !== undefined; nth = queue.shift()) codes.set(nth, (await killAt(nth)).code);
    };
    await Promise.all([lane(), lane()]);
    // Each of them was killed indeed: the last request comes before the process has anything to say.
    expect([...codes.values()].filter((code) => code !== 128)).toEqual([]);
  }, 600_000);
});
