import { expect, test } from "vitest";
import { cachesOf } from "../../../../dagger/src/pipeline/steps/cache-names.js";
import { renderStage } from "../../../../dagger/src/pipeline/render/dockerfile.js";
import { parseSpec } from "../../../../dagger/src/pipeline/config/parse.js";
import { planImage } from "../../../../dagger/src/pipeline/plan/plan.js";

const text = `registry: r.example/team
images:
  box:
    repository: box
    platforms: [linux/amd64]
    base: { bootstrap: debian, suite: bookworm, packages: apt }
    stages: { base-tools: { packages: [git] }, dependencies: {}, application: {}, runtime: {} }
`;

test("caches are of one repository at one level of trust", () => {
  const names = ["protected", "branch", "fork"] as const;
  const all = names.flatMap((trust) => [
    cachesOf("r.example/team/box", trust),
    cachesOf("r.example/other/box", trust),
    cachesOf("r.example/team/other", trust),
  ]);
  expect(new Set(all).size).toBe(9);
});

test("every cache that a step mounts has the name it is given, and no other", () => {
  const spec = parseSpec(text).value!;
  const lock = { format: 1 as const, bases: {}, tools: {}, images: {} };
  const snapshot = { entries: [], texts: new Map<string, string>() };
  const plan = planImage({ spec, image: "box", platform: "linux/amd64", snapshot, lock, buildArgs: {} });
  const caches = cachesOf("r.example/team/box", "branch");
  const ids = [...renderStage(plan, "base-tools", caches).matchAll(/type=cache,id=([^,]+)/g)].map(([, id]) => id);
  expect(ids.length).toBeGreaterThan(0);
  for (const id of ids) expect(id).toMatch(new RegExp(`^${caches}-[a-z]`));
});
