import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { ImageConfig } from "../../../dagger/src/pipeline/oci/image-config.js";
import { type Descriptor, type ImageIndex, type Manifest, mediaTypes } from "../../../dagger/src/pipeline/oci/manifest.js";
import type { Plan } from "../../../dagger/src/pipeline/plan/types.js";
import { bytesBody } from "../../../dagger/src/registry/http/body.js";
import type { Repository } from "../../../dagger/src/registry/client.js";
import { digestOf } from "../../../dagger/src/registry/reference/digest.js";
import { known } from "../../../dagger/src/registry/reference/lookup.js";
import { keyTag } from "../../../dagger/src/distribution/tags.js";
import { openPublishing, type Publishing, wholeTags } from "../support/publishing.js";
import { whyNoRegistry } from "../support/registry.js";
import { setPlatforms } from "../support/toolbox.js";

/**
 * An image under the tag of its keys that says the right keys and is not the image: as a version published it that left a stage in the middle
 * out, or as a registry mixed it up. It is as good as absent, that is said once, and a right one takes its place.
 */
const why = await whyNoRegistry();

type Opened = { manifest: Manifest; config: ImageConfig };

describe.each<["one platform" | "two platforms"]>([["one platform"], ["two platforms"]])("a wrong image of %s", (kind) => {
  const platforms = kind === "one platform" ? (["linux/amd64"] as const) : (["linux/amd64", "linux/arm64"] as const);
  let at: Publishing;
  let project: string;
  let builder: string;
  let home: Repository;
  let right: string;
  let plans: Plan[];
  let key: string;
  beforeAll(async () => {
    if (why !== null) return;
    at = await openPublishing();
    project = await at.box.checkout();
    await setPlatforms(project, ...platforms);
    builder = await at.box.machine("executed");
    home = at.repository();
    right = (await at.publish(project, builder)).digest;
    plans = await Promise.all(platforms.map((platform) => at.box.plan(project, platform)));
    key = keyTag(plans);
  });
  beforeEach((ctx) => {
    if (why !== null) ctx.skip(why);
    at.front.clear();
  });
  afterAll(() => at?.close());

  const json = async <T>(reference: string): Promise<T> => JSON.parse(String(known(await home.manifest(reference))!.bytes)) as T;
  const put = async (value: Manifest | ImageIndex, reference?: string): Promise<Pick<Descriptor, "digest" | "size">> => {
    const bytes = Buffer.from(JSON.stringify(value));
    const answer = await home.putManifest(reference ?? digestOf(bytes), value.mediaType, bytes);
    if (answer.state !== "put") throw answer.error;
    return { digest: digestOf(bytes), size: bytes.length };
  };
  const open = async (digest: string): Promise<Opened> => {
    const manifest = await json<Manifest>(digest);
    return { manifest, config: JSON.parse(String(known(await home.smallBlob(manifest.config, 1 << 20)))) as ImageConfig };
  };
  /** The last platform's image, changed, in the place of the right one; the others stay right. */
  const plant = async (change: (image: Opened) => Opened | Promise<Opened>): Promise<string> => {
    const index = kind === "one platform" ? null : await json<ImageIndex>(right);
    const { manifest, config } = await change(await open(index === null ? right : index.manifests.at(-1)!.digest));
    const bytes = Buffer.from(JSON.stringify(config));
    const blob = { digest: digestOf(bytes), size: bytes.length };
    await home.pushBlob(blob, bytesBody(bytes));
    const image = { ...manifest, config: { ...manifest.config, ...blob } };
    if (index === null) return (await put(image, key)).digest;
    const wrong = { ...index.manifests.at(-1)!, ...(await put(image)) };
    return (await put({ ...index, manifests: [...index.manifests.slice(0, -1), wrong] }, key)).digest;
  };
  /** Without the layers at these places, and what tells of them. */
  const without =
    (places: readonly number[], entries: readonly number[]) =>
    ({ manifest, config }: Opened): Opened => ({
      manifest: { ...manifest, layers: manifest.layers.filter((_, place) => !places.includes(place)) },
      config: {
        ...config,
        rootfs: { ...config.rootfs, diff_ids: config.rootfs.diff_ids.filter((_, place) => !places.includes(place)) },
        history: config.history!.filter((_, place) => !entries.includes(place)),
      },
    });
  const notes = (stderr: string) => stderr.match(/^note: the image under \S+ is damaged .*$/gm) ?? [];

  test.each<[string, (image: Opened) => Opened | Promise<Opened>, RegExp]>([
    ["dependencies", without([1], [1]), /it lacks layers of dependencies/],
    ["base-tools", without([0], [0]), /it lacks layers of dependencies/],
    ["application", without([2], [2]), /its history does not say that application was assembled as planned/],
    ["application's layer alone", without([2], []), /its layers are not those that its history counts/],
    ["runtime", without([], [3]), /its history does not say that application was assembled as planned/],
    [
      "the stages below, which are of another key",
      async ({ manifest, config }) => {
        const ref = await json<ImageIndex>(`cache-base-tools-${plans.at(-1)!.stages[0]!.key}`);
        const { layers } = await json<Manifest>(ref.manifests[0]!.digest);
        return { config, manifest: { ...manifest, layers: [layers[0]!, layers[0]!, ...manifest.layers.slice(2)] } };
      },
      /it lacks layers of dependencies/,
    ],
    [
      "its platform",
      ({ manifest, config }) => ({ manifest, config: { ...config, architecture: "riscv64" } }),
      /its config says linux\/riscv64/,
    ],
    [
      "a key",
      ({ manifest, config }) => ({
        config,
        manifest: {
          ...manifest,
          annotations: { ...manifest.annotations, "io.image-factory.stage.dependencies": "0".repeat(24) },
        },
      }),
      /its manifest names other keys/,
    ],
  ])("that lacks %s is built again, by an empty machine and by one that made it", async (_, change, said) => {
    for (const machine of [await at.box.machine("empty"), builder]) {
      const wrong = await plant(change);
      expect(wrong).not.toBe(right);
      const done = await at.publish(project, machine, ["--tag", "latest"]);
      expect(done).toMatchObject({ published: "now", digest: right });
      expect(notes(done.stderr)).toEqual([expect.stringMatching(said)]);
      const tags = await wholeTags(home);
      expect([tags[key], tags["latest"]]).toEqual([right, right]);
    }
    const again = await at.publish(project, await at.box.machine("empty"));
    expect(again).toMatchObject({ published: "before", digest: right });
    expect(notes(again.stderr)).toEqual([]);
  });

  test("something else under the key tag is not taken for it", async () => {
    const ref = await json<ImageIndex>(`cache-dependencies-${plans[0]!.stages[1]!.key}`);
    const stage = await json<Manifest>(ref.manifests[0]!.digest);
    for (const wrong of [stage, ref, { schemaVersion: 2 as const, mediaType: mediaTypes.index, manifests: [] }]) {
      await put(wrong, key);
      const done = await at.publish(project, await at.box.machine("empty"));
      expect(done).toMatchObject({ published: "now", digest: right });
      expect(notes(done.stderr)).toHaveLength(1);
      expect(known(await home.headManifest(key))!.digest).toBe(right);
    }
  });

  test("without the cached stage that would tell: only a machine that made the same one takes it", async () => {
    const { stages } = plans.at(-1)!;
    const tag = `cache-dependencies-${stages[1]!.key}`;
    const { digest } = known(await home.headManifest(tag))!;
    expect(await home.deleteManifest(digest)).toMatchObject({ state: "deleted" });
    expect(await at.publish(project, builder)).toMatchObject({ published: "before", digest: right });
    const { code, stderr } = await at.run(project, await at.box.machine("empty"), ["publish"]);
    expect(notes(stderr)).toEqual([expect.stringContaining(`${tag}, which says what layers it has, is not there`)]);
    expect(stderr).toContain("error ENGINE_MISSING");
    expect(code).toBe(69);
  });
});
