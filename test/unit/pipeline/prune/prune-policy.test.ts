import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isOwnTag, manifestNode, type ManifestNode } from "../../../../dagger/src/pipeline/prune/manifest-node.js";
import {
  deletionOrder,
  firstSeen,
  freedBytes,
  mayGo,
  prune,
  type PruneDecision,
  type PrunePolicy,
} from "../../../../dagger/src/pipeline/prune/prune-policy.js";
import { pruneSentence } from "../../../../dagger/src/pipeline/prune/prune-text.js";
import { keyFor, policies, repositories } from "../../../fixtures/repository-world.js";

const runs = { numRuns: 300 };
const keptOf = (decisions: readonly PruneDecision[]) => decisions.filter(({ fate }) => fate === "keep").map(({ node }) => node);
const deletedOf = (decisions: readonly PruneDecision[]) =>
  decisions.filter(({ fate }) => fate === "delete").map(({ node }) => node);
const digests = (nodes: readonly ManifestNode[]) => new Set(nodes.map(({ digest }) => digest));

/** Manifests that name something which is not among them, although the repository had it. */
const brokenIn = (left: readonly ManifestNode[], all: readonly ManifestNode[]) => {
  const [here, there] = [digests(left), digests(all)];
  return left.filter(({ members }) => members.some((member) => there.has(member) && !here.has(member)));
};

/** A stage whose age only the index tells that goes, and the last tag of a registry that keeps one. */
const agedByAnIndex = (): readonly ManifestNode[] => {
  const [below, above] = [keyFor("base-tools", 7), keyFor("base-tools", 8)];
  const node = (digest: string, rest: Partial<ManifestNode>): ManifestNode => ({
    digest: `sha256:${digest.repeat(64)}`,
    tags: [],
    members: [],
    subject: null,
    makes: null,
    isStageArtifact: false,
    holds: [],
    ours: true,
    blobs: [],
    size: 1,
    since: 0,
    ...rest,
  });
  return [
    node("8", { tags: [`cache-base-tools-${below}`], makes: below, holds: [below], since: null }),
    node("2", { tags: [`cache-base-tools-${above}`], makes: above, holds: [below, above] }),
    node("0", { members: [`sha256:${"8".repeat(64)}`], makes: keyFor("base-tools", 9), isStageArtifact: true }),
  ];
};

