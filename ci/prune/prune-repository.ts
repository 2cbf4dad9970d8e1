/**
 * # ci/prune
 *
 * Reads a repository and deletes what nothing needs. Nothing is deleted whose need is unknown.
 */
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import { type ManifestNode, seenTag } from "../../dagger/src/pipeline/prune/manifest-node.js";
import {
  deletionOrder,
  freedBytes,
  mayGo,
  firstSeen,
  prune,
  type PrunePolicy,
  type Pruning,
} from "../../dagger/src/pipeline/prune/prune-policy.js";
import type { Repository } from "../../dagger/src/registry/client.js";
import type { Packages } from "./github-packages.js";
import { type ManifestCache, readContent, type RepositoryContent } from "./repository-content.js";
import { writeSeen } from "./first-seen.js";

/** A repository, and how manifests of it are deleted: by GitHub's API, or (null) by the distribution API. */
export type PrunableRepository = { repository: Repository; packages: Packages | null };

type Refused = { digest: string; why: string };

/** What prune decided about a repository, and did. */
export type Pruned = Pruning & {
  name: string;
  /** Bytes that nothing kept names. */
  freed: number;
  /** Digests that are gone; null where nothing was to be deleted but only shown. */
  deleted: readonly string[] | null;
  /** What the registry would not delete. */
  refused: readonly Refused[];
  notes: readonly string[];
};

/**
 * Decides about a repository. Nothing of it is changed.
 * @returns null where there is no such repository
 * @throws FactoryError where the registry gives no answer
 */
export const showPrune = async ({ repository, packages }: PrunableRepository, policy: PrunePolicy): Promise<Pruned | null> => {
  const content = await readContent(repository, packages, new Map());
  return content === null ? null : shown(repository, prune(content.nodes, policy));
};

const shown = ({ name }: Repository, pruning: Pruning): Pruned => ({
  ...pruning,
  name,
  freed: freedBytes(pruning.decisions),
  deleted: null,
  refused: [],
  notes: [],
});

/**
 * Decides about a repository and deletes what nothing needs.
 *
 * Everything is read again just before the first deletion, and only what was to go both times goes: a tag that was put on a manifest
 * meanwhile saves it. A publish in the moment after that would be hit; what is younger than the grace time never is.
 * @param tell a line about each manifest that is deleted
 * @throws FactoryError REGISTRY_DENIED, REGISTRY_FAILED (a registry that deletes nothing), REGISTRY_UNREACHABLE, INTERRUPTED; what was
 * deleted until then stays deleted, and what is left is whole
 */
export const pruneRepository = async (
  target: PrunableRepository,
  policy: PrunePolicy,
  tell: (line: string) => void,
): Promise<Pruned | null> => {
  const { repository, packages } = target;
  const cache: ManifestCache = new Map();
  const first = await readContent(repository, packages, cache);
  if (first === null) return null;
  const before = prune(first.nodes, policy);
  const notes: string[] = [];
  const remember = async (content: RepositoryContent, seenDigest: string | null, gone: ReadonlySet<string>) => {
    try {
      const digest = await writeSeen(repository, seenOf(content.nodes, gone, policy.now), seenDigest);
      // What it replaces has no tag any more, and nobody would find it again.
      if (seenDigest !== null && digest !== seenDigest) await remove(target, content, seenDigest);
      return digest;
    } catch (error) {
      // Without a memory the ages of this registry stay unknown, and what is not known to be old is kept.
      if (!(error instanceof FactoryError) || error.code !== "TAG_IMMUTABLE") throw error;
      notes.push(`${repository.name} does not let the tag cache-seen move: ages cannot be counted there`);
      return seenDigest;
    }
  };
  const seenDigest = await remember(first, first.seenDigest, new Set());
  const targets = new Set(before.decisions.filter(({ fate }) => fate === "delete").map(({ node }) => node.digest));
  if (targets.size === 0) return { ...shown(repository, before), deleted: [], notes };

  const content = await readContent(repository, packages, cache);
  if (content === null) return null;
  const pruning = prune(content.nodes, policy);
  const may = mayGo(pruning.decisions);
  const gone = new Set<string>();
  const refused: Refused[] = [];
  for (const node of deletionOrder(pruning.decisions)) {
    if (!targets.has(node.digest) || !may(node, gone)) continue;
    for (const tag of node.tags) tell(`deleting ${tag}`);
    const why = await remove(target, content, node.digest);
    if (why === null) gone.add(node.digest);
    else refused.push({ digest: node.digest, why });
  }
  await remember(content, seenDigest, gone);
  return { ...shown(repository, pruning), deleted: [...gone], refused, notes };
};

/** When each manifest of ours was first seen, without those that are gone. */
const seenOf = (nodes: readonly ManifestNode[], gone: ReadonlySet<string>, now: number): Map<string, number> => {
  const leftOut = new Set([...gone, ...nodes.filter(({ tags }) => tags.includes(seenTag)).map(({ digest }) => digest)]);
  return new Map([...firstSeen(nodes, now)].filter(([digest]) => !leftOut.has(digest)));
};

/** Null when it is gone, else why it is not. */
const remove = async (
  { repository, packages }: PrunableRepository,
  { versions }: RepositoryContent,
  digest: string,
): Promise<string | null> => {
  if (packages !== null) {
    const id = versions?.get(digest);
    if (id === undefined) return "GitHub's API lists no version of this digest";
    const removed = await packages.remove(id);
    return removed.state === "refused" ? removed.why : null;
  }
  const deleted = await repository.deleteManifest(digest);
  if (deleted.state !== "unsupported") return null;
  throw new FactoryError("REGISTRY_FAILED", {
    what: `${repository.name}: the registry deletes no manifests`,
    why: deleted.error.explanation.why,
    fix: "switch deletion on there (distribution: storage.delete.enabled: true), or let the registry's own retention rules expire the tags cache-* and key-*",
    cause: deleted.error,
  });
};
