import type { BesideImage } from "./beside-image.js";
import { answered, manifestOf, small, type PullAnswer, type TaggedRef } from "./pull-stage.js";
import type { ImageConfig } from "../pipeline/oci/image-config.js";
import { describeLayer } from "../pipeline/layer/plan-layer.js";
import { type Descriptor, type Manifest, stageAnnotation, stageKeysOf } from "../pipeline/oci/manifest.js";
import { isImageConfig, isImageIndex, isManifest, jsonOf } from "../pipeline/oci/guards.js";
import type { Plan, PlannedStage } from "../pipeline/plan/types.js";
import { stageTag } from "../pipeline/oci/stage-artifact.js";
import type { Repository } from "../registry/client.js";
import { known } from "../registry/reference/lookup.js";

/** An image that a repository has, with the bytes of its manifest or index. */
export type PublishedImage = { root: Descriptor; bytes: Uint8Array };

/** What an image under the tag of its keys is held against. */
type Witnesses = {
  /** Whether this machine has the chain of this plan, and this manifest at its end. */
  isMade(plan: Plan, digest: string): Promise<boolean>;
  /** What stands under the tag of a stage's key, in each repository that is read. */
  refsOf(stage: PlannedStage): Promise<readonly { from: Repository; tagged: PullAnswer<TaggedRef> }[]>;
};

/** `wrong`: something is there, and it is as good as absent. */
type FoundImage = { state: "found"; image: PublishedImage } | { state: "absent" } | { state: "wrong"; what: string };

/**
 * The image of these plans that a repository has under a tag. A tag is no promise, and neither is what a manifest says of itself: the
 * image is used only where this machine made the same one, or where it has the layers that the stage artifact names, and above them what
 * the plan assembles.
 *
 * Asked is the ref of the highest executed stage: its image holds all layers down to the base, and the next build would be built on that one,
 * whatever was made of the stages below since. Where it is absent nothing else says which layers a stage has, so the image counts as
 * absent too: a registry that takes no stage artifacts costs an empty machine one more build, and a wrong image would cost more.
 * @throws FactoryError where the registry gives no answer
 */
const findPublished = async (
  home: Repository,
  tag: string,
  plans: readonly Plan[],
  witnesses: Witnesses,
): Promise<FoundImage> => {
  const lookup = await home.manifest(tag);
  if (lookup.state === "unknown" && lookup.error.code === "CHECKSUM_MISMATCH") return { state: "absent" };
  const manifest = known(lookup);
  if (manifest === null) return { state: "absent" };
  const { mediaType, digest, size, bytes } = manifest;
  const members = membersOf(digest, jsonOf(bytes), plans);
  if (members === null) return { state: "wrong", what: "it is no image of these keys" };
  const faults = await Promise.all(members.map((member) => faultOf(home, member, witnesses)));
  const what = faults.find((fault) => fault !== null);
  return what === undefined ? { state: "found", image: { root: { mediaType, digest, size }, bytes } } : { state: "wrong", what };
};

/**
 * The image that was published before, where it can be used. A wrong one is told and counts as absent; so does one behind a registry that
 * refuses what is beside an image.
 * @param note tells a person
 * @throws FactoryError where the registry gives no answer
 */
export const publishedBefore = async (
  home: Repository,
  tag: string,
  plans: readonly Plan[],
  witnesses: Witnesses,
  { beside, note }: { beside: BesideImage; note: (text: string) => void },
): Promise<PublishedImage | null> => {
  const found = await findPublished(home, tag, plans, witnesses).catch(async (error: unknown): Promise<FoundImage> => {
    await beside.unread(home, error);
    return { state: "absent" };
  });
  if (found.state === "wrong") note(`the image under ${home.name}:${tag} is damaged (${found.what}); it is built again`);
  return found.state === "found" ? found.image : null;
};

/** The manifest of one platform: `value` is null where it is still to be asked for. */
type Member = { plan: Plan; digest: string; value: Manifest | null };

