/**
 * # dagger/src/pipeline/prune
 *
 * What of a repository nothing needs any more. Whatever is not understood is kept.
 */
import { isOwnTag, type ManifestNode, seenTag } from "./manifest-node.js";

/** Why a manifest stays. Worded in prune-text.ts. */
export type KeepReason =
  | { why: "tag"; tag: string }
  /** What prune remembers. */
  | { why: "bookkeeping" }
  /** An index that is kept names it. */
  | { why: "member"; of: string }
  /** The stage artifact of a stage that a kept image holds. */
  | { why: "stage"; of: string }
  /** A signature or attestation of something kept. */
  | { why: "attached"; to: string }
  /** A plan needs it. */
  | { why: "planned"; where: string }
  | { why: "young"; age: number }
  | { why: "age-unknown" }
  /** It has no tag and is not ours: somebody may run it by its digest. */
  | { why: "foreign" }
  /** The registry deletes no repository's last tagged version. */
  | { why: "last" };

/** Why a manifest goes. */
export type DeleteReason =
  | { why: "unneeded" }
  /** The index that named it goes. */
  | { why: "part"; of: string }
  /** It has no tag, and nothing names it any more. */
  | { why: "orphan" }
  | { why: "attached-to-deleted"; to: string };

export type PruneDecision =
  | { node: ManifestNode; fate: "keep"; reason: KeepReason }
  | { node: ManifestNode; fate: "delete"; reason: DeleteReason };

export type PrunePolicy = {
  /** Milliseconds since the Unix epoch. */
  now: number;
  /** Milliseconds; what is younger stays. With 0 age is not looked at. */
  grace: number;
  /** Stage keys that plans need, and which plan. */
  wanted: ReadonlyMap<string, string>;
  /** Whether the registry refuses to delete the last tagged version (GHCR). */
  keepsLastTag: boolean;
};

/** A kept index whose member the registry does not have: it cannot be pulled whole, and that was so before. */
type Broken = { digest: string; missing: string };

export type Pruning = { decisions: PruneDecision[]; broken: Broken[] };

type Lists = ReadonlyMap<string, readonly ManifestNode[]>;
type Graph = {
  nodes: ReadonlyMap<string, ManifestNode>;
  /** By a member, the indexes that name it. */
  parents: Lists;
  /** By a subject, what is attached to it. */
  attached: Lists;
  /** By a key, the results of that stage. */
  results: Lists;
};

const graphOf = (list: readonly ManifestNode[]): Graph => {
  const nodes = new Map(list.map((node) => [node.digest, node]));
  const listed = (namesOf: (node: ManifestNode) => readonly (string | null)[]): Lists => {
    const lists = new Map<string, ManifestNode[]>();
    for (const node of nodes.values())
      for (const name of namesOf(node)) if (name !== null) lists.set(name, [...(lists.get(name) ?? []), node]);
    return lists;
  };
  return {
    nodes,
    parents: listed(({ members }) => members),
    attached: listed(({ subject }) => [subject]),
    results: listed(({ makes }) => [makes]),
  };
};

/** What is kept so far, with the reason, and how it spreads: what a kept manifest needs is kept too. */
const keeping = ({ nodes, parents, attached, results }: Graph) => {
  const kept = new Map<string, KeepReason>();
  const queue: ManifestNode[] = [];
  const keep = (node: ManifestNode | undefined, reason: KeepReason) => {
    if (node === undefined || kept.has(node.digest)) return;
    kept.set(node.digest, reason);
    queue.push(node);
  };
  // An executed stage's image says nothing of its stages; the stage artifact that names it does.
  const keepStagesOf = (digest: string, of: string) => {
    for (const parent of parents.get(digest) ?? []) if (parent.isStageArtifact) keep(parent, { why: "stage", of });
  };
  const spread = () => {
    for (let node = queue.pop(); node !== undefined; node = queue.pop()) {
      const { digest, members, holds, isStageArtifact } = node;
      for (const member of members) {
        keep(nodes.get(member), { why: "member", of: digest });
        if (!isStageArtifact) keepStagesOf(member, digest);
      }
      for (const key of holds) for (const result of results.get(key) ?? []) keep(result, { why: "stage", of: digest });
      for (const one of attached.get(digest) ?? []) keep(one, { why: "attached", to: digest });
    }
  };
  return { kept, keep, keepStagesOf, spread };
};

/**
 * The tagged manifest to leave in a repository that keeps its last one: the one that needs the fewest others, so that nothing more goes the
 * next time; of equal ones the newest.
 */
const lastOf = (graph: Graph, tagged: readonly ManifestNode[]): ManifestNode | undefined => {
  const needs = (node: ManifestNode): number => {
    const alone = keeping(graph);
    alone.keep(node, { why: "last" });
    alone.spread();
    return alone.kept.size;
  };
  const ranked = tagged.map((node) => ({ node, count: needs(node) }));
  ranked.sort(
    (a, b) => a.count - b.count || (b.node.since ?? 0) - (a.node.since ?? 0) || (a.node.digest < b.node.digest ? -1 : 1),
  );
  return ranked[0]?.node;
};

/**
 * Decides about every manifest of a repository: what a kept one reaches stays, the rest of ours goes. Pure.
 *
 * Kept from the start: what has a person's tag; what has no tag and is not ours; what a plan needs; what is younger than the grace time.
 * From there on: members of a kept index; stage artifacts of the stages that a kept image holds; what is attached to something kept.
 */
