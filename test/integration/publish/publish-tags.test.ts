import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { known } from "../../../dagger/src/registry/reference/lookup.js";
import { gitOf, openPublishing, type Publishing, short, wholeTags } from "../support/publishing.js";
import { whyNoRegistry } from "../support/registry.js";

/** Tags: when they move, in which order, and when they stay. */
const why = await whyNoRegistry();

describe("tags", () => {
  let at: Publishing;
  let project: string;
  let builder: string;
  let history: ReturnType<typeof gitOf>;
  beforeAll(async () => {
    if (why !== null) return;
    at = await openPublishing();
    project = await at.box.checkout();
    builder = await at.box.machine("executed");
    history = gitOf(project);
    await writeFile(join(project, ".gitignore"), ".factory\n");
    history.commit("one");
  });
  beforeEach((ctx) => {
    if (why !== null) ctx.skip(why);
    at.front.clear();
  });
  afterAll(() => at?.close());
  const digestAt = async (tag: string) => known(await at.repository().headManifest(tag))?.digest;
  const change = async (text: string) => {
    await writeFile(join(project, "app/main.sh"), `${text}\n`);
    return history.commit(text);
  };

  test("nothing is put under a tag before all below it is there", async () => {
    await at.publish(project, builder, ["--tag", "1.0.0", "--tag", "latest"]);
    const log = short(at.front.log).filter((line) => line.startsWith("PUT "));
    const tagged = log.findIndex((line) => /manifests\/(?!sha256)/.test(line));
    // The image by its digest first; the first tag comes after it, and after all blobs that it needs.
    expect(log.indexOf("PUT manifests/sha256:…")).toBeLessThan(tagged);
    const order = log.filter((line) => /manifests\/(?!sha256)/.test(line)).map((line) => line.replace("PUT manifests/", ""));
    expect(order.slice(0, 2)).toEqual(["cache-base-tools-…", "cache-dependencies-…"]);
    expect(order.slice(2).sort()).toEqual(["1.0.0", "key-…", "latest", "mark-latest"]);
    expect(order.indexOf("mark-latest")).toBeLessThan(order.indexOf("latest"));
    // Each tag is put with its content there: that is what a registry that checks (as this one does) answered 201 to at once.
    expect(
      at.front.log.filter(({ method, path, status }) => method === "PUT" && path.includes("/manifests/") && status !== 201),
    ).toEqual([]);
    await wholeTags(at.repository());
  });

  test("latest goes forward with the commits, and never back when an older one ends later", async () => {
    const older = history.git("rev-parse", "HEAD");
    await change("two");
    const newer = history.git("rev-parse", "HEAD");
    const two = await at.publish(project, builder, ["--tag", "latest"]);
    expect(two.tags).toEqual([{ name: "latest", outcome: "moved", why: null }]);

    // The older commit's build, which took its time.
    history.git("checkout", "--quiet", older);
    await writeFile(join(project, "app/late"), "late\n");
    const machine = await at.box.machine("empty");
    const late = await at.run(project, machine, ["publish", "--tag", "latest", "--tag", "0.9.9"]);
    expect(late.code, late.stderr).toBe(0);
    expect(late.stdout).toContain(
      `tags: latest stays where it is, 0.9.9 moved\n  latest: it is of ${newer.slice(0, 12)}, which comes after ${older.slice(0, 12)}; to move it all the same: MOVE=any\n`,
    );
    expect(await digestAt("latest")).toBe(two.digest);
    // Also where only tags are to move.
    const again = await at.publish(project, machine, ["--tag", "latest"]);
    expect(again).toMatchObject({ published: "before", tags: [{ name: "latest", outcome: "kept" }] });
    expect(await digestAt("latest")).toBe(two.digest);
    // On purpose.
    const back = await at.publish(project, machine, ["--tag", "latest", "--move", "any"]);
    expect(back.tags).toEqual([{ name: "latest", outcome: "moved", why: null }]);
    expect(await digestAt("latest")).toBe(back.digest);
    // And forward from there.
    history.git("stash", "--include-untracked", "--quiet");
    history.git("checkout", "--quiet", "main");
    expect((await at.publish(project, builder, ["--tag", "latest"])).tags).toMatchObject([{ outcome: "moved" }]);
    expect(await digestAt("latest")).toBe(two.digest);
  });

  test("a commit that changes nothing of the image moves the mark all the same", async () => {
    const before = await digestAt("mark-latest");
    await writeFile(join(project, "README.md"), "words\n");
    history.commit("words");
    const same = await at.publish(project, builder, ["--tag", "latest"]);
    expect(same).toMatchObject({ published: "before", tags: [{ name: "latest", outcome: "there" }] });
    expect(await digestAt("mark-latest")).not.toBe(before);
    expect(short(at.front.log).filter((line) => line.startsWith("PUT"))).toEqual(["PUT manifests/mark-latest"]);
    at.front.clear();
    await at.publish(project, builder, ["--tag", "latest"]);
    expect(short(at.front.log).filter((line) => line.startsWith("PUT"))).toEqual([]);
  });

  test("where git does not know the other commit, its time decides", async () => {
    await change("three");
    const three = await at.publish(project, builder, ["--tag", "latest"]);
    const other = await at.box.checkout();
    await writeFile(join(other, "app/main.sh"), "of another history\n");
    const shallow = gitOf(other);
    const early = shallow.commit("early");
    const kept = await at.publish(other, builder, ["--tag", "latest"]);
    expect(kept.tags).toMatchObject([
      { outcome: "kept", why: expect.stringContaining(`and ${early.slice(0, 12)} is of 2020-01-02T01:00:00Z`) },
    ]);
    expect(await digestAt("latest")).toBe(three.digest);
    for (let hours = 0; hours < 8; hours++) shallow.commit("later");
    expect((await at.publish(other, builder, ["--tag", "latest"])).tags).toMatchObject([{ outcome: "moved" }]);
  });

  test("a mark that is damaged, or whose tag is gone, holds nobody back", async () => {
    const mark = known(await at.repository().manifest("mark-latest"))!;
    history.git("checkout", "--quiet", "HEAD~1");
    expect((await at.publish(project, builder, ["--tag", "latest"])).tags).toMatchObject([{ outcome: "kept" }]);
    await at.repository().deleteManifest((await digestAt("latest"))!);
    expect((await at.publish(project, builder, ["--tag", "latest"])).tags).toMatchObject([{ outcome: "moved" }]);
    history.git("checkout", "--quiet", "main~3");
    const image = known(await at.repository().manifest("1.0.0"))!;
    await at.repository().putManifest("mark-latest", image.mediaType, image.bytes);
    expect((await at.publish(project, builder, ["--tag", "latest"])).tags).toMatchObject([{ outcome: "moved" }]);
    expect(known(await at.repository().manifest("mark-latest"))?.bytes.toString()).not.toBe(mark.bytes.toString());
  });

  test("a tag that a person promoted stays, until there is a later commit", async () => {
    history.git("checkout", "--quiet", "main");
    const main = await at.publish(project, builder, ["--tag", "latest"]);
    const image = known(await at.repository().manifest("1.0.0"))!;
    const promoted = await at.run(project, builder, ["promote", image.digest, "latest"]);
    expect(promoted.code, promoted.stderr).toBe(0);
    const again = await at.publish(project, builder, ["--tag", "latest"]);
    expect(again.tags).toMatchObject([{ outcome: "kept", why: expect.stringContaining("it was put there by hand, at ") }]);
    expect(await digestAt("latest")).toBe(image.digest);
    await writeFile(join(project, "NEWS.md"), "fixed\n");
    history.commit("fixed", Date.now() + 60_000);
    expect(await at.publish(project, builder, ["--tag", "latest"])).toMatchObject({
      digest: main.digest,
      tags: [{ outcome: "moved" }],
    });
  });

  test("outside a checkout nothing is compared, and that is said", async () => {
    const plain = await at.box.checkout();
    await writeFile(join(plain, "app/main.sh"), "no history\n");
    const done = await at.publish(plain, builder, ["--tag", "latest"]);
    expect(done.tags).toMatchObject([{ outcome: "moved" }]);
    expect(done.stderr).toContain("note: no commit to compare with where latest stands: fatal: not a git repository");
    at.front.clear();
    // A tag of one release has no history: nothing is said, and no mark is made.
    const release = await at.publish(plain, builder, ["--tag", "3.0.0"]);
    expect(release.stderr).not.toContain("commit");
    expect(short(at.front.log).filter((line) => line.includes("mark-"))).toEqual([]);
  });

  test("a tag that is immutable is refused with its name; the image and the other tags are there", async () => {
    history.git("checkout", "--quiet", "main");
    await change("four");
    const body =
      '{"errors":[{"code":"TAG_INVALID","message":"The image tag cannot be overwritten because the repository is immutable."}]}';
    at.front.on({ method: "PUT", path: /manifests\/1\.0\.0$/, times: 9, fault: { do: "answer", status: 400, body } });
    const words = ["publish", "--tag", "1.0.0", "--tag", "1.0.9", "--tag", "latest"];
    const refused = await at.run(project, builder, words);
    expect(refused.stderr).toMatch(/error TAG_IMMUTABLE: .*:1\.0\.0/);
    expect(refused.code).toBe(73);
    expect(await digestAt("latest")).toBe(await digestAt("1.0.9"));
    const again = await at.publish(project, builder, ["--tag", "1.0.9"]);
    expect(again).toMatchObject({ published: "before", tags: [{ name: "1.0.9", outcome: "there" }] });
  });

  test("tags of ours that are immutable hold nothing up", async () => {
    await change("five");
    const body = '{"errors":[{"code":"TAG_INVALID","message":"immutable"}]}';
    at.front.on({ method: "PUT", path: /manifests\/(?:key|cache|mark)-/, times: 9, fault: { do: "answer", status: 400, body } });
    const done = await at.publish(project, builder, ["--tag", "latest", "--refresh"]);
    expect(done.tags).toMatchObject([{ outcome: "moved" }]);
    expect(
      done.stderr.match(/note: .*(?:key|cache-[a-z-]+)-[0-9a-f]{24} stays as it is: tags cannot be moved there/g),
    ).toHaveLength(3);
  });

  test.each(["cache-x", "key-x", "mark-latest", "-x", "a b/c", "ä"])("%s is no tag of a person's", async (tag) => {
    const { code, stderr } = await at.run(project, builder, ["publish", "--tag", tag]);
    expect(code).toBe(64);
    expect(stderr).toContain("error USAGE");
    expect(at.front.log).toEqual([]);
  });
});