describe("whatever a repository holds", () => {
  test("nothing that a kept index or tag reaches is deleted", () => {
    fc.assert(
      fc.property(repositories, policies, (nodes, policy) => {
        const { decisions } = prune(nodes, policy);
        expect(digests(decisions.map(({ node }) => node))).toEqual(digests(nodes));
        expect(brokenIn(keptOf(decisions), nodes)).toEqual([]);
      }),
      runs,
    );
  });

  test("a person's tag is never deleted, nor what has no tag and is not ours", () => {
    fc.assert(
      fc.property(repositories, policies, (nodes, policy) => {
        for (const { tags, digest, ours, subject } of deletedOf(prune(nodes, policy).decisions)) {
          expect(tags.filter((tag) => !isOwnTag(tag))).toEqual([]);
          const named = nodes.some(({ members }) => members.includes(digest));
          expect(tags.length > 0 || ours || named || subject !== null).toBe(true);
        }
      }),
      runs,
    );
  });

  test("the cached stages of every stage that a kept image holds stay, and so do those that a plan needs", () => {
    fc.assert(
      fc.property(repositories, policies, (nodes, policy) => {
        const kept = keptOf(prune(nodes, policy).decisions);
        const needed = new Set([...policy.wanted.keys(), ...kept.flatMap(({ holds }) => holds)]);
        const refs = nodes.filter(({ isStageArtifact, makes }) => isStageArtifact && needed.has(makes!));
        for (const { digest } of refs) expect(digests(kept)).toContain(digest);
      }),
      runs,
    );
  });

  test("what is younger than the grace time stays, and with it what has no known age", () => {
    fc.assert(
      fc.property(repositories, policies, (nodes, policy) => {
        for (const { since, digest } of deletedOf(prune(nodes, policy).decisions)) {
          if (policy.grace === 0) continue;
          const above = nodes.filter(({ members }) => members.includes(digest));
          const old = (time: number | null) => time !== null && policy.now - time >= policy.grace;
          expect(old(since) || ancestorsOf(above, nodes).some((one) => old(one.since))).toBe(true);
        }
      }),
      runs,
    );
  });

  test("it deletes nothing more when it is done again", () => {
    fc.assert(
      fc.property(repositories, policies, (nodes, policy) => {
        const left = keptOf(prune(nodes, policy).decisions);
        // What it remembers of them counts the next time.
        const seen = firstSeen(nodes, policy.now);
        const again = left.map((node) => ({ ...node, since: seen.get(node.digest) ?? node.since }));
        expect(deletedOf(prune(again, policy).decisions)).toEqual([]);
      }),
      { numRuns: 1_000, examples: [[[...agedByAnIndex()], { now: 30, grace: 7, keepsLastTag: true, wanted: new Map() }]] },
    );
  });

  test("whatever is refused and wherever it is broken off, what is left is whole", () => {
    fc.assert(
      fc.property(
        repositories,
        policies,
        fc.infiniteStream(fc.boolean()),
        fc.nat({ max: 20 }),
        (nodes, policy, refusals, stop) => {
          const { decisions } = prune(nodes, policy);
          const [order, may] = [deletionOrder(decisions), mayGo(decisions)];
          expect(digests(order)).toEqual(digests(deletedOf(decisions)));
          const gone = new Set<string>();
          for (const node of order.slice(0, stop)) {
            if (!may(node, gone) || refusals.next().value === true) continue;
            gone.add(node.digest);
            expect(
              brokenIn(
                nodes.filter(({ digest }) => !gone.has(digest)),
                nodes,
              ),
            ).toEqual([]);
          }
          if (stop >= order.length) return;
          // And without refusals all of it goes.
          const all = new Set<string>();
          for (const node of order) if (may(node, all)) all.add(node.digest);
          expect(all).toEqual(digests(order));
        },
      ),
      runs,
    );
  });

  test("it deletes all that nothing needs: a second opinion, worked out by going over the whole until nothing moves", () => {
    fc.assert(
      fc.property(repositories, policies, (nodes, policy) => {
        expect(digests(keptOf(prune(nodes, { ...policy, keepsLastTag: false }).decisions))).toEqual(needed(nodes, policy));
      }),
      runs,
    );
  });

  test("GHCR's last tag stays", () => {
    fc.assert(
      fc.property(repositories, policies, (nodes, policy) => {
        const kept = keptOf(prune(nodes, { ...policy, keepsLastTag: true }).decisions);
        expect(kept.some(({ tags }) => tags.length > 0)).toBe(nodes.some(({ tags }) => tags.length > 0));
      }),
      runs,
    );
  });

  test("what is freed is what only deleted manifests name, each blob once", () => {
    fc.assert(
      fc.property(repositories, policies, (nodes, policy) => {
        const { decisions } = prune(nodes, policy);
        const sizes = (list: readonly ManifestNode[]) =>
          new Map(list.flatMap((node) => [...node.blobs, node]).map(({ digest, size }) => [digest, size]));
        const sum = (map: Map<string, number>) => [...map.values()].reduce((total, size) => total + size, 0);
        expect(freedBytes(decisions)).toBe(sum(sizes(nodes)) - sum(sizes(keptOf(decisions))));
      }),
      runs,
    );
  });

  test("every decision has a sentence", () => {
    fc.assert(
      fc.property(repositories, policies, (nodes, policy) => {
        for (const { reason } of prune(nodes, policy).decisions) expect(pruneSentence(reason, String)).toMatch(/^[a-z].*[^.]$/);
      }),
    );
  });
});

