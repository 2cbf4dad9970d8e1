import type { TagMove } from "../../dagger/src/distribution/tags.js";
import { bytes, plural, seconds } from "../../dagger/src/pipeline/common/format.js";

export type Published = {
  /** `registry/repository`. */
  name: string;
  digest: string;
  tags: readonly TagMove[];
  published: "now" | "before";
  seconds: number;
  traffic: { requests: number; up: number; down: number; layers: number };
};

const outcomes = { moved: "moved", there: "was there", kept: "stays where it is" } as const;

/** How a publish ends: where the image is, what its tags did, and what went over the wire. */
export const publishSummary = ({ name, digest, tags, published, seconds: spent, traffic }: Published): string => {
  const told = tags.map((tag) => `${tag.name} ${outcomes[tag.outcome]}`);
  const kept = tags.filter(({ outcome }) => outcome === "kept");
  return [
    `${published === "now" ? "published" : "published before"} ${name}@${digest}`,
    ...(told.length === 0 ? [] : [`tags: ${told.join(", ")}`]),
    ...kept.map((tag) => `  ${tag.name}: ${tag.why}; to move it all the same: MOVE=any`),
    `${bytes(traffic.up)} up, ${bytes(traffic.down)} down in ${plural(traffic.requests, "request")}, ${seconds(spent * 1000)}`,
    `next: docker pull ${name}@${digest}`,
    "",
  ].join("\n");
};

/** Where a tag stands now, and where it stood. */
export const promoteSummary = (done: {
  name: string;
  digest: string;
  tag: string;
  was: string | null;
  moved: boolean;
}): string => {
  const { name, digest, tag, was, moved } = done;
  const told = moved ? `moved to ${digest}${was === null ? ": it is new" : `, from ${was}`}` : `already names ${digest}`;
  return `${name}:${tag} ${told}\n`;
};
