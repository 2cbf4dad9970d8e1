import { createCipheriv, createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { forgetStage } from "../../../ci/state/records.js";
import { stateOf } from "../../../ci/state/state.js";
import { storeOf } from "../../../ci/state/store.js";
import { buildStages, imageRoot } from "../../../dagger/src/build/build-stages.js";
import { checkChain } from "../../../dagger/src/build/chain.js";
import { decidePlans } from "../../../dagger/src/build/decide-plans.js";
import { layoutStore } from "../../../dagger/src/build/layout-store.js";
import type { BuildContext, Executor, StageCache, Store } from "../../../dagger/src/build/ports.js";
import { rebuildDamaged } from "../../../dagger/src/build/rebuild-damaged.js";
import { registryStageCache } from "../../../dagger/src/build/registry-stage-cache.js";
import type { BuiltPlan, Rebuild } from "../../../dagger/src/build/stage-result.js";
import { besideImage } from "../../../dagger/src/distribution/beside-image.js";
import { blobPath, missingBlobs, readBlob, readManifest } from "../../../dagger/src/oci-layout/blobs.js";
import type { StageName } from "../../../dagger/src/pipeline/common/stage.js";
import type { ImageIndex } from "../../../dagger/src/pipeline/oci/manifest.js";
import type { Plan } from "../../../dagger/src/pipeline/plan/types.js";
import type { Repository } from "../../../dagger/src/registry/client.js";

/**
 * What a build does with its ports, as one list of cases for every store, cache and executor. All parts are real; an executor of a test makes
 * the layers that an engine would have made.
 */
export type OpenStore = Store & {
  /** Loses the record of a key, and no blob. */
  forget(key: string): void;
  /** Leaves a record that cannot be used. */
  spoil(key: string): void;
};

export const stores: Readonly<Record<string, (folder: string) => OpenStore>> = {
  "state folder": (folder) => {
    const state = stateOf(folder, { FACTORY_STATE: join(folder, "state") }, "protected");
    return {
      ...storeOf(state),
      forget: (key) => forgetStage(state, key),
      spoil: (key) => writeFileSync(join(state.root, "stages", `${key}.json`), "{"),
    };
  },
  "layout of a function": (folder) => {
    const store = layoutStore(join(folder, "layout"), "branch");
    const gone = new Set<string>();
    return {
      ...store,
      has: (key) => !gone.has(key) && store.has(key),
      read: (key) => (gone.has(key) ? null : store.read(key)),
      keep(record) {
        gone.delete(record.key);
        store.keep(record);
      },
      forget: (key) => void gone.add(key),
      spoil: (key) => store.keep({ ...store.read(key)!, digest: `sha256:${"0".repeat(64)}`, ref: `sha256:${"0".repeat(64)}` }),
    };
  },
};

/** Bytes that follow from a name and do not compress: a layer of them is large enough to be hashed only when it is read. */
export const noise = (name: string): Buffer =>
  createCipheriv("aes-256-ctr", createHash("sha256").update(name).digest(), Buffer.alloc(16)).update(Buffer.alloc(140_000));

/** An executor of one build. `mark` makes other content of the same stages. `done` gets each stage that was executed. */
export type OpenExecutor = (site: {
  layout: string;
  scratch: string;
  mark: string;
  done: (stage: StageName) => void;
}) => Executor;

export type Backend = {
  store: string;
  cache: string;
  executor: string;
  openExecutor: OpenExecutor;
  /** Why its cases cannot run here, or null. */
  skip: string | null;
  /** An empty repository of the registry; null where there is none. */
  repository: (() => Repository) | null;
  /** Loses a blob of a repository behind the manifests that name it; null where this registry cannot. */
  lose: ((from: Repository, digest: string) => Promise<void>) | null;
  /** A repository of a registry that does not answer. */
  unreachable: (() => Repository) | null;
  root: () => string;
  plans: () => { plans: readonly Plan[]; source: BuildContext["source"] };
};

type Outcome = {
  root: string;
  actions: string[];
  executed: StageName[];
  warnings: string[];
  platforms: readonly BuiltPlan[];
};

const cacheOf = (store: Store, home: Repository, warn: (text: string) => void, unanswered: "warn" | "fail"): StageCache =>
  registryStageCache({
    ...{ store, unanswered, keepIn: home, repository: () => home },
    signal: new AbortController().signal,
    now: () => 0,
    read: [{ repository: home, trust: store.trust }],
    unread: async (_, pulled) => pulled,
    unstored(error) {
      throw error;
    },
    unkept: besideImage(warn).unkept,
    fetching: () => undefined,
    replaced: () => undefined,
  });

export const buildContract = (backend: Backend): void => {
  const name = `${backend.store}, ${backend.cache}, ${backend.executor}`;
  let passed = 0;
  const hasCache = backend.repository !== null;
  const folder = () => mkdtempSync(join(backend.root(), "contract-"));

  describe(name, () => {
    afterAll(() => void process.stdout.write(`build contract: ${passed} cases held with ${name}\n`));

    /** A machine of its own, with an empty store and an empty repository. */
    const open = (home: Repository | null = backend.repository?.() ?? null) => ({
      home,
      store: stores[backend.store]!(folder()),
    });
    type Machine = ReturnType<typeof open>;
    type Options = {
      rebuild?: Rebuild;
      mark?: string;
      upTo?: StageName;
      plans?: readonly Plan[];
      unanswered?: "warn" | "fail";
      around?: (context: BuildContext) => BuildContext;
    };

    const build = async ({ store, home }: Machine, options: Options = {}): Promise<Outcome> => {
      const { rebuild = "no", mark = "", upTo = "runtime", unanswered = "fail", around = (context) => context } = options;
      const {
        source,
        plans: [first],
      } = backend.plans();
      const plans = options.plans ?? [first!];
      const warnings: string[] = [];
      const executed: StageName[] = [];
      const warn = (text: string) => void warnings.push(text);
      const cache = home === null ? null : cacheOf(store, home, warn, unanswered);
      const scratch = folder();
      mkdirSync(join(store.layout, "blobs", "sha256"), { recursive: true });
      const context = around({
        ...{ store, cache, source, emit: () => undefined, howToReplace: "replace it" },
        executor: backend.openExecutor({ layout: store.layout, scratch, mark, done: (stage) => executed.push(stage) }),
        signal: new AbortController().signal,
        now: () => 0,
      });
      return rebuildDamaged(store, plans, warn, async (untrusted) => {
        const lookup = cache === null ? null : ({ cache, prefer: "local", warn } as const);
        const decided = await decidePlans(store, plans, { upTo, rebuild, lookup, untrusted });
        const platforms: BuiltPlan[] = [];
        for (const { plan, decisions } of decided)
          platforms.push({ plan, done: await buildStages(context, plan, decisions, rebuild) });
        const root = await imageRoot(store, platforms, context.signal);
        if (upTo === "runtime") checkChain(store, { root, platforms });
        const actions = platforms[0]!.done.map(({ decision: { stage, action } }) => `${stage.stage} ${action}`);
        return { root: root.digest, actions, executed, warnings, platforms };
      });
    };

    const all = ["base-tools execute", "dependencies execute", "application assemble", "runtime assemble"];
    const reused = ["base-tools reuse", "dependencies reuse", "application reuse", "runtime reuse"];
    const keyOf = (stage: StageName) => backend.plans().plans[0]!.stages.find((one) => one.stage === stage)!.key;
    const held = (title: string, work: () => Promise<void>) =>
      test(title, async (context) => {
        if (backend.skip !== null) context.skip(backend.skip);
        await work();
        passed += 1;
      });

    held("nothing available: every stage is built, and what is executed is kept in the cache", async () => {
      const machine = open();
      const first = await build(machine);
      expect(first).toMatchObject({ actions: all, executed: ["base-tools", "dependencies"], warnings: [] });
      const tags = (await machine.home?.tags()) ?? { state: "found", value: [] };
      const names = (tags.state === "found" ? tags.value : []).map((tag) => tag.replace(/-[0-9a-f]{24}$/, "")).sort();
      expect(names).toEqual(hasCache ? ["cache-base-tools", "cache-dependencies"] : []);
      expect(missingBlobs(machine.store.layout, first.root)).toEqual([]);
    });

    held("another machine comes to the same digest; with a cache it executes nothing and fetches no layer", async () => {
      const machine = open();
      const { root } = await build(machine);
      const other = open(machine.home);
      const second = await build(other);
      expect(second.root).toBe(root);
      expect(second.executed).toEqual(hasCache ? [] : ["base-tools", "dependencies"]);
      if (hasCache) expect(missingBlobs(other.store.layout, root)?.length).toBeGreaterThan(0);
    });

    held("everything available: nothing is built", async () => {
      const machine = open();
      const { root } = await build(machine);
      expect(await build(machine)).toMatchObject({ root, actions: reused, executed: [] });
    });

    held("a lost record of a stage in the middle: it is fetched, or executed again on its parent", async () => {
      const machine = open();
      const { root } = await build(machine);
      machine.store.forget(keyOf("dependencies"));
      expect(await build(machine)).toMatchObject({ root, executed: hasCache ? [] : ["dependencies"] });
      machine.store.forget(keyOf("application"));
      expect(await build(machine)).toMatchObject({ root, executed: [] });
    });

    held("a damaged record counts as none, and the reason says so", async () => {
      const machine = open();
      const { root } = await build(machine);
      machine.store.spoil(keyOf("dependencies"));
      const again = await build(machine);
      expect(again).toMatchObject({ root, executed: hasCache ? [] : ["dependencies"] });
      if (!hasCache)
        expect(again.platforms[0]!.done[1]!.decision.reasons).toEqual([
          { why: "damaged", what: expect.stringMatching(/^dependencies-[0-9a-f]{12}: /) },
        ]);
    });

    held("a damaged layer of the parent: its stage is built again, and the image is the same", async () => {
      const machine = open();
      const { root, platforms } = await build(machine);
      const { layout } = machine.store;
      const [layer] = readManifest(layout, platforms[0]!.done[0]!.record!.digest).layers.toSorted((a, b) => b.size - a.size);
      const file = blobPath(layout, layer!.digest);
      writeFileSync(file, Buffer.alloc(statSync(file).size));
      machine.store.forget(keyOf("dependencies"));
      const again = await build(machine);
      expect(again).toMatchObject({ root, executed: hasCache ? [] : ["base-tools", "dependencies"] });
      expect(again.warnings).toHaveLength(hasCache ? 0 : 1);
      if (!hasCache) expect(createHash("sha256").update(readFileSync(file)).digest("hex")).toBe(layer!.digest.slice(7));
    });

    held("a parent that came out different: what was built on the former one is built again on this one", async () => {
      const machine = open();
      const { root } = await build(machine);
      await build(machine, { rebuild: "replace", mark: "other", upTo: "base-tools" });
      const again = await build(machine, { mark: "other" });
      expect(again.root).not.toBe(root);
      expect(again.executed).toEqual(["dependencies"]);
    });

    held("built again and compared: the same passes, another result is an error and replaces nothing", async () => {
      const machine = open();
      const { root } = await build(machine);
      const same = await build(machine, { rebuild: "compare" });
      expect(same).toMatchObject({ root, executed: ["base-tools", "dependencies"] });
      expect(same.platforms[0]!.done.map(({ compared }) => compared)).toEqual([true, true, true, true]);
      await expect(build(machine, { rebuild: "compare", mark: "other" })).rejects.toMatchObject({ code: "NOT_REPRODUCIBLE" });
      expect(await build(machine)).toMatchObject({ root, actions: reused });
      if (!hasCache) return;
      const other = open(machine.home);
      await expect(build(other, { rebuild: "compare", mark: "other" })).rejects.toMatchObject({ code: "NOT_REPRODUCIBLE" });
      expect(await build(open(machine.home))).toMatchObject({ root, executed: [] });
    });

    held("two platforms: an index of both, the same on another machine", async () => {
      const { plans } = backend.plans();
      const machine = open();
      const first = await build(machine, { plans });
      // An engine of this machine executes for its own platform alone: then there is one manifest.
      if (plans.length === 1) return expect((await build(open(machine.home), { plans })).root).toBe(first.root);
      const { manifests } = readBlob<ImageIndex>(machine.store.layout, first.root);
      expect(manifests.map(({ platform }) => `${platform?.os}/${platform?.architecture}`)).toEqual(
        plans.map(({ platform }) => platform),
      );
      expect((await build(open(machine.home), { plans })).root).toBe(first.root);
    });

    held("the next stage is executed while the last one is still being indexed", async () => {
      const begun = Promise.withResolvers<void>();
      const machine = open();
      const around = (context: BuildContext): BuildContext => ({
        ...context,
        store: {
          ...context.store,
          // An artifact is named when it is written: that of base-tools only after dependencies began.
          async name(images, signal) {
            if (Object.keys(images).some((one) => one.startsWith("cache-base-tools"))) await begun.promise;
            await context.store.name(images, signal);
          },
        },
        executor: {
          async execute(execution) {
            if (execution.stage.stage === "dependencies") begun.resolve();
            return context.executor.execute(execution);
          },
        },
      });
      const { root } = await build(machine, { around });
      expect((await build(open(null))).root).toBe(root);
    });

    held("a stage that fails is an error, and the stages before it stay", async () => {
      const machine = open();
      const around = (context: BuildContext): BuildContext => ({
        ...context,
        executor: {
          async execute(execution) {
            if (execution.stage.stage === "dependencies") throw new Error("the step failed");
            return context.executor.execute(execution);
          },
        },
      });
      await expect(build(machine, { around })).rejects.toThrow("the step failed");
      expect(await build(machine)).toMatchObject({ executed: ["dependencies"] });
    });

    const { lose } = backend;
    if (lose !== null)
      held("a layer that the registry lost: its stage is executed here, and the registry has it again", async () => {
        const machine = open();
        const { platforms } = await build(machine, { upTo: "base-tools" });
        const { layers } = readManifest(machine.store.layout, platforms[0]!.done[0]!.record!.digest);
        const lost = layers.toSorted((a, b) => b.size - a.size)[0]!;
        await lose(machine.home!, lost.digest);
        const other = open(machine.home);
        const built = await build(other);
        expect(built.executed).toEqual(["base-tools", "dependencies"]);
        expect(built.warnings).toEqual([expect.stringContaining("going on without the stages that hold it")]);
        expect(built.root).toBe((await build(open(null))).root);
        expect(await machine.home!.headBlob(lost.digest)).toMatchObject({ state: "found" });
      });

    if (backend.unreachable === null) return;
    const { unreachable } = backend;

    held("a cache that does not answer: the build goes on with one warning each for reading and writing, or fails", async () => {
      const machine = open(unreachable());
      await expect(build(machine, { unanswered: "fail" })).rejects.toMatchObject({ code: "REGISTRY_UNREACHABLE" });
      const built = await build(machine, { unanswered: "warn" });
      expect(built.executed).toEqual(["base-tools", "dependencies"]);
      expect(built.warnings.some((text) => text.startsWith("the registry gives no answer"))).toBe(true);
      expect(built.warnings.filter((text) => text.startsWith("what is kept beside the image"))).toHaveLength(1);
    });
  });
};