const ancestorsOf = (above: readonly ManifestNode[], nodes: readonly ManifestNode[]): ManifestNode[] =>
  above.flatMap((one) => [
    one,
    ...ancestorsOf(
      nodes.filter(({ members }) => members.includes(one.digest)),
      nodes,
    ),
  ]);

const needed = (nodes: readonly ManifestNode[], { wanted, grace, now }: PrunePolicy): Set<string> => {
  const above = ({ digest }: ManifestNode) => nodes.filter(({ members }) => members.includes(digest));
  const below = (node: ManifestNode) => nodes.filter(({ digest }) => node.members.includes(digest));
  const isOurs = (node: ManifestNode): boolean =>
    node.tags.length > 0 ? node.tags.every(isOwnTag) : node.ours || above(node).some(isOurs);
  const isAttached = ({ subject }: ManifestNode) => nodes.some(({ digest }) => digest === subject);
  const isYoung = (node: ManifestNode) => {
    const times = [node, ...ancestorsOf(above(node), nodes)].flatMap(({ since }) => since ?? []);
    return grace > 0 && (times.length === 0 || now - Math.min(...times) < grace);
  };
  const isWanted = (node: ManifestNode) =>
    wanted.has(node.makes ?? "") || below(node).some(({ isStageArtifact, makes }) => !isStageArtifact && wanted.has(makes ?? ""));
  const roots = new Set(nodes.filter((node) => !isOurs(node) && (node.tags.length > 0 || !isAttached(node))));
  const kept = new Set(nodes.filter((node) => roots.has(node) || isYoung(node) || isWanted(node)));
  for (let before = -1; before !== kept.size;) {
    before = kept.size;
    for (const node of kept) {
      for (const one of below(node)) kept.add(one);
      for (const one of nodes) {
        if (one.makes !== null && node.holds.includes(one.makes)) kept.add(one);
        if (one.subject === node.digest) kept.add(one);
      }
      const images = node.isStageArtifact ? [] : below(node);
      for (const image of roots.has(node) ? [node, ...images] : images)
        for (const ref of above(image).filter(({ isStageArtifact }) => isStageArtifact)) kept.add(ref);
    }
  }
  return new Set([...kept].map(({ digest }) => digest));
};

test.each([
  ["latest", false],
  ["1.4.0", false],
  ["cache", false],
  ["cache-buildkit", false],
  ["key-1", false],
  ["sha256-0123.sig", false],
  [`cache-tests-${keyFor("runtime", 1)}`, false],
  [`cache-base-tools-${keyFor("runtime", 1)}0`, false],
  [`cache-base-tools-${keyFor("runtime", 1)}`, true],
  [`key-${keyFor("runtime", 1)}`, true],
  ["cache-seen", true],
])("is the tag %s ours: %s", (tag, own) => {
  expect(isOwnTag(tag)).toBe(own);
});

test("BuildKit's cache manifest names layers, which are no members; what is not understood names nothing", () => {
  const node = (value: unknown) =>
    manifestNode("sha256:1", Buffer.from(typeof value === "string" ? value : JSON.stringify(value)), {
      tags: [],
      since: null,
      remembered: false,
    });
  const layer = { mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", digest: "sha256:2", size: 3 };
  const image = { mediaType: "application/vnd.docker.distribution.manifest.v2+json", digest: "sha256:4", size: 5 };
  expect(node({ manifests: [layer, image, null, { digest: 1 }] })).toMatchObject({
    members: ["sha256:4"],
    blobs: [{ digest: "sha256:2", size: 3 }],
  });
  for (const odd of ["", "null", "[]", "7", '{"manifests":{}}', '{"layers":[1],"config":null,"annotations":null}'])
    expect(node(odd)).toMatchObject({ members: [], blobs: [], holds: [], ours: false, subject: null });
});
