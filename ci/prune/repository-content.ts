import { eachAtOnce } from "../../dagger/src/distribution/concurrency.js";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import { manifestNode, type ManifestNode } from "../../dagger/src/pipeline/prune/manifest-node.js";
import type { Repository } from "../../dagger/src/registry/client.js";
import { known } from "../../dagger/src/registry/reference/lookup.js";
import type { Packages } from "./github-packages.js";
import { readSeen, type Seen } from "./first-seen.js";

/** All of a repository that can be known: what its tags, GitHub's list of versions and prune's memory lead to. */
export type RepositoryContent = {
  nodes: ManifestNode[];
  /** GitHub's numbers, by digest; null where the distribution API deletes. */
  versions: ReadonlyMap<string, number> | null;
  seen: Seen;
  /** Of what stands under prune's own tag. */
  seenDigest: string | null;
};

/** Bytes of manifests by digest: they never change, and a second reading needs only the tags. */
export type ManifestCache = Map<string, Uint8Array>;

/** Requests at the same time. */
const concurrency = 8;

/**
 * Reads every manifest of a repository. A manifest that is named and not there is left out; one that cannot be read is an error:
 * who does not know what it names cannot tell what may go.
 * @returns null where there is no such repository
 * @throws FactoryError what keeps the registry or the API from answering
 */
export const readContent = async (
  repository: Repository,
  packages: Packages | null,
  cache: ManifestCache,
): Promise<RepositoryContent | null> => {
  const listed = known(await repository.tags());
  if (listed === null) return null;
  const versions = packages === null ? [] : known(await packages.versions());
  if (versions === null) throw invisible(repository.name);
  const { seen, digest: seenDigest } = await readSeen(repository);

  const tags = new Map<string, string[]>(versions.map((version) => [version.digest, [...version.tags]]));
  const elsewhere = new Set(versions.flatMap((version) => version.tags));
  await eachAtOnce(
    listed.filter((tag) => !elsewhere.has(tag)),
    concurrency,
    async (tag) => {
      const head = known(await repository.headManifest(tag));
      // Some registries list a tag whose manifest was deleted.
      if (head !== null) tags.set(head.digest, [...(tags.get(head.digest) ?? []), tag]);
    },
  );

  const created = new Map(versions.map((version) => [version.digest, version.created]));
  const nodes = new Map<string, ManifestNode>();
  const asked = new Set<string>();
  for (let round = new Set([...tags.keys(), ...seen.keys()]); round.size > 0;) {
    for (const digest of round) asked.add(digest);
    await eachAtOnce([...round], concurrency, async (digest) => {
      const bytes = cache.get(digest) ?? known(await repository.manifest(digest))?.bytes;
      if (bytes === undefined) return;
      cache.set(digest, bytes);
      const more = {
        tags: tags.get(digest) ?? [],
        since: created.get(digest) ?? seen.get(digest) ?? null,
        remembered: seen.has(digest),
      };
      nodes.set(digest, manifestNode(digest, bytes, more));
    });
    round = new Set([...nodes.values()].flatMap(({ members }) => members).filter((digest) => !asked.has(digest)));
  }
  return {
    nodes: [...nodes.values()],
    versions: packages === null ? null : new Map(versions.map(({ digest, id }) => [digest, id])),
    seen,
    seenDigest,
  };
};

const invisible = (name: string): FactoryError =>
  new FactoryError("REGISTRY_DENIED", {
    what: `cannot list the versions of ${name}`,
    why: "the registry has it, and GitHub's Packages API answers 404: so it does for a package that the token may not see",
    fix: "take a token with read:packages and delete:packages of somebody who may see the package",
  });
