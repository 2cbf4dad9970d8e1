import { appendFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Fault } from "../integration/support/faulty-proxy.js";
import { gitOf, openPublishing, type Publishing, wholeTags } from "../integration/support/publishing.js";
import { whyNoRegistry } from "../integration/support/registry.js";
import { type Random, randomOf, rounds, seed, tally } from "./rounds.js";

/**
 * A registry that fails at random endpoints and moments while images are planned and published: never a bug, never a tag on something that is not
 * whole or not the image of these inputs; and when the faults are over, the next publish gives the right image.
 */
const why = await whyNoRegistry();
let at: Publishing;
beforeAll(async () => {
  if (why === null) at = await openPublishing();
});
afterAll(() => at?.close());

const endpoints = {
  "cached stages": /manifests\/cache-/,
  "the key tag": /manifests\/key-/,
  marks: /manifests\/mark-/,
  "people's tags": /manifests\/(latest|v\d+)$/,
  "manifests by digest": /manifests\/sha256:/,
  blobs: /blobs\/sha256:/,
  uploads: /blobs\/uploads\//,
  everything: /./,
};
const methods = ["GET", "HEAD", "PUT", "POST", "PATCH", undefined];
const codes = [
  "DENIED",
  "UNSUPPORTED",
  "MANIFEST_INVALID",
  "NAME_UNKNOWN",
  "MANIFEST_UNKNOWN",
  "BLOB_UNKNOWN",
  "TOOMANYREQUESTS",
];
const bodies = ["", "{", "null", "[]", "<html>a proxy</html>", '{"errors":[null]}', '{"errors":[{"code":7}]}'];

const faultOf = (random: Random): Fault => {
  const after = random.oneOf([0, 1, 100, 5000]);
  const body =
    random.below(3) === 0 ? random.oneOf(bodies) : JSON.stringify({ errors: [{ code: random.oneOf(codes), message: "no" }] });
  return random.oneOf<() => Fault>([
    () => ({ do: "answer", status: random.oneOf([400, 401, 403, 404, 405, 409, 413, 415, 429, 500, 502, 503]), body }),
    () => ({ do: "answer", status: random.oneOf([200, 201, 202, 204, 301, 307]), body, headers: { location: "http://%" } }),
    () => ({ do: "reset", after }),
    () => ({ do: "break", after }),
    () => ({ do: "lose" }),
    () => ({ do: "truncate", after }),
    () => ({ do: "change", body }),
    () => ({ do: "change", headers: { "docker-content-digest": `sha256:${"1".repeat(64)}` } }),
    () => ({ do: "change", headers: { "docker-content-digest": undefined, "content-type": "text/html" } }),
  ])();
};

/** Faults at up to three endpoints, said in words for whoever reads a failure. */
const spoil = (random: Random): string =>
  Array.from({ length: 1 + random.below(3) }, () => {
    const [name, path] = random.oneOf(Object.entries(endpoints));
    const method = random.oneOf(methods);
    const fault = faultOf(random);
    const rule = { path, ...(method === undefined ? {} : { method }), skip: random.below(2), times: random.oneOf([1, 2, 100]) };
    at.front.on({ ...rule, fault });
    return `${method ?? "any"} ${name}, ${rule.times} after ${rule.skip}: ${JSON.stringify(fault)}`;
  }).join("; ");

test("faults at random endpoints and moments: the right image or a clear error, and the next publish heals", async (ctx) => {
  if (why !== null) ctx.skip(why);
  const random = randomOf("registry-faults");
  const outcomes = tally();
  const project = await at.box.checkout();
  const { commit } = gitOf(project);
  commit("first");
  const builder = await at.box.machine("executed");
  const first = await at.publish(project, builder, ["--tag", "latest"]);
  const right = new Set([first.digest]);
  for (let round = 0; round < rounds({ short: 3, long: 300 }); round += 1) {
    await appendFile(join(project, "app/main.sh"), `# ${round}\n`);
    commit(`round ${round}`);
    const made = await at.run(project, builder, ["build", "--json"], { FACTORY_REMOTE: "off" });
    const { digest } = JSON.parse(made.stdout) as { digest: string };
    const state = await at.box.machine(random.oneOf(["empty", "executed"]));
    const verb = random.below(5) === 0 ? "plan" : "publish";
    const before = (await wholeTags(at.repository()))["latest"];
    const told = `seed ${seed}, round ${round}, ${verb}: ${spoil(random)}`;
    const words = verb === "plan" ? ["plan"] : ["publish", "--json", "--tag", "latest", "--tag", `v${round}`];
    const done = await at.run(project, state, words);
    expect(done.code, `${told}\n${done.stderr}`).not.toBe(1);
    expect(done.code === 0 || /^(error [A-Z_]+: |\{"error":\{"code":)/m.test(done.stderr), `${told}\n${done.stderr}`).toBe(true);
    if (verb === "plan") expect(done.code, `${told}\n${done.stderr}`).toBe(0);
    const harmed = at.front.log.some(({ fault }) => fault !== null);
    outcomes.add(`${verb} ${done.code}${harmed ? "" : " unharmed"}`);
    at.front.clear();

    // Whatever happened: every tag is whole, and names an image of its own inputs.
    right.add(digest);
    const tags = await wholeTags(at.repository()).catch((error: unknown) => {
      throw new Error(`${told}\n${done.stderr}`, { cause: error });
    });
    expect([before, digest], told).toContain(tags["latest"]);
    expect([undefined, digest], told).toContain(tags[`v${round}`]);
    for (const [tag, named] of Object.entries(tags))
      if (tag.startsWith("key-")) expect([...right], `${told}: ${tag}`).toContain(named);
    if (verb === "publish" && done.code === 0) {
      expect((JSON.parse(done.stdout) as { digest: string }).digest, told).toBe(digest);
      expect([tags["latest"], tags[`v${round}`]], told).toEqual([digest, digest]);
    }

    const healed = await at.publish(project, state, ["--tag", "latest"]).catch((error: unknown) => {
      throw new Error(`${told}\n${done.stderr}`, { cause: error });
    });
    expect(healed.digest, told).toBe(digest);
    expect((await wholeTags(at.repository()))["latest"], told).toBe(digest);
    at.front.clear();
  }
  outcomes.print("registry faults");
});
