import { bytes, plural, seconds } from "./table.js";

export type Published = {
  /** `registry/repository`. */
  name: string;
  digest: string;
  tags: readonly { name: string; moved: boolean }[];
  published: "now" | "before";
  seconds: number;
  traffic: { requests: number; up: number; down: number; layers: number };
};

/** How a publish ends: where the image is, what its tags did, and what went over the wire. */
export const publishSummary = ({ name, digest, tags, published, seconds: spent, traffic }: Published): string => {
  const told = tags.map((tag) => `${tag.name} ${tag.moved ? "moved" : "was there"}`);
  return [
    `${published === "now" ? "published" : "published before"} ${name}@${digest}`,
    ...(told.length === 0 ? [] : [`tags: ${told.join(", ")}`]),
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
  const told = moved ? `moved to ${digest}${was === null ? ": it is new" : `, from ${was}`}` : `stood on ${digest} already`;
  return `${name}:${tag} ${told}\n`;
};