export const prune = (list: readonly ManifestNode[], policy: PrunePolicy): Pruning => {
  const graph = graphOf(list);
  const { nodes, parents, results } = graph;
  const { kept, keep, keepStagesOf, spread } = keeping(graph);

  for (const node of nodes.values()) {
    const tag = node.tags.find((one) => !isOwnTag(one));
    if (tag !== undefined) keep(node, { why: "tag", tag });
    else if (node.tags.includes(seenTag)) keep(node, { why: "bookkeeping" });
    else if (isForeign(graph, node)) keep(node, { why: "foreign" });
    else continue;
    keepStagesOf(node.digest, node.digest);
  }
  spread();
  for (const [key, where] of policy.wanted) {
    for (const node of results.get(key) ?? []) {
      keep(node, { why: "planned", where });
      // The image of several platforms is found by the tag of its index.
      if (!node.isStageArtifact) for (const parent of parents.get(node.digest) ?? []) keep(parent, { why: "planned", where });
    }
  }
  spread();
  if (policy.grace > 0) {
    for (const node of nodes.values()) {
      const since = sinceOf(graph, node);
      if (since === null) keep(node, { why: "age-unknown" });
      else if (policy.now - since < policy.grace) keep(node, { why: "young", age: policy.now - since });
    }
    spread();
  }
  if (policy.keepsLastTag) {
    const tagged = [...nodes.values()].filter(({ tags }) => tags.length > 0);
    if (!tagged.some(({ digest }) => kept.has(digest))) keep(lastOf(graph, tagged), { why: "last" });
    spread();
  }

  const decisions = [...nodes.values()].map((node): PruneDecision => {
    const reason = kept.get(node.digest);
    return reason === undefined ? { node, fate: "delete", reason: deleteReason(graph, node) } : { node, fate: "keep", reason };
  });
  const broken = decisions.flatMap(({ node, fate }) =>
    fate === "delete"
      ? []
      : node.members.filter((member) => !nodes.has(member)).map((missing) => ({ digest: node.digest, missing })),
  );
  return { decisions, broken };
};

/**
 * Without a tag, and not ours: neither by what it says nor by who names it. What is attached to something that is there goes where that goes.
 */
const isForeign = (graph: Graph, node: ManifestNode): boolean =>
  node.tags.length === 0 && !isOurs(graph, node) && (node.subject === null || !graph.nodes.has(node.subject));

/**
 * What prune remembers: since when it knows each manifest that is ours or that a tag of ours names (a person's tag may move off it tomorrow). The
 * age that a manifest has from an index that names it outlives the index.
 * @returns digest → milliseconds since the Unix epoch
 */
export const firstSeen = (list: readonly ManifestNode[], now: number): ReadonlyMap<string, number> => {
  const graph = graphOf(list);
  const own = list.filter((node) => node.tags.some(isOwnTag) || isOurs(graph, node));
  return new Map(own.map((node) => [node.digest, sinceOf(graph, node) ?? now]));
};

const isOurs = (graph: Graph, node: ManifestNode): boolean =>
  node.tags.length > 0
    ? node.tags.every(isOwnTag)
    : node.ours || (graph.parents.get(node.digest) ?? []).some((parent) => isOurs(graph, parent));

/** A manifest is there for at least as long as any index that names it: registries take members first. */
const sinceOf = (graph: Graph, node: ManifestNode): number | null => {
  const times = [node.since, ...(graph.parents.get(node.digest) ?? []).map((parent) => sinceOf(graph, parent))];
  const known = times.filter((time) => time !== null);
  return known.length === 0 ? null : Math.min(...known);
};

const deleteReason = ({ nodes, parents }: Graph, { digest, tags, subject }: ManifestNode): DeleteReason => {
  if (tags.length > 0) return { why: "unneeded" };
  const parent = parents.get(digest)?.[0];
  if (parent !== undefined) return { why: "part", of: parent.digest };
  return subject !== null && nodes.has(subject) ? { why: "attached-to-deleted", to: subject } : { why: "orphan" };
};

/**
 * What goes, in the order in which it must: an index before its members, a thing before what is attached to it. So whatever is left at any moment is whole,
 * also when a deletion is refused or the work is broken off.
 */
export const deletionOrder = (decisions: readonly PruneDecision[]): ManifestNode[] => {
  const graph = graphOf(decisions.map(({ node }) => node));
  const going = new Set(decisions.filter(({ fate }) => fate === "delete").map(({ node }) => node.digest));
  const order = new Map<string, ManifestNode>();
  const visit = (node: ManifestNode | undefined) => {
    if (node === undefined || !going.has(node.digest) || order.has(node.digest)) return;
    for (const before of holdersOf(graph, node)) visit(before);
    order.set(node.digest, node);
  };
  for (const { node } of decisions) visit(node);
  return [...order.values()];
};

const holdersOf = ({ nodes, parents }: Graph, { digest, subject }: ManifestNode): ManifestNode[] => [
  ...(parents.get(digest) ?? []),
  ...(subject === null ? [] : [nodes.get(subject)].filter((node) => node !== undefined)),
];

/** Whether a manifest may go now: nothing that is still there names it. @param gone digests that are deleted already */
export const mayGo = (decisions: readonly PruneDecision[]): ((node: ManifestNode, gone: ReadonlySet<string>) => boolean) => {
  const graph = graphOf(decisions.map(({ node }) => node));
  return (node, gone) => holdersOf(graph, node).every(({ digest }) => gone.has(digest));
};

/** Bytes that nothing kept names: what the registry can free. Each blob counts once. */
export const freedBytes = (decisions: readonly PruneDecision[]): number => {
  const sizes = new Map<string, number>();
  const parts = ({ node }: PruneDecision) => [...node.blobs, node];
  for (const one of decisions.filter(({ fate }) => fate === "delete"))
    for (const { digest, size } of parts(one)) sizes.set(digest, size);
  for (const one of decisions.filter(({ fate }) => fate === "keep")) for (const { digest } of parts(one)) sizes.delete(digest);
  return [...sizes.values()].reduce((sum, size) => sum + size, 0);
};
