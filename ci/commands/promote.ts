import { besideImage } from "../../dagger/src/distribution/beside-image.js";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import type { ImageIndex } from "../../dagger/src/pipeline/oci/manifest.js";
import { stageArtifactKey } from "../../dagger/src/pipeline/oci/stage-artifact.js";
import { openRegistry, type Repository } from "../../dagger/src/registry/client.js";
import { known } from "../../dagger/src/registry/reference/lookup.js";
import { isDigest, parseRepository } from "../../dagger/src/registry/reference/reference.js";
import { persistent } from "../../dagger/src/registry/http/retry.js";
import { isMoving } from "../../dagger/src/pipeline/oci/tag-origin.js";
import { imageOf } from "../../dagger/src/pipeline/plan/plan.js";
import { command } from "../cli/command.js";
import { loginFor } from "../remote/login.js";
import { openProject } from "../project/project.js";
import { checkTags, platformsIn, putMark, refuseNarrower, tagImage } from "../../dagger/src/distribution/tags.js";
import type { FoundTrust } from "../trust/trust-level.js";
import { promoteSummary } from "../view/publish.js";
import { imageFlag, jsonFlag, moveFlag, moveOf, registryFlag } from "../cli/flags.js";

export const promote = command({
  name: "promote",
  about: "Move a tag to an image that the repository has, without a build",
  more: "the image is named by its digest, which stays what it is",
  positional: ["digest", "tag"],
  flags: {
    image: { ...imageFlag, about: "the image whose repository is meant; the first one when absent" },
    registry: registryFlag,
    move: moveFlag,
    json: jsonFlag,
  },
  async run({ image, move, json }, world, words) {
    const { spec, trust: scope } = await openProject(world);
    const name = parseRepository(`${spec.registry}/${imageOf(spec, image ?? Object.keys(spec.images)[0]!).repository}`);
    const { digest, tag } = read(words, `${name.registry}/${name.repository}`);
    checkTags([tag]);
    if (scope.level !== "protected") throw notProtected(`${name.registry}/${name.repository}:${tag}`, scope);
    const options = {
      env: world.env,
      signal: world.signal,
      retryPolicy: persistent,
      credentials: loginFor(name, scope.level, world),
    };
    const home = openRegistry({ ...options, registry: name.registry }).repository(name.repository, "push");

    const found = known(await home.manifest(digest));
    if (found === null) throw absent(home, digest);
    if (isStageArtifact(found.bytes)) throw notAnImage(home, digest);
    if (moveOf(move) === "forward")
      await refuseNarrower(home, [tag], platformsIn(found.bytes), "MOVE=any takes them from the tag, where that is meant");
    const was = known(await home.headManifest(tag))?.digest ?? null;
    // What a person puts somewhere stays there until there is a later commit: not for a build that was under way.
    const beside = besideImage((text) => world.stderr(`note: ${text}\n`));
    if (was !== digest && isMoving(tag))
      await putMark(home, { tag, commit: null, time: world.now() / 1000, digest }).catch(beside.unkept);
    if (was !== digest) await tagImage(home, tag, found.mediaType, found.bytes);
    const now = known(await home.headManifest(tag))?.digest;
    if (now !== digest) throw elsewhere(home, tag, digest, now);
    const done = { format: 1, name: home.name, digest, tag, was, moved: was !== digest } as const;
    world.stdout(json ? `${JSON.stringify(done, null, 2)}\n` : promoteSummary(done));
    return 0;
  },
});

/** `sha256:…` or, as publish prints it, `registry/repository@sha256:…`; then the tag. @throws FactoryError USAGE */
const read = (words: readonly string[], name: string): { digest: string; tag: string } => {
  const example = "for example: ./task promote -- sha256:4f06… 1.4.0; publish prints the digest";
  const usage = (what: string, why: string) => new FactoryError("USAGE", { what, why, fix: example });
  const [first = "", tag, ...more] = words;
  if (tag === undefined || more.length > 0)
    throw usage("promote takes a digest and a tag", `it was given ${words.length === 0 ? "nothing" : words.join(" ")}`);
  const at = first.lastIndexOf("@");
  const [place, digest] = at < 0 ? [name, first] : [first.slice(0, at), first.slice(at + 1)];
  if (place !== name)
    throw usage(`${place} is another repository`, `promote moves tags of ${name}; IMAGE=… chooses another image`);
  if (!isDigest(digest))
    throw usage(
      `${JSON.stringify(digest)} is no digest`,
      "what is promoted is named by what it is: sha256: and 64 digits from 0-9a-f",
    );
  return { digest, tag };
};

const isStageArtifact = (bytes: Buffer): boolean => stageArtifactKey(JSON.parse(bytes.toString("utf8")) as ImageIndex) !== null;

const absent = ({ name }: Repository, digest: string): FactoryError =>
  new FactoryError("INPUT_MISSING", {
    what: `${name} has no ${digest}`,
    why: "the registry knows no manifest of this digest there; it was never pushed, or it was deleted",
    fix: "./task publish makes and pushes the image of the files here, and prints its digest",
  });

const notAnImage = ({ name }: Repository, digest: string): FactoryError =>
  new FactoryError("USAGE", {
    what: `${name}@${digest} is a cached stage, not an image`,
    why: "it is what the cache keeps of one stage",
    fix: "name the digest that ./task publish printed",
  });

const notProtected = (name: string, { level: scope, why }: FoundTrust): FactoryError =>
  new FactoryError("REGISTRY_DENIED", {
    what: `not allowed to move ${name}`,
    why: `only a protected ref moves tags of this repository, and this counts as a ${scope} (${why})`,
    fix: "promote from a protected branch, or from a terminal of your own",
  });

const elsewhere = ({ name }: Repository, tag: string, digest: string, now: string | undefined): FactoryError =>
  new FactoryError("REGISTRY_FAILED", {
    what: `${name}:${tag} is not ${digest}`,
    why:
      now === undefined
        ? "the registry took the tag and does not have it"
        : `it is ${now} now: somebody else moved it at the same time`,
    fix: "run the same command again if it is meant to stand there",
  });
