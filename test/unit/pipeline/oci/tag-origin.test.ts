import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  isMoving,
  type TagOrigin,
  originTagOf,
  tagOriginText,
  readMark,
  type Relation,
  staleMoveReason,
} from "../../../../dagger/src/pipeline/oci/tag-origin.js";
import { isTag } from "../../../../dagger/src/registry/reference/reference.js";

const config = { mediaType: "application/vnd.oci.empty.v1+json", digest: `sha256:${"44".repeat(32)}`, size: 2 };
const mark: TagOrigin = { tag: "latest", commit: "a".repeat(40), time: 1_767_322_800, digest: `sha256:${"12".repeat(32)}` };
const read = (change: (value: Record<string, object>) => unknown, tag = "latest") =>
  readMark(change(JSON.parse(tagOriginText(mark, config)) as Record<string, object>), tag);

describe("which tags move with a branch", () => {
  test.each(["latest", "main", "stable", "edge", "feature-x", "pr-17", "1", "1.4", "v2", "debian", "nightly", "release-1.4"])(
    "%s does",
    (tag) => expect(isMoving(tag)).toBe(true),
  );
  test.each([
    "1.4.0",
    "v1.4.0",
    "2.0.0-rc.1",
    "9f2c41d",
    "sha-9f2c41d",
    "a".repeat(40),
    "2026-11-25",
    "20261125",
    "build-77",
    "run-1",
  ])("%s does not: it names a release, a commit, a day or a run", (tag) => expect(isMoving(tag)).toBe(false));

  test("the mark of every tag that moves is a tag itself", () =>
    fc.assert(
      fc.property(fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/), (tag) => {
        if (isMoving(tag)) expect(isTag(originTagOf(tag))).toBe(true);
      }),
    ));
});

describe("a mark", () => {
  test("is read as it was written", () => {
    expect(read((value) => value)).toEqual(mark);
    const byHand = { ...mark, commit: null, time: 1_767_322_800.25 };
    expect(readMark(JSON.parse(tagOriginText(byHand, config)), "latest")).toEqual(byHand);
  });

  test("of another tag, or of another form, is none", () => {
    expect(read((value) => value, "main")).toBeNull();
    for (const wrong of [null, [], "x", {}, { manifests: [] }]) expect(readMark(wrong, "latest")).toBeNull();
    const annotated = (change: Record<string, unknown>) =>
      read(({ annotations, ...rest }) => ({ ...rest, annotations: { ...annotations, ...change } }));
    expect(annotated({ "org.opencontainers.image.revision": "--output=x" })).toBeNull();
    expect(annotated({ "io.image-factory.mark.time": "yesterday" })).toBeNull();
    expect(annotated({ "io.image-factory.mark.digest": "sha256:1" })).toBeNull();
    expect(annotated({ "io.image-factory.mark.digest": 1 })).toBeNull();
    expect(read((value) => ({ ...value, artifactType: "application/other" }))).toBeNull();
  });
});

describe("whether a tag stays where it is", () => {
  const mine = (time: number) => ({ id: "b".repeat(40), time });
  const { time } = mark;
  test.each<[Relation, number, boolean]>([
    ["same", -10, false],
    ["before", 10, false],
    // Clocks of machines differ: where git knows both commits, times mean nothing.
    ["before", -10, false],
    ["after", 10, true],
    ["after", -10, true],
    ["diverged", 10, false],
    ["diverged", 0, false],
    ["diverged", -10, true],
    ["unknown", 10, false],
    ["unknown", 0, false],
    ["unknown", -10, true],
  ])("the mark's commit is %s, ours is %i s later: %s", (relation, later, stays) =>
    expect(staleMoveReason(mark, mine(time + later), relation) !== null).toBe(stays),
  );

  test("is said with both commits", () => {
    expect(staleMoveReason(mark, mine(time), "after")).toBe("it is of aaaaaaaaaaaa, which comes after bbbbbbbbbbbb");
    expect(staleMoveReason({ ...mark, commit: null }, mine(time), "unknown")).toBeNull();
    expect(staleMoveReason({ ...mark, commit: null }, mine(time - 60), "unknown")).toBe(
      "it was put there by hand, at 2026-01-02T03:00:00Z, and bbbbbbbbbbbb is of 2026-01-02T02:59:00Z",
    );
    expect(staleMoveReason(mark, mine(time - 60), "unknown")).toBe(
      "it is of aaaaaaaaaaaa of 2026-01-02T03:00:00Z, and bbbbbbbbbbbb is of 2026-01-02T02:59:00Z",
    );
  });
});
