import { isOwnTag, type ManifestNode } from "../../dagger/src/pipeline/prune/manifest-node.js";
import type { PruneDecision, Pruning } from "../../dagger/src/pipeline/prune/prune-policy.js";
import { pruneSentence } from "../../dagger/src/pipeline/prune/prune-text.js";
import { bytes, plural, table } from "../../dagger/src/pipeline/common/format.js";

/** What prune decided about one repository, and did. */
export type PruneView = Pruning & {
  name: string;
  freed: number;
  deleted: readonly string[] | null;
  refused: readonly { digest: string; why: string }[];
  notes: readonly string[];
};

/** The decisions as a person reads them: what stays first, a person's tags before ours; members are told with their index. */
export const pruneTable = (view: PruneView, now: number): string => {
  const { decisions, broken, deleted, refused } = view;
  const nodes = new Map(decisions.map(({ node }) => [node.digest, node]));
  const indexes = new Map(decisions.flatMap(({ node }) => node.members.map((member) => [member, node] as const)));
  const nameOf = (digest: string): string => {
    const node = nodes.get(digest);
    const index = indexes.get(digest);
    return node?.tags.length === 0 && index !== undefined
      ? nameOf(index.digest)
      : node === undefined
        ? short(digest)
        : called(node);
  };
  const rows = decisions
    .filter(({ node }) => node.tags.length > 0 || !indexes.has(node.digest))
    .sort(
      (a, b) =>
        order(a) - order(b) || (b.node.since ?? now) - (a.node.since ?? now) || (called(a.node) < called(b.node) ? -1 : 1),
    )
    .map(({ node, fate, reason }) => [
      tagsOf(node),
      node.since === null ? "?" : age(now - node.since),
      bytes(wholeSize(node, nodes)),
      fate,
      pruneSentence(reason, nameOf),
    ]);
  const going = decisions.filter(({ fate }) => fate === "delete").length;
  const told =
    deleted === null
      ? `${going} of ${plural(decisions.length, "manifest")} would be deleted; that frees ${bytes(view.freed)}`
      : `deleted ${deleted.length} of ${plural(decisions.length, "manifest")}; ${bytes(view.freed)} are named by nothing any more`;
  return [
    `${view.name}`,
    ...(rows.length === 0 ? ["  empty"] : [table([["what", "age", "size", "fate", "because"], ...rows])]),
    ...broken.map((one) => `note: ${nameOf(one.digest)} was incomplete before: ${short(one.missing)} is not there`),
    ...refused.map(({ digest, why }) => `note: ${nameOf(digest)} was not deleted: ${why}`),
    ...view.notes.map((note) => `note: ${note}`),
    told,
  ].join("\n");
};

/** The decisions for programs; `format` counts its shape. Times in milliseconds since the Unix epoch. */
export const pruneJson = (view: PruneView) => {
  const nameOf = (digest: string) => digest;
  const decided = ({ node, fate, reason }: PruneDecision) => ({
    digest: node.digest,
    tags: node.tags,
    members: node.members,
    since: node.since,
    size: wholeSize(node, new Map(view.decisions.map((one) => [one.node.digest, one.node]))),
    fate,
    reason,
    because: pruneSentence(reason, nameOf),
  });
  const { name, decisions, broken, freed, deleted, refused, notes } = view;
  return { name, manifests: decisions.map(decided), broken, freed, deleted, refused, notes };
};

/** Bytes of it and of all that it names, each blob once. */
const wholeSize = (node: ManifestNode, nodes: ReadonlyMap<string, ManifestNode>): number => {
  const sizes = new Map<string, number>();
  const add = (one: ManifestNode) => {
    for (const { digest, size } of [...one.blobs, one]) sizes.set(digest, size);
    for (const member of one.members) if (nodes.has(member)) add(nodes.get(member)!);
  };
  add(node);
  return [...sizes.values()].reduce((sum, size) => sum + size, 0);
};

const order = ({ fate, node }: PruneDecision): number =>
  fate === "delete" ? 2 : node.tags.some((tag) => !isOwnTag(tag)) ? 0 : 1;

const day = 86_400_000;
const age = (milliseconds: number): string => {
  if (milliseconds >= day) return `${Math.floor(milliseconds / day)} d`;
  return milliseconds >= 3_600_000
    ? `${Math.floor(milliseconds / 3_600_000)} h`
    : `${Math.max(0, Math.floor(milliseconds / 60_000))} min`;
};

const short = (digest: string): string => digest.slice(0, 19);
/** Of our own tags so much of the key as `plan` shows. */
const shortTag = (tag: string): string => (isOwnTag(tag) ? tag.replace(/[0-9a-f]{12}$/, "") : tag);

/** A person's tags go before ours. */
const sorted = ({ tags }: ManifestNode): string[] =>
  [...tags].sort((a, b) => Number(isOwnTag(a)) - Number(isOwnTag(b)) || (a < b ? -1 : 1)).map(shortTag);

const called = (node: ManifestNode): string => sorted(node)[0] ?? short(node.digest);

const tagsOf = (node: ManifestNode): string => {
  const tags = sorted(node);
  if (tags.length === 0) return short(node.digest);
  return tags.length <= 3 ? tags.join(", ") : `${tags.slice(0, 2).join(", ")} and ${tags.length - 2} more`;
};
