import { appendFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { blobPath, readManifest } from "../../../dagger/src/oci-layout/blobs.js";
import { type Descriptor, type ImageIndex, type Manifest } from "../../../dagger/src/pipeline/oci/manifest.js";
import { openPush } from "../../../dagger/src/distribution/push-image.js";
import { partTypes } from "../../../dagger/src/pipeline/oci/stage-artifact.js";
import { bytesBody } from "../../../dagger/src/registry/http/body.js";
import type { Repository } from "../../../dagger/src/registry/client.js";
import { digestOf } from "../../../dagger/src/registry/reference/digest.js";
import { known } from "../../../dagger/src/registry/reference/lookup.js";
import { openPublishing, type Publishing, wholeOf, wholeTags } from "../support/publishing.js";
import { whyNoRegistry } from "../support/registry.js";
import { setPlatforms } from "../support/toolbox.js";

/**
 * A ref with the right tag and wrong content. Whoever finds it makes the stage again; the next publish of a machine that has the
 * stage repairs it; nobody builds on it, and nobody fails because of it.
 */
const why = await whyNoRegistry();

const lost = /is not in the registry/;

/** What stands under a ref's tag, taken apart. */
type Parts = { index: ImageIndex; image: Manifest; artifact: Manifest };

describe("a damaged cached stage", () => {
  let at: Publishing;
  let project: string;
  let builder: string;
  let tag: string;
  let otherTag: string;
  let home: Repository;
  beforeAll(async () => {
    if (why !== null) return;
    at = await openPublishing();
    project = await at.box.checkout();
    builder = await at.box.machine("executed");
    const [base, dependencies] = (await at.box.plan(project)).stages;
    tag = `cache-dependencies-${dependencies!.key}`;
    otherTag = `cache-base-tools-${base!.key}`;
    home = at.repository();
    await setPlatforms(project, "linux/amd64", "linux/arm64");
    await at.publish(project, builder);
    await setPlatforms(project, "linux/amd64");
  });
  beforeEach((ctx) => {
    if (why !== null) ctx.skip(why);
    at.front.clear();
  });
  afterAll(() => at?.close());
  const manifest = async <T>(reference: string): Promise<T> =>
    JSON.parse(String(known(await home.manifest(reference))?.bytes)) as T;
  const take = async (from = tag): Promise<Parts> => {
    const index = await manifest<ImageIndex>(from);
    return { index, image: await manifest(index.manifests[0]!.digest), artifact: await manifest(index.manifests[1]!.digest) };
  };
  const put = async (value: unknown, reference?: string): Promise<Pick<Descriptor, "digest" | "size">> => {
    const bytes = Buffer.from(JSON.stringify(value));
    const answer = await home.putManifest(reference ?? digestOf(bytes), (value as { mediaType: string }).mediaType, bytes);
    if (answer.state !== "put") throw answer.error;
    return { digest: digestOf(bytes), size: bytes.length };
  };
  const putBlob = async (bytes: Buffer): Promise<Pick<Descriptor, "digest" | "size">> => {
    const blob = { digest: digestOf(bytes), size: bytes.length };
    return home.pushBlob(blob, bytesBody(bytes)).then(() => blob);
  };
  const content = async (blob: Descriptor) => known(await home.smallBlob(blob, 1 << 24))!;
  const withImage = async ({ index, artifact }: Parts, image: Manifest) => {
    const [was, parts] = index.manifests;
    const made = await put(image);
    const said = await put({ ...artifact, annotations: { "io.image-factory.image": made.digest } });
    await put(
      {
        ...index,
        manifests: [
          { ...was!, ...made },
          { ...parts!, ...said },
        ],
      },
      tag,
    );
  };
  const mixed = async (index: ImageIndex) =>
    put({ ...index, manifests: [(await take(otherTag)).index.manifests[0]!, index.manifests[1]!] }, tag);
  const withPart = async ({ index, artifact }: Parts, type: string, change: (bytes: Buffer) => Buffer | null, size?: number) => {
    const layers: Descriptor[] = [];
    for (const part of artifact.layers) {
      const bytes = part.mediaType === type ? change(await content(part)) : await content(part);
      if (bytes !== null)
        layers.push({ ...part, ...(await putBlob(bytes)), ...(part.mediaType === type && size ? { size } : {}) });
    }
    const [image, was] = index.manifests;
    await put({ ...index, manifests: [image!, { ...was!, ...(await put({ ...artifact, layers })) }] }, tag);
  };
  const withConfig = async (parts: Parts, change: (config: Record<string, unknown>) => unknown) => {
    const config = JSON.parse(String(await content(parts.image.config))) as Record<string, unknown>;
    const blob = await putBlob(Buffer.from(JSON.stringify(change(config))));
    await withImage(parts, { ...parts.image, config: { ...parts.image.config, ...blob } });
  };
  const drop = async (kind: "manifests" | "blobs", digest: string) => {
    const answer = await fetch(`${at.registry.url}/v2/team/small/${kind}/${digest}`, { method: "DELETE" });
    expect(answer.status).toBe(202);
  };

  test.each<[string, (parts: Parts) => Promise<unknown>, RegExp]>([
    [
      "is of another key",
      async () => put((await take(otherTag)).index, tag),
      /is no cached stage of this key|it is no cached stage/,
    ],
    ["is an image", ({ image }) => put(image, tag), /it is no cached stage of this key/],
    ["names nothing", ({ index }) => put({ ...index, manifests: [] }, tag), /it is no cached stage of this key/],
    [
      "was made of other ingredients",
      async (parts) => {
        const other = (await take(otherTag)).artifact.layers.find(({ mediaType }) => mediaType === partTypes.ingredients)!;
        const bytes = await content(other);
        await withPart(parts, partTypes.ingredients, () => bytes);
      },
      /its ingredients have the key [0-9a-f]{24}/,
    ],
    [
      "has ingredients that are none",
      (parts) => withPart(parts, partTypes.ingredients, () => Buffer.from("null")),
      /its ingredients cannot be read/,
    ],
    [
      "is of another platform",
      async (parts) => {
        const arm = (await at.box.plan(project, "linux/arm64")).stages[1]!;
        await withImage(parts, (await take(`cache-dependencies-${arm.key}`)).image);
      },
      /its config says linux\/arm64/,
    ],
    ["has another stage's image", async ({ index }) => mixed(index), /what it says is of another image/],
    [
      "lacks a layer that its config has",
      (parts) => withImage(parts, { ...parts.image, layers: parts.image.layers.slice(1) }),
      /its config and its manifest count layers differently/,
    ],
    ["has a config that is none", (parts) => withConfig(parts, () => []), /its config is none of an image/],
    [
      "has a config without a list of layers",
      (parts) => withConfig(parts, (config) => ({ ...config, rootfs: {} })),
      /its config is none of an image/,
    ],
    [
      "has an index that was cut",
      (parts) => withPart(parts, partTypes.assembly, (bytes) => bytes.subarray(0, bytes.length / 2)),
      /its index cannot be read/,
    ],
    [
      "has an index of another shape",
      (parts) => withPart(parts, partTypes.assembly, () => Buffer.from('{"format":1,"directories":"/"}')),
      /its index cannot be read|its index is none of this format/,
    ],
    ["lacks a part", (parts) => withPart(parts, partTypes.full, () => null), /it lacks a part/],
    [
      "names a size that a part has not",
      (parts) => withPart(parts, partTypes.assembly, (bytes) => bytes, 400),
      /where 400 were named/,
    ],
    [
      "names an absurd size",
      (parts) => withPart(parts, partTypes.assembly, (bytes) => bytes, 1 << 30),
      /far more than such a part has/,
    ],
    ["lost its artifact", ({ index }) => drop("manifests", index.manifests[1]!.digest), lost],
    ["lost its image", ({ index }) => drop("manifests", index.manifests[0]!.digest), lost],
    [
      "lost its index",
      ({ artifact }) => drop("blobs", artifact.layers.find(({ mediaType }) => mediaType === partTypes.assembly)!.digest),
      lost,
    ],
    ["lost its config", ({ image }) => drop("blobs", image.config.digest), lost],
  ])("that %s is made again and repaired", async (_, damage, said) => {
    await damage(await take());

    await appendFile(join(project, "app/main.sh"), "# more\n");
    const [one, other] = [await at.box.machine("empty"), await at.box.machine("empty")];
    const [planned, refused] = await Promise.all([at.run(project, one, ["plan"]), at.run(project, other, ["publish"])]);
    expect(planned.code, planned.stderr).toBe(0);
    const row = planned.stdout.split("\n").find((line) => line.includes("dependencies ")) ?? "";
    expect(row).toMatch(/execute +what is kept is damaged: cache-dependencies-/);
    expect(row).toMatch(said);
    expect(planned.stderr).not.toContain("registry gives no answer");

    // A machine that cannot execute it neither trusts it nor pushes anything.
    expect(refused).toMatchObject({ code: 69 });
    expect(refused.stderr).toContain("error ENGINE_MISSING");
    expect(at.front.log.filter(({ method, path }) => method === "PUT" || path.includes("?digest"))).toEqual([]);

    // Where the tag names the very ref that is kept here, what is behind it is only looked at when that is asked for.
    const repaired = await at.publish(project, builder, said === lost ? ["--refresh"] : []);
    expect(repaired.published).toBe("now");
    await wholeTags(home);
    const again = await at.run(project, one, ["plan"]);
    expect(again.stdout).toMatch(/dependencies +[0-9a-f]{12} +reuse +cache-dependencies-/);
  });

  test("a layer that is gone behind a valid manifest is found out at the push, and pushed again by who has it", async () => {
    const { image } = await take();
    await drop("blobs", image.layers[0]!.digest);
    await appendFile(join(project, "app/main.sh"), "# more\n");
    const before = known(await home.tags());
    const refused = await at.run(project, await at.box.machine("empty"), ["publish", "--tag", "latest"]);
    const going = /note: a part of a kept stage cannot be had: sha256:[0-9a-f]{12} .*/;
    expect(refused.stderr).toMatch(going);
    expect(refused.stderr).toContain("error ENGINE_MISSING");
    expect(refused.code).toBe(69);
    expect(known(await home.tags())).toEqual(before);

    expect(await at.publish(project, builder)).toMatchObject({ published: "now" });
    await wholeTags(home);
    expect(await at.publish(project, await at.box.machine("empty"))).toMatchObject({ published: "before" });
  });

  test("what is published can be looked behind: a lost layer is pushed again", async () => {
    const { image } = await take();
    await drop("blobs", image.layers[1]!.digest);
    await expect(wholeTags(home)).rejects.toThrow(image.layers[1]!.digest);
    expect(await at.publish(project, builder)).toMatchObject({ published: "before" });
    expect(await at.publish(project, builder, ["--refresh"])).toMatchObject({ published: "now" });
    await wholeTags(home);
  });

  test("a file of the state folder that was damaged is found out by the registry, and made again", async () => {
    await appendFile(join(project, "app/main.sh"), "# more\n");
    const machine = await at.box.machine("empty");
    const { stdout } = await at.run(project, machine, ["build", "--json"]);
    const { digest } = JSON.parse(stdout) as { digest: string };
    const layer = readManifest(join(machine, "layout"), digest).layers.at(-2)!;
    const path = blobPath(join(machine, "layout"), layer.digest);
    const bytes = await readFile(path);
    bytes[bytes.length - 9]! ^= 1;
    await writeFile(path, bytes);
    const published = await at.publish(project, machine, ["--tag", "fixed"]);
    expect(published.digest).toBe(digest);
    expect(published.stderr).toContain("what stood for it in the state folder was something else");
    await wholeTags(home);
  });

  test("a manifest that goes away between its push and that of the index on it is put again", async () => {
    const { digest, size, mediaType } = known(await home.manifest(tag))!;
    const [{ index }, to] = [await take(), at.repository("elsewhere")];
    const push = openPush(to, join(builder, "layout"), { digest, size, mediaType }, { present: new Set(), sources: [] });
    await push.below();
    for (const below of index.manifests) expect(await to.deleteManifest(below.digest)).toMatchObject({ state: "deleted" });
    await push.root("again");
    expect((await wholeOf(to, "again")).digest).toBe(digest);
  });
});
