import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import { describe, expect, test } from "vitest";
import { planOf } from "../../../ci/project/project.js";
import { proveCache } from "../../../ci/verify/prove.js";
import { FactoryError } from "../../../dagger/src/pipeline/common/error.js";
import { type CacheReport, faultLines, refuseFaults } from "../../../dagger/src/pipeline/verify/case-result.js";
import { forgetsContent, type Planner } from "../../fixtures/broken-keys.js";
import { scratchFolder } from "../../fixtures/scratch.js";
import { prove, usual, wishOf } from "../../fixtures/usual-project.js";
import { worldAt } from "../../fixtures/world.js";

const { at, put } = scratchFolder();
const root = fileURLToPath(new URL("../../../", import.meta.url));
const { images } = parse(readFileSync(`${root}images.yaml`, "utf8"), { merge: true }) as {
  images: Record<string, { platforms: ("linux/amd64" | "linux/arm64")[] }>;
};
const pairs = Object.entries(images).flatMap(([image, { platforms }]) => platforms.map((platform) => ({ image, platform })));

/** Cases of a report that are neither passed nor without an occasion. */
const left = ({ cases }: CacheReport) =>
  cases
    .filter(({ verdict }) => verdict !== "pass" && verdict !== "not-applicable")
    .map(({ id, verdict, why }) => `${id} ${verdict}: ${why}`);

test.each(pairs)("a proof on plans of $image of this repository for $platform", async ({ image, platform }) => {
  const { world } = worldAt(root, { FACTORY_STATE: at("state") });
  const report = await proveCache(world, { ...wishOf(), image, platform }, (one) => one);
  expect(faultLines(report)).toEqual([]);
  // Nothing is kept in this state folder, so what a build was promised for has no verdict.
  expect(left(report)).toEqual([expect.stringMatching(/^code not-tested: base-tools and dependencies are not kept here/)]);
  expect(report.cases.find(({ id }) => id === "tool-version")).toMatchObject({
    verdict: "pass",
    stages: [{ stage: "base-tools", moved: true }, {}, {}, {}],
  });
});

describe("the version of a tool", () => {
  const compiled = (go: string) => {
    usual(put);
    put("go/kubectl/go.mod", "module kubectl\n");
    for (const [name, from, to] of [
      ["images.yaml", 'download: { url: "https://x.example/{version}" } }', `go: ${go} }`],
      ["images.lock", "download: { 1.0.0: { linux/amd64: {", "go: { 1.26.4: { linux/amd64: { url: https://x.example/go.whl,"],
    ] as const) {
      const text = readFileSync(at(name), "utf8");
      expect(text).toContain(from);
      put(name, text.replace(from, to));
    }
  };

  test.each([
    ["told to the linker", '{ source: go/kubectl, toolchain: 1.26.4, ldflags: "-X main.v={version}" }'],
    ["not told to it", "{ source: go/kubectl, toolchain: 1.26.4 }"],
    ["of its own source", "{ source: go/kubectl, toolchain: 1.26.4, version: 2.0.0 }"],
  ])("of an image whose tools are all compiled, %s", async (_, go) => {
    compiled(go);
    const report = await prove(at(""), planOf, ["tool-version"]);
    expect(report.cases).toMatchObject([
      {
        verdict: "pass",
        proof: "plan",
        says: expect.stringMatching(/^images\.yaml names [12]\.0\.0-verify\.\w+ as the version of task$/),
        why: "--fast",
      },
    ]);
    expect(report.cases[0]!.stages.map(({ moved }) => moved)).toEqual([true, true, true, true]);
  });
});

describe("a proof that fails itself", () => {
  const refusing =
    (then: Planner): Planner =>
    (project, open, platform, buildArgs) => {
      // What it does to the project is what no person may do.
      if (project.spec.images["it"]!.stages.runtime.labels !== undefined)
        throw new FactoryError("CONFIG_INVALID", { what: "no such label", why: "a test says so", fix: "none" });
      return then(project, open, platform, buildArgs);
    };
  const refused = (report: CacheReport): FactoryError => {
    try {
      refuseFaults(report, "fix it");
    } catch (error) {
      if (error instanceof FactoryError) return error;
    }
    throw new Error("not refused");
  };

  test("is told as that, with a code of its own, and says nothing about the cache", async () => {
    usual(put);
    const report = await prove(at(""), refusing(planOf), ["nothing", "label"]);
    expect(report.cases.map(({ id, verdict }) => `${id} ${verdict}`)).toEqual(["nothing pass", "label error"]);
    const { code, exitCode, explanation } = refused(report);
    expect({ code, exitCode }).toEqual({ code: "VERIFY_FAILED", exitCode: 70 });
    expect(explanation).toMatchObject({
      what: "1 case of the cache of it could not be proved",
      why: "label: the proof itself failed: CONFIG_INVALID: no such label: a test says so",
    });
  });

  test("beside a fault of the cache it is that fault that counts", async () => {
    usual(put);
    const report = await prove(at(""), refusing(forgetsContent), ["code", "label"]);
    expect(report.cases.map(({ verdict }) => verdict)).toEqual(["fail", "error"]);
    expect(refused(report)).toMatchObject({ code: "CACHE_BROKEN", exitCode: 75 });
  });
});