/** The manifests of an image by plan, as it says; null where it is the image of other plans. */
const membersOf = (digest: string, value: unknown, plans: readonly Plan[]): Member[] | null => {
  const [only] = plans;
  if (plans.length === 1 && only !== undefined) return isManifest(value) ? [{ plan: only, digest, value }] : null;
  if (!isImageIndex(value) || value.manifests.length !== plans.length) return null;
  const members = plans.flatMap((plan): Member[] => {
    const { stage, key } = plan.stages.at(-1)!;
    const one = value.manifests.find(
      ({ platform, annotations }) =>
        `${platform?.os}/${platform?.architecture}` === plan.platform && annotations?.[stageAnnotation(stage)] === key,
    );
    return one === undefined ? [] : [{ plan, digest: one.digest, value: null }];
  });
  return members.length === plans.length ? members : null;
};

const faultOf = async (home: Repository, { plan, digest, value }: Member, witnesses: Witnesses): Promise<string | null> => {
  if (await witnesses.isMade(plan, digest)) return null;
  const top = plan.stages.findLast(({ kind }) => kind === "executed")!;
  const refs = await witnesses.refsOf(top);
  const found = refs.flatMap(({ from, tagged }) => (tagged.state === "found" ? [{ from, image: tagged.value.image }] : []));
  if (found.length === 0) {
    for (const { tagged } of refs) if (tagged.state === "unknown") throw tagged.error;
    return `${stageTag(top.stage, top.key)}, which says what layers it has, is not there or is damaged`;
  }
  const faults: string[] = [];
  for (const { from, image } of found) {
    const answer = await answered(digest.slice(0, 19), async (): Promise<PullAnswer<null>> => {
      // An engine's image says nothing of its stages; it is the very one that its ref names.
      if (top === plan.stages.at(-1))
        return image.digest === digest
          ? { state: "found", value: null }
          : { state: "damaged", what: "its cached stage names another image" };
      const [own, below] = await Promise.all([
        value ?? manifestOf(home, { digest }).then((one) => one.value),
        manifestOf(from, image),
      ]);
      const config = jsonOf(await small(home, own.config));
      const what = disagreement(plan, top, own, config, below.value);
      return what === null ? { state: "found", value: null } : { state: "damaged", what };
    });
    if (answer.state === "found") return null;
    if (answer.state === "unknown") throw answer.error;
    faults.push(answer.state === "damaged" ? answer.what : digest);
  }
  return faults[0]!;
};

/** What speaks against an image of a plan, whose highest executed stage has this image; null where nothing does. */
const disagreement = (
  { stages, platform }: Plan,
  top: PlannedStage,
  image: Manifest,
  config: unknown,
  below: Manifest,
): string | null => {
  if (stageKeysOf(image).join() !== stages.map(({ key }) => key).join()) return "its manifest names other keys";
  if (!below.layers.every(({ digest }, at) => image.layers[at]?.digest === digest)) return `it lacks layers of ${top.stage}`;
  if (!isImageConfig(config)) return "its config is none of an image";
  if (`${config.os}/${config.architecture}` !== platform) return `its config says ${config.os}/${config.architecture}`;
  const above = stages.slice(stages.indexOf(top) + 1);
  const history = lastEntries(config, above.length);
  const lacking = above.find(
    ({ stage, ingredients }, at) =>
      history[at]?.created_by !==
      describeLayer(
        stage,
        ingredients.steps.map(({ step }) => step),
      ),
  );
  if (lacking !== undefined) return `its history does not say that ${lacking.stage} was assembled as planned`;
  const layers = below.layers.length + history.filter((entry) => entry.empty_layer !== true).length;
  return image.layers.length === layers && config.rootfs.diff_ids.length === layers
    ? null
    : "its layers are not those that its history counts";
};

const lastEntries = ({ history = [] }: ImageConfig, count: number) => (count === 0 ? [] : history.slice(-count));
